"""LabelledSpectra planets to a checkpoint."""
