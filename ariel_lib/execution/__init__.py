"""Where work runs and for how long: worker processes, Dask clusters, the time budget of a session."""
