"""What is done to standard deviations: from a model's sigma to one that is true. Sees arrays, never a network."""
