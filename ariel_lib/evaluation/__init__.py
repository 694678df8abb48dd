"""How good spectra are: the challenge's score, comparisons, limits, ablations, intervals and physics checks."""
