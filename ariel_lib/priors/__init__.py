"""What transmission spectra look like, and the posteriors that follow. Arrays in, arrays out."""
