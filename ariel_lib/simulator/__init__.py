"""Star, planet, optics and detector: the inverse of calibration, seeded. Knows nothing of models."""
