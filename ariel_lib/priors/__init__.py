"""Priors on transmission spectra and the posteriors they give. Arrays in, arrays out."""
