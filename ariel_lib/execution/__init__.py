"""Execution of work: worker processes, Dask clusters, the time budget of a session."""
