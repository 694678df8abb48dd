"""Short brightenings (bumps) in light curves: star-spot crossings, lensing, flares. Detection, and test for colour."""
