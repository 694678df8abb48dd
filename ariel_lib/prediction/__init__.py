"""Prediction with a trained checkpoint: one planet's spectrum, the submission file, and its export."""
