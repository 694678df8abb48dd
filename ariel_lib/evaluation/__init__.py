"""Quality of spectra: the challenge's score, comparison with baselines and oracles, ablations, COREL intervals, physics checks."""
