"""Transmission spectra of an isothermal atmosphere with molecular bands, Rayleigh scattering and a grey cloud.

Source: Lecavelier des Etangs et al. 2008 (A&A 481, L83): the transit altitude is z(λ) = H ln σ(λ) + const, H the scale height
and σ the opacity of the mixture.
"""

import numpy as np

from ariel_lib.io.layout import Star
from ariel_lib.molecules import RAYLEIGH_H2, cross_section

# log10 of the mixing ratio, drawn uniformly.
ABUNDANCES = {
    "H2O": (-6.0, -2.5),
    "CO2": (-9.0, -5.0),
    "CH4": (-9.0, -4.5),
    "CO": (-6.0, -3.0),
    "NH3": (-8.0, -4.5),
    "SO2": (-9.0, -5.0),
}
_SCALE_HEIGHT = 8.314 / (2.3e-3 * 24.79)  # m / K at Jupiter's gravity (24.79 m/s²), mean molecular weight 2.3
_JUPITER_RADIUS, _SUN_RADIUS = 7.149e7, 6.957e8  # m


def transmission_spectrum(
    wavelength: np.ndarray, k: float, scale_height: float, abundances: dict[str, float], haze: float, cloud: float
) -> np.ndarray:
    """Transit depth (Rp/Rs)², (wavelength,), equal to k² at the mean altitude.

    wavelength (wavelength,) micron; k radius ratio; scale_height in stellar radii; abundances: mixing ratio by molecule;
    haze: Rayleigh opacity relative to pure H2; cloud: grey opacity, cm².
    """
    opacity = haze * RAYLEIGH_H2[0] * (wavelength / RAYLEIGH_H2[1]) ** -4.0 + cloud
    opacity = opacity + sum(ratio * cross_section(molecule, wavelength) for molecule, ratio in abundances.items())
    altitude = scale_height * np.log(opacity)
    return (k + altitude - altitude.mean()) ** 2


def draw_spectrum(rng: np.random.Generator, wavelength: np.ndarray, star: Star) -> np.ndarray:
    """Draw a transit depth spectrum, (wavelength,), with random radius, temperature and composition.

    Median (0.108) and spread of the radius ratio are those of the 2025 labels.
    """
    k = float(np.clip(np.exp(rng.normal(np.log(0.108), 0.30)), 0.05, 0.24))
    temperature = star.Ts / np.sqrt(2 * star.sma) * rng.uniform(0.6, 1.1)
    gravity = star.Mp * (_JUPITER_RADIUS / (k * star.Rs * _SUN_RADIUS)) ** 2  # Jupiter's = 1
    scale_height = _SCALE_HEIGHT * temperature / gravity / (star.Rs * _SUN_RADIUS)
    abundances = {molecule: float(10 ** rng.uniform(*limits)) for molecule, limits in ABUNDANCES.items()}
    haze, cloud = 10 ** rng.uniform(0.0, 3.5), 10 ** rng.uniform(-28.0, -24.0)
    return transmission_spectrum(wavelength, k, min(scale_height, 0.05 * k), abundances, haze, cloud)
