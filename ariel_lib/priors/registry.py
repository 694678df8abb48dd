"""The spectral priors by name: V50 starts from the posterior of the one that model.initial_estimate names.

A prior is a module of this package whose `PRIOR` is a dataclass of arrays (io.storage.Stored) with

    fit(depth (planet, wavelength), wavelength (wavelength,), scale (planet,)) → the prior          a class method
    conditioned_on(noise (wavelength, wavelength), scale) → an object with amplitudes (amplitude,) and
        moments(depth (draw, wavelength)) → mean and sigma (draw, wavelength), weights (draw, amplitude)

where scale is the depth that one scale height adds, NaN where unknown: (planet,) in fit, one number in conditioned_on. The
amplitudes are positive expected sizes of a planet's features in (Rp/Rs)², depths and their sigmas are in (Rp/Rs)², and wavelengths in
micron with FGS1 first. A prior with one amplitude has weights of 1. config.PRIORS lists the priors.
"""

from importlib import import_module

import numpy as np

from ariel_lib.config import PRIORS
from ariel_lib.io.storage import Stored

INITIAL_NAMES = {name: f"{name}_posterior" for name in PRIORS} | {"fit": "gls_fit", "white": "white_depth"}
"""What a value of model.initial_estimate is called in tables and files."""

DEFAULT = "library"  # also fitted where V50 starts from no prior at all (model.initial_estimate fit, white)


def prior_class(initial_estimate: str) -> type[Stored]:
    """The prior behind a value of model.initial_estimate."""
    return import_module(f"ariel_lib.priors.{PRIORS[initial_estimate if initial_estimate in PRIORS else DEFAULT]}").PRIOR


def fit_initial_prior(initial_estimate: str, depth: np.ndarray, wavelength: np.ndarray, scale: np.ndarray) -> Stored:
    """Fit it to labels. Raises SpectraMindError for fewer than two planets."""
    return prior_class(initial_estimate).fit(depth, wavelength, scale)
