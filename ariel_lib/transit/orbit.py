"""Circular orbits: sky-projected separation of planet and star and its derivatives (Winn 2010, arXiv:1001.2010).

The impact parameter is parametrised as b²: the squared duration is linear in b², and b = 0 is not a singular point.
"""

from dataclasses import dataclass

import numpy as np

HOURS_A_DAY = 24.0
ORBIT_PARAMETERS = ("log_a", "b_squared", "t0")


@dataclass(frozen=True)
class OrbitPrior:
    """Gaussian prior on the orbit from the star table, each parameter as (mean, standard deviation).

    period h (fixed), log_a = ln(a/Rs), b_squared = (a cos i / Rs)².
    """

    period: float
    log_a: tuple[float, float]
    b_squared: tuple[float, float]


def orbit_prior(period_days: float, a_over_rs: float, inclination_deg: float) -> OrbitPrior:
    """Loose prior about the catalogue's orbit: 10 % on a/Rs, half a degree on the inclination.

    period_days d, a_over_rs in stellar radii, inclination_deg degrees; the catalogue's inclinations can be off by half a degree.
    """
    sigma_log_a, sigma_i = 0.10, np.radians(0.5)
    b = a_over_rs * np.cos(np.radians(inclination_deg))
    sigma_b = np.hypot(a_over_rs * sigma_i, b * sigma_log_a)
    return OrbitPrior(
        period_days * HOURS_A_DAY,
        (np.log(a_over_rs), sigma_log_a),
        (b**2, np.hypot(2 * b * sigma_b, np.sqrt(2) * sigma_b**2)),
    )


def separation(
    time: np.ndarray, t0: float, period: float, log_a: float, b_squared: float
) -> tuple[np.ndarray, np.ndarray]:
    """Separation z of the centres in stellar radii (shape of time) and ∂z/∂(log_a, b_squared, t0) on an additional last axis.

    time, t0, period in h. On the far half of the orbit z is infinite: there the planet occults nothing.
    """
    phase = 2 * np.pi * (time - t0) / period
    a_squared = np.exp(2 * log_a)
    sine, cosine = np.sin(phase), np.cos(phase)
    z = np.sqrt(a_squared * sine**2 + b_squared * cosine**2)
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # z = 0 exactly at a central transit: the derivative is 0 by symmetry
        slope_phase = np.where(z > 0, (a_squared - b_squared) * sine * cosine / z, 0.0)
        slope_log_a = np.where(z > 0, a_squared * sine**2 / z, 0.0)
        slope_b_squared = np.where(z > 0, 0.5 * cosine**2 / z, 0.0)
    derivative = np.stack([slope_log_a, slope_b_squared, -2 * np.pi / period * slope_phase], axis=-1)
    return np.where(cosine > 0, z, np.inf), derivative


def transit_duration(period: float, log_a: float, b_squared: float, k: float) -> float:
    """Transit duration from first to fourth contact, h (Winn 2010, eq. 14, circular). 0 where the discs never overlap.

    period h, log_a = ln(a/Rs), k = Rp/Rs.
    """
    a = np.exp(log_a)
    half_chord = np.sqrt(max(0.0, (1 + k) ** 2 - b_squared))
    sine_i = np.sqrt(max(1e-12, 1 - b_squared / a**2))
    return period / np.pi * np.arcsin(min(1.0, half_chord / (a * sine_i)))
