"""Nouns of the families: the observed target, and one cause of variability as functions of time times functions of wavelength.

Wavelengths are those of a spectrum: FGS1 first, then AIRS. Times are hours from the start of a visit of full length.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ariel_lib.instrument import AIRS, FGS1
from ariel_lib.io.layout import Star
from ariel_lib.simulator.star import planck_photons

PARTS = {FGS1.name: slice(0, 1), AIRS.name: slice(1, None)}  # of a spectrum
_HC_OVER_K = 14387.77  # micron K
_PIVOT, _HALF_WIDTH = 2.9, 1.0  # micron: middle and half width of AIRS

Times = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Target:
    """What a visit observes.

    star          its Ts, Rs and Ms are used
    depth         (Rp/Rs)² in white light
    mid_transit   h from the start of the visit
    duration      h, first to fourth contact
    length        h, of the visit
    """

    star: Star
    depth: float
    mid_transit: float
    duration: float
    length: float = 7.5


@dataclass(frozen=True)
class Term:
    """One cause: it adds Σ_r time_r(t) · colour_r(λ) to the factor by which light is multiplied.

    time        instrument name → (time, rank); a cause that belongs to a detector has other functions for each
    colour      (rank, wavelength), FGS1 first
    pointing    instrument name → (time, 2) pixel, motion of the image; empty where it does not move
    parameters  as drawn, for the record
    """

    time: Mapping[str, np.ndarray]
    colour: np.ndarray
    parameters: Mapping[str, float | list[float]]
    pointing: Mapping[str, np.ndarray] = field(default_factory=dict)


def tilted(wavelength: np.ndarray, tilt: float) -> np.ndarray:
    """1 at FGS1 and 1 + tilt · x in AIRS, x from -1 to 1 over its band, (wavelength,). wavelength micron."""
    return np.where(wavelength < 1.0, 1.0, 1.0 + tilt * (wavelength - _PIVOT) / _HALF_WIDTH)


def temperature_colour(wavelength: np.ndarray, temperature: float) -> np.ndarray:
    """Relative change of a black body's flux by a small change of temperature, over that of its total flux, (wavelength,).

    x eˣ / (eˣ − 1) / 4 with x = hc / λkT: it falls from visible light to the infrared. wavelength micron, temperature K.
    """
    x = _HC_OVER_K / (wavelength * temperature)
    return x / -np.expm1(-x) / 4


def contrast(wavelength: np.ndarray, temperature: float, photosphere: float) -> np.ndarray:
    """1 − F(temperature) / F(photosphere) of black bodies, (wavelength,): positive for spots. wavelength micron, temperatures K."""
    return 1 - planck_photons(wavelength, temperature) / planck_photons(wavelength, photosphere)
