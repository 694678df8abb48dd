"""SpectraMind: from Ariel detector frames to transmission spectra with honest standard deviations."""

__version__ = "0.50.0"
