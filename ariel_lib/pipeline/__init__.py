"""Calibration and transit fits of many planets, and the checkpoint of a trained model."""
