"""What is taken as known of a transit before its light curves are seen: orbit, limb darkening and mid-transit times.

The catalogue's star gives loose priors; a caller may give others, or fix a parameter. Knows no light curves.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ariel_lib.io.layout import Star
from ariel_lib.transit.limb_darkening import limb_darkening_prior
from ariel_lib.transit.orbit import HOURS_A_DAY, OrbitPrior, orbit_prior
from ariel_lib.transit.search import TEMPLATE_K

# Standard deviation of a fixed parameter: ln(a/Rs), b², limb darkening, t0 in h. Light curves know ln(a/Rs), b² and u to 1e-3 and t0
# to 1e-4 at best, so one that is fixed a thousand standard deviations from what they say still moves by less than 1e-6.
FIXED = 1e-7
LARGEST_CIRCULAR = 0.01  # eccentricity: see is_eccentric
# 2024 lists no orbit: medians of the 2025 star table, with widths that cover it.
UNKNOWN_ORBIT = OrbitPrior(24 * 4.5, (np.log(10.0), 0.5), (0.15, 0.4))
UNKNOWN_TEMPERATURE = 5500.0


@dataclass(frozen=True)
class PhysicalPriors:
    """Means and standard deviations of the parameters that all wavelengths share.

    orbit           period, ln(a/Rs) and b²
    limb_darkening  mean and standard deviation, each (6,) in the order of limb_darkening_prior
    t0              visit → (mean, standard deviation) in h; a visit that is missing is searched
    is_catalogue    whether the orbit is the prior that the catalogue's star gives: the population's corrections hold for no other
    """

    orbit: OrbitPrior
    limb_darkening: tuple[np.ndarray, np.ndarray]
    t0: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    is_catalogue: bool = True


def catalogue_priors(star: Star | None) -> PhysicalPriors:
    """Loose priors around the star table; in place of what it lacks, what covers the stars of the 2025 table.

    Without a period, a/Rs counts as unknown too, since the duration gives their ratio alone. An inclination whose orbit does not
    transit is wrong for a planet that does, and counts as unknown.
    """
    if star is None:
        return PhysicalPriors(UNKNOWN_ORBIT, limb_darkening_prior(UNKNOWN_TEMPERATURE), is_catalogue=False)
    limb_darkening = limb_darkening_prior(star.Ts if math.isfinite(star.Ts) else UNKNOWN_TEMPERATURE)
    if not lacks_orbit(star):
        return PhysicalPriors(orbit_prior(star.P, star.sma, star.i), limb_darkening)
    orbit = UNKNOWN_ORBIT
    if math.isfinite(star.P):
        orbit = replace(orbit, period=star.P * HOURS_A_DAY)
        if math.isfinite(star.sma):
            orbit = replace(orbit, log_a=orbit_prior(star.P, star.sma, 90.0).log_a)
    if _transits(star):
        orbit = replace(orbit, b_squared=orbit_prior(1.0, star.sma, star.i).b_squared)
    return PhysicalPriors(orbit, limb_darkening, is_catalogue=False)


def lacks_orbit(star: Star | None) -> bool:
    """Whether the star table lists the star, but not all of an orbit that transits."""
    return star is not None and not (math.isfinite(star.P) and _transits(star))


def _transits(star: Star) -> bool:
    """Whether the discs of star and planet overlap on the orbit of the star table; False where it lacks a/Rs or the inclination."""
    return abs(star.sma * math.cos(math.radians(star.i))) < 1 + TEMPLATE_K


def is_eccentric(star: Star | None) -> bool:
    """Whether the catalogue's orbit is too eccentric for the fit, whose orbits are circular.

    To first order an eccentric transit is a circular one whose duration, and so a/Rs, is off by a factor between 1 − e and 1 + e
    (Winn 2010, arXiv:1001.2010, eq. 16). At e = 0.01 that is a tenth of the prior's standard deviation of ln(a/Rs), 0.10.
    """
    return star is not None and star.e > LARGEST_CIRCULAR
