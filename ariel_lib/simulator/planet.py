"""True parameters of a simulated planet (spectrum, star, orbit, limb darkening, visits) and its catalogue entry with errors.

Independent of optics and files.
"""

from dataclasses import dataclass, replace

import numpy as np

from ariel_lib.io.layout import Star
from ariel_lib.simulator.light_curve import DRIFT_SIZE, Drift, Orbit, draw_drift, transit_duration
from ariel_lib.simulator.spectrum import draw_spectrum
from ariel_lib.simulator.star import draw_limb_darkening, draw_star

LONGEST_TRANSIT = 0.7  # largest transit duration, in visit lengths; a longer transit gets a shorter period, to leave a baseline
SECOND_VISIT = 0.2  # fraction of planets observed twice
INCLINATION_ERROR = (0.2, 0.5)  # degrees: scatter and largest error of the catalogue
SMA_ERROR = 0.015  # relative error of the catalogue's a/Rs


@dataclass(frozen=True)
class Nuisances:
    """Distribution of nuisance parameters: standard deviations (3,) of the drift coefficients, shift and scatter of limb darkening."""

    drift_size: tuple[float, ...] = tuple(DRIFT_SIZE)
    limb_shift: float = 0.0
    limb_scatter: float = 0.03


# For test planets outside the training distribution: drifts with less slope and more curvature, which is degenerate with a
# transit, and limb darkening that is stronger and more scattered.
SHIFTED = Nuisances((4e-4, 6e-4, 3e-4), 0.03, 0.045)


@dataclass(frozen=True)
class Planet:
    """One simulated planet.

    catalogue        the row of star_info.csv: orbit with errors
    orbit            the true orbit
    depth            (wavelength,)     (Rp/Rs)², FGS1 first
    limb_darkening   (wavelength, 2)   quadratic u1, u2
    magnitude        K band
    mid_transits     h from the start of the visit, one per visit
    drifts           one per visit
    """

    catalogue: Star
    orbit: Orbit
    depth: np.ndarray
    limb_darkening: np.ndarray
    magnitude: float
    mid_transits: tuple[float, ...]
    drifts: tuple[Drift, ...]

    @property
    def planet_id(self) -> str:
        return self.catalogue.planet_id

    @property
    def n_visits(self) -> int:
        return len(self.mid_transits)


def draw_planet(
    rng: np.random.Generator,
    planet_id: str,
    wavelength: np.ndarray,
    window: float,
    compression: float,
    magnitudes: tuple[float, float],
    depth: np.ndarray | None = None,
    star: Star | None = None,
    nuisances: Nuisances = Nuisances(),
) -> Planet:
    """Draw a planet; depth and star may be given.

    wavelength   (wavelength,)  micron, FGS1 first
    window       length of a visit, h
    compression  factor by which orbital periods are shortened, so that a short visit covers the whole transit
    magnitudes   limits of the K magnitude
    depth        (wavelength,)  (Rp/Rs)² of a label, or None
    star         true stellar and orbital parameters, or None
    """
    star = draw_star(rng, planet_id) if star is None else replace(star, planet_id=planet_id)
    depth = draw_spectrum(rng, wavelength, star) if depth is None else depth
    k = float(np.sqrt(depth.max()))
    orbit = _fit_into_window(_full_transit(Orbit(star.P * 24 / compression, star.sma, star.i), k), k, window)
    slack = 0.5 * (window - transit_duration(orbit, k))
    n_visits = 1 + int(rng.random() < SECOND_VISIT)
    t0 = 0.5 * window + np.clip(rng.normal(0, 0.04 * window, n_visits), -0.5 * slack, 0.5 * slack)
    return Planet(
        catalogue=_draw_catalogue(rng, star, orbit),
        orbit=orbit,
        depth=depth,
        limb_darkening=draw_limb_darkening(rng, wavelength, star.Ts, nuisances.limb_shift, nuisances.limb_scatter),
        magnitude=float(rng.uniform(*magnitudes)),
        mid_transits=tuple(float(t) for t in t0),
        drifts=tuple(draw_drift(rng, np.array(nuisances.drift_size)) for _ in range(n_visits)),
    )


def _full_transit(orbit: Orbit, k: float) -> Orbit:
    """Raise an inclination that gives a grazing transit, as rough catalogue values can, until the transit is full."""
    impact = min(orbit.impact, 0.9 * (1 - k))
    return replace(orbit, inclination=float(np.degrees(np.arccos(impact / orbit.a))))


def _fit_into_window(orbit: Orbit, k: float, window: float) -> Orbit:
    """Shorten the period where the transit would exceed LONGEST_TRANSIT of the window."""
    longest = LONGEST_TRANSIT * window / transit_duration(orbit, k)
    return replace(orbit, period=orbit.period * min(1.0, longest))


def _draw_catalogue(rng: np.random.Generator, star: Star, orbit: Orbit) -> Star:
    """Row of the star table: the true orbit with errors of inclination and a/Rs."""
    scatter, largest = INCLINATION_ERROR
    inclination = min(90.0, orbit.inclination + float(np.clip(rng.normal(0, scatter), -largest, largest)))
    return replace(star, P=orbit.period / 24, sma=orbit.a * float(np.exp(rng.normal(0, SMA_ERROR))), i=inclination)
