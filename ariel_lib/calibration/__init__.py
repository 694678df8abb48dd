"""Calibration: from detector frames to light curves. The order of the steps is in pipeline.py."""
