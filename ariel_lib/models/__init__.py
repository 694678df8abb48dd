"""The neural network V50 (state-space encoder, wavelength graph, gated decoder) and the baselines. Torch begins here."""
