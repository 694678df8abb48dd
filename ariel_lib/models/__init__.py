"""The network V50: state-space encoder, wavelength graph, gated decoder. Torch begins here."""
