"""Physics rules: each one a differentiable penalty and a violation map. They never see the truth, nor the network."""
