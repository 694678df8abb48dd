"""Detector frames to light curves: what is done to frames, in the order of pipeline.py."""
