"""Calibration of standard deviations and prediction intervals. Arrays in, arrays out; independent of the spectral models."""
