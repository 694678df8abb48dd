"""Physical rules on spectra, each a differentiable penalty and a map of violations. Independent of labels and of the network."""
