"""Relative light curves: limb-darkened transit and instrumental drift."""

from dataclasses import dataclass

import numpy as np

from ariel_lib.simulator.systematics.occultation import LimbDarkening
from ariel_lib.transit.occultation import relative_flux
from ariel_lib.transit.orbit import separation

DRIFT_SIZE = np.array([7e-4, 4e-4, 2e-4])  # standard deviations of c_1, c_2, c_3
DRIFT_COLOUR = np.array([1.0, 0.4, 0.2])  # of the powers of x, relative to the achromatic term


@dataclass(frozen=True)
class Orbit:
    """A circular orbit. period h, a = a/Rs, inclination degrees."""

    period: float
    a: float
    inclination: float

    @property
    def impact(self) -> float:
        """Impact parameter, stellar radii."""
        return self.a * np.cos(np.radians(self.inclination))


@dataclass(frozen=True)
class Drift:
    """Slow change of throughput over a visit, 1 + Σ_p c_p(λ) τ^p with τ in [-1, 1] and p = 1, 2, 3.

    fgs1  (3,)    c_p of the photometer
    airs  (3, 3)  (power of τ, power of x): c_p(λ) = Σ_m airs[p, m] x^m with x in [-1, 1] across the spectrum
    """

    fgs1: np.ndarray
    airs: np.ndarray


def transit_duration(orbit: Orbit, k: float) -> float:
    """Duration from first to fourth contact, h (Winn 2010, arXiv:1001.2010, eq. 14). 0 where the discs never overlap. k = Rp/Rs."""
    chord = (1 + k) ** 2 - orbit.impact**2
    if chord <= 0:
        return 0.0
    return (
        orbit.period / np.pi * np.arcsin(min(1.0, np.sqrt(chord) / (orbit.a * np.sin(np.radians(orbit.inclination)))))
    )


def transit(
    time: np.ndarray, exposure: float, orbit: Orbit, t0: float, depth: np.ndarray, limb_darkening: np.ndarray | LimbDarkening
) -> np.ndarray:
    """Relative flux averaged over each exposure, (time, wavelength); 1 outside the transit.

    time (time,), exposure, t0 in h; depth (wavelength,) = k²; limb_darkening (wavelength, 2) or another law. The average is over at least
    three points per exposure and a thousand per transit. Within 0.1 ppm of batman (tests/simulator/test_light_curve.py).
    """
    flux = np.ones((len(depth), len(time)))
    duration = transit_duration(orbit, float(np.sqrt(depth.max())))
    near = np.abs(time - t0) <= 0.5 * duration + exposure
    if duration == 0 or not near.any():
        return flux.T
    supersample = max(3, int(np.ceil(1000 * exposure / duration)))
    parts = time[near][:, None] + exposure * ((np.arange(supersample) + 0.5) / supersample - 0.5)
    z, _ = separation(parts, t0, orbit.period, np.log(orbit.a), orbit.impact**2)
    if isinstance(limb_darkening, LimbDarkening):
        flux[:, near] = limb_darkening.relative_flux(z, np.sqrt(depth))
    else:
        flux[:, near] = relative_flux(z, np.sqrt(depth), *limb_darkening.T)
    return flux.T


def draw_drift(rng: np.random.Generator, size: np.ndarray = DRIFT_SIZE) -> Drift:
    """Draw a drift of 0.1 to 0.3 % over the visit, mostly linear in time and achromatic. size (3,): sigmas of c_1, c_2, c_3."""
    return Drift(fgs1=rng.normal(0, size), airs=rng.normal(0, np.outer(size, DRIFT_COLOUR)))


def fgs1_drift(drift: Drift, tau: np.ndarray) -> np.ndarray:
    """Drift of FGS1, 1 + Σ c_p τ^p, (time, 1). tau (time,): time scaled to [-1, 1] over the visit."""
    return 1.0 + (_powers(tau) @ drift.fgs1)[:, None]


def airs_drift(drift: Drift, tau: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Drift of AIRS, 1 + Σ c_p(λ) τ^p, (time, wavelength). tau (time,) and x (wavelength,): time and wavelength scaled to [-1, 1]."""
    return 1.0 + _powers(tau) @ (drift.airs @ np.stack([np.ones_like(x), x, x**2]))


def _powers(tau: np.ndarray) -> np.ndarray:
    return np.stack([tau, tau**2, tau**3], axis=1)
