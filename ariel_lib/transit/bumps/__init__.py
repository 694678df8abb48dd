"""Short brightenings in light curves (spots crossed, lenses, flares): search and colour."""
