"""Simulation of visits: star, planet, optics and detector, the inverse of calibration. Seeded; independent of the models."""
