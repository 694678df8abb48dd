"""A read-only web page over the artifacts that the command line writes: reading.py → runs.py, planet.py → app.py."""
