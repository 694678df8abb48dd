"""Labelled planets to a checkpoint."""
