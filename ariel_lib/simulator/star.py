"""Host stars: photon rates on Ariel's detectors, limb darkening, and the population from which stars are drawn."""

import numpy as np
from scipy.interpolate import PchipInterpolator

from ariel_lib.instrument import FGS1_WAVELENGTH
from ariel_lib.io.layout import Star
from ariel_lib.transit.limb_darkening import airs_coefficients, limb_darkening_prior

REFERENCE_TEMPERATURE = 4798.0  # K, star of planet 342072318
REFERENCE_MAGNITUDE = 6.0  # K band, to which the rates below refer
FGS1_REFERENCE_RATE = 2.2e6  # electrons/s on the whole detector, planet 342072318
K_BAND = 2.16  # micron
_HC_OVER_K = 14387.77  # micron K

# Electrons/s/column of the reference star: 25 CDS samples of planet 342072318, rows 6:26, plus 3 % for the other rows.
_AIRS_RATE_NODES = np.array([
    (1.633, 399), (1.680, 2080), (1.726, 6630), (1.772, 8320), (1.817, 7810), (1.862, 8300), (1.907, 12500),
    (1.952, 23700), (1.996, 36100), (2.040, 37500), (2.126, 33700), (2.211, 31000), (2.295, 26100), (2.377, 22200),
    (2.458, 19900),
    (2.538, 18400), (2.616, 17000), (2.731, 16300), (2.915, 11100), (3.091, 8510), (3.258, 7580), (3.416, 6310),
    (3.566, 5380), (3.680, 4690), (3.788, 3510), (3.895, 1200), (3.939, 415), (3.987, 79), (4.033, 42), (4.078, 12),
])  # fmt: skip


def planck_photons(wavelength: np.ndarray, temperature: float) -> np.ndarray:
    """Photon radiance of a black body up to a constant, in the shape of wavelength (micron); temperature K."""
    return wavelength**-4.0 / np.expm1(_HC_OVER_K / (wavelength * temperature))


def _colour(wavelength: np.ndarray, temperature: float) -> np.ndarray:
    """Photon rate of a star relative to the reference star at equal K magnitude, in the shape of wavelength (micron)."""
    band = np.array(K_BAND)
    here = planck_photons(wavelength, temperature) / planck_photons(wavelength, REFERENCE_TEMPERATURE)
    return here * planck_photons(band, REFERENCE_TEMPERATURE) / planck_photons(band, temperature)


def _brightness(magnitude: float) -> float:
    """Flux relative to the reference magnitude."""
    return 10 ** (-0.4 * (magnitude - REFERENCE_MAGNITUDE))


def airs_rates(wavelength: np.ndarray, temperature: float, magnitude: float) -> np.ndarray:
    """Electrons/s of a star in each AIRS column, (column,). wavelength (column,) micron, temperature K, K magnitude."""
    nodes = PchipInterpolator(_AIRS_RATE_NODES[:, 0], np.log(_AIRS_RATE_NODES[:, 1]))
    reference = np.exp(nodes(np.clip(wavelength, *_AIRS_RATE_NODES[[0, -1], 0])))
    return reference * _colour(wavelength, temperature) * _brightness(magnitude)


def fgs1_rate(temperature: float, magnitude: float) -> float:
    """Electrons/s of a star on the whole FGS1 detector. temperature K, K magnitude."""
    return float(FGS1_REFERENCE_RATE * _colour(np.array(FGS1_WAVELENGTH), temperature) * _brightness(magnitude))


def draw_limb_darkening(
    rng: np.random.Generator, wavelength: np.ndarray, temperature: float, shift: float = 0.0, scatter: float = 0.03
) -> np.ndarray:
    """Draw quadratic limb darkening coefficients u1, u2 (wavelength, 2), smooth in wavelength, scattered between stars.

    Mean: the coefficients of transit.limb_darkening (Claret & Bloemen 2011), so that the prior of the fit is right on average for
    these stars. They are clipped so that the intensity is positive and decreases to the limb: u1 >= 0, u1 + u2 <= 1, u1 + 2 u2 >= 0.

    wavelength (wavelength,) micron; temperature K; shift: added to u1; scatter: of both coefficients between stars.
    """
    mean, _ = limb_darkening_prior(temperature)
    airs_u1, airs_u2, _ = airs_coefficients(mean[2:], wavelength)
    visible, scaled = wavelength < 1.0, (wavelength - 2.0) / 1.9
    u1, u2 = np.where(visible, mean[0], airs_u1), np.where(visible, mean[1], airs_u2)
    level, tilt = rng.normal(0, scatter, (2, 2)), rng.normal(0, 0.01, 2)  # (instrument, coefficient), (coefficient,)
    offset = np.where(visible[:, None], level[0], level[1] + tilt * scaled[:, None])
    u1 = np.clip(u1 + shift + offset[:, 0], 0.0, 0.9)
    return np.stack([u1, np.clip(u2 + offset[:, 1], -u1 / 2, 1 - u1)], axis=1)


def draw_star(rng: np.random.Generator, planet_id: str) -> Star:
    """Draw a star and orbit with the ranges and correlations of the 2025 train_star_info.csv (1100 rows).

    log Rs follows the table's regression on log Ts, log Ms that on log Rs; a/Rs Kepler's third law with 6 % scatter.
    """
    temperature = float(np.clip(rng.normal(5840, 510), 4236, 6979))
    radius = float(np.clip(np.exp(2.18 * np.log(temperature) - 18.72 + rng.normal(0, 0.18)), 0.65, 2.89))
    mass = float(np.clip(np.exp(0.63 * np.log(radius) - 0.05 + rng.normal(0, 0.10)), 0.60, 1.82))
    planet_mass = float(np.clip(np.exp(rng.normal(0, 1.0)), 0.05, 24.7))
    period = float(rng.uniform(2.8, 7.6))
    sma = float(np.clip(4.208 * period ** (2 / 3) * mass ** (1 / 3) / radius * np.exp(rng.normal(0, 0.06)), 4.2, 20.9))
    impact = float(np.clip(abs(rng.normal(0.29, 0.21)), 0.0, 0.85))
    return Star(
        planet_id, radius, mass, temperature, planet_mass, 0.0, period, sma, float(np.degrees(np.arccos(impact / sma)))
    )
