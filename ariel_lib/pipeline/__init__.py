"""Many planets through calibration and transit fit, and the checkpoint that training leaves."""
