"""Population-level corrections of a transit fit: nuisance prior and multiplicative bias, estimated from the fits of many planets."""
