"""Diagnostics of a submission: attributions, calibration quality, report and dashboard."""
