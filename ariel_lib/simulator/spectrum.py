"""Transmission spectra: molecular bands, Rayleigh scattering and a grey cloud over a scale height.

Source: Lecavelier des Etangs et al. 2008 (A&A 481, L83): the transit altitude is z(λ) = H ln σ(λ) + const, σ the
opacity of the mixture. Bands are Gaussians in log cross-section. Knows neither star tables nor light curves.
"""

import numpy as np

from ariel_lib.archive import Star

# log10 cross-section in cm²: below 1 micron, infrared floor, then bands as (height dex, centre micron, width micron).
# H2O, CO2, CH4: fits to cross-sections at 1200 K and 1 mbar, R = 80. CO: 2-0 band at 2.35; NH3 at 1.97, 2.24, 2.98; SO2
# at 3.98 (strong bands of the line lists; their heights are round numbers).
BANDS = {
    "H2O": (-24.4, -22.8, (
        (1.80, 1.992, 0.048), (2.56, 2.525, 0.037), (2.55, 2.785, 0.18), (1.29, 3.231, 0.126), (0.97, 3.528, 0.158))),
    "CO2": (-27.9, -25.7, (
        (4.28, 2.014, 0.126), (1.49, 2.204, 0.072), (1.13, 2.700, 0.046), (5.84, 2.840, 0.22), (2.17, 3.528, 0.19),
        (1.70, 3.883, 0.07))),
    "CH4": (-24.9, -28.8, (
        (3.38, 2.094, 0.026), (4.05, 2.199, 0.080), (6.98, 2.429, 0.204), (6.24, 3.122, 0.352), (7.02, 3.883, 0.517))),
    "CO": (-28.0, -26.0, ((4.6, 2.35, 0.045),)),
    "NH3": (-25.5, -23.0, ((2.3, 1.97, 0.045), (2.1, 2.24, 0.055), (2.6, 2.98, 0.10))),
    "SO2": (-27.0, -24.0, ((3.2, 3.98, 0.05),)),
}  # fmt: skip
# log10 of the mixing ratio, drawn uniformly.
ABUNDANCES = {
    "H2O": (-6.0, -2.5),
    "CO2": (-9.0, -5.0),
    "CH4": (-9.0, -4.5),
    "CO": (-6.0, -3.0),
    "NH3": (-8.0, -4.5),
    "SO2": (-9.0, -5.0),
}
RAYLEIGH_H2 = (2.52e-28, 0.75)  # cm² at micron, Lecavelier des Etangs et al. 2008
_SCALE_HEIGHT = 8.314 / (2.3e-3 * 24.79)  # m / K at Jupiter's gravity (24.79 m/s²), mean molecular weight 2.3
_JUPITER_RADIUS, _SUN_RADIUS = 7.149e7, 6.957e8  # m


def cross_section(molecule: str, wavelength: np.ndarray) -> np.ndarray:
    """Cross-section of one molecule, cm², same shape as wavelength (micron)."""
    visible, floor, bands = BANDS[molecule]
    infrared = floor + sum(
        height * np.exp(-0.5 * ((wavelength - centre) / width) ** 2) for height, centre, width in bands
    )
    return 10 ** np.where(wavelength < 1.0, visible, infrared)


def transmission_spectrum(
    wavelength: np.ndarray, k: float, scale_height: float, abundances: dict[str, float], haze: float, cloud: float
) -> np.ndarray:
    """Transit depth (Rp/Rs)², (wavelength,): k² at the mean altitude over wavelength.

    wavelength micron; k radius ratio; scale_height in stellar radii; abundances mixing ratios;
    haze Rayleigh opacity relative to pure H2; cloud grey opacity, cm².
    """
    opacity = haze * RAYLEIGH_H2[0] * (wavelength / RAYLEIGH_H2[1]) ** -4.0 + cloud
    opacity = opacity + sum(ratio * cross_section(molecule, wavelength) for molecule, ratio in abundances.items())
    altitude = scale_height * np.log(opacity)
    return (k + altitude - altitude.mean()) ** 2


def draw_spectrum(rng: np.random.Generator, wavelength: np.ndarray, star: Star) -> np.ndarray:
    """A planet's depth at each wavelength, (wavelength,), with radius, temperature and chemistry drawn at random.

    The median radius ratio (0.108) and its spread are those of the labels of 2025.
    """
    k = float(np.clip(np.exp(rng.normal(np.log(0.108), 0.30)), 0.05, 0.24))
    temperature = star.Ts / np.sqrt(2 * star.sma) * rng.uniform(0.6, 1.1)
    gravity = star.Mp * (_JUPITER_RADIUS / (k * star.Rs * _SUN_RADIUS)) ** 2  # Jupiter's = 1
    scale_height = _SCALE_HEIGHT * temperature / gravity / (star.Rs * _SUN_RADIUS)
    abundances = {molecule: float(10 ** rng.uniform(*limits)) for molecule, limits in ABUNDANCES.items()}
    haze, cloud = 10 ** rng.uniform(0.0, 3.5), 10 ** rng.uniform(-28.0, -24.0)
    return transmission_spectrum(wavelength, k, min(scale_height, 0.05 * k), abundances, haze, cloud)
