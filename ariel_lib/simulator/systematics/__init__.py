"""Families of systematics that a cubic drift does not describe, a file for each physical cause; ranges.py has their sizes."""
