"""A read-only web page over the files that commands leave: reading → runs, planet, documents, progress → app."""
