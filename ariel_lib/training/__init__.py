"""Training of V50: labelled planets to a checkpoint."""
