"""Orbit and limb darkening as a user states them and as a fit finds them, and from them the priors of a transit fit.

A parameter is a number, which is held fixed, or a pair (mean, standard deviation). This is where they enter, so this is where
they are checked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurves
from ariel_lib.transit.limb_darkening import AIRS_HALF_WIDTH, AIRS_PIVOT
from ariel_lib.transit.orbit import HOURS_A_DAY, OrbitPrior
from ariel_lib.transit.physical_priors import FIXED, LARGEST_CIRCULAR, PhysicalPriors, catalogue_priors, is_eccentric

Prior = float | tuple[float, float]
LARGEST_DEPARTURE = 0.02  # of u1 or u2 from a straight line in wavelength: half the default prior's standard deviation


@dataclass(frozen=True)
class Orbit:
    """A circular orbit, as a prior for `fit_transit` and as its result.

    a_over_rs         semi-major axis in stellar radii, above 1
    impact_parameter  a cos(i) / Rs, from 0 to a_over_rs
    period            days, taken as known

    The first two are a number, which is held fixed, or a pair (mean, standard deviation). What is None comes from the star table.
    Raises SpectraMindError for values that no orbit has.

    >>> from ariel_lib import Orbit
    >>> Orbit(a_over_rs=(9.0, 0.2), impact_parameter=0.3, period=3.5)
    Orbit(a_over_rs=(9.0, 0.2), impact_parameter=0.3, period=3.5)
    """

    a_over_rs: Prior | None = None
    impact_parameter: Prior | None = None
    period: float | None = None

    def __post_init__(self) -> None:
        a = None if self.a_over_rs is None else read_prior("a_over_rs", self.a_over_rs)[0]
        b = None if self.impact_parameter is None else read_prior("impact_parameter", self.impact_parameter)[0]
        if a is not None and a <= 1:
            raise SpectraMindError(f"a_over_rs: expected more than 1 stellar radius, found {a}")
        if b is not None and not 0 <= b < (a or math.inf):
            raise SpectraMindError(f"impact_parameter: expected 0 or more and less than a_over_rs, found {b}")
        if self.period is not None and not (math.isfinite(self.period) and self.period > 0):
            raise SpectraMindError(f"period: expected days, more than 0, found {self.period}")


@dataclass(frozen=True, eq=False, init=False, repr=False)
class LimbDarkening:
    """Quadratic limb darkening I(μ) / I(1) = 1 − u1 (1 − μ) − u2 (1 − μ)², as a prior for `fit_transit` and as its result.

    u1, u2              one number; a pair for FGS1 and AIRS; or (wavelength,), FGS1 first
    u1_sigma, u2_sigma  standard deviations, of the same forms; 0 holds the coefficient fixed

    Over AIRS the fit's coefficients are straight lines in wavelength: coefficients that depart from one by more than 0.02 are refused.
    As a prior, a standard deviation moves the whole line where it is the same at all wavelengths, and turns it where it grows
    towards both ends. Raises SpectraMindError for values that are not finite, and for a limb that would be darker than black.

    >>> from ariel_lib import LimbDarkening
    >>> LimbDarkening(u1=(0.40, 0.10), u2=(0.24, 0.19), u1_sigma=0.02, u2_sigma=0.02)
    LimbDarkening(u1: FGS1 0.400, AIRS 0.100; u2: FGS1 0.240, AIRS 0.190)
    """

    u1: np.ndarray
    u2: np.ndarray
    u1_sigma: np.ndarray
    u2_sigma: np.ndarray

    def __init__(self, u1: ArrayLike, u2: ArrayLike, u1_sigma: ArrayLike = 0.0, u2_sigma: ArrayLike = 0.0):
        for name, given in (("u1", u1), ("u2", u2), ("u1_sigma", u1_sigma), ("u2_sigma", u2_sigma)):
            values = np.asarray(given, dtype=float)
            if values.ndim > 1 or values.size == 0 or not np.isfinite(values).all():
                raise SpectraMindError(f"limb darkening {name}: expected one finite number, a pair or (wavelength,), found {values}")
            if name.endswith("sigma") and values.min() < 0:
                raise SpectraMindError(f"limb darkening {name}: expected 0 or more, found {values.min()}")
            object.__setattr__(self, name, values)
        darkest = np.max(_ends(self.u1) + _ends(self.u2))
        if darkest > 1:
            raise SpectraMindError(f"limb darkening: expected u1 + u2 of at most 1, a limb that is not darker than black, found {darkest}")

    def __repr__(self) -> str:
        (fgs1, airs), (other_fgs1, other_airs) = _ends(self.u1), _ends(self.u2)
        return f"LimbDarkening(u1: FGS1 {fgs1:.3f}, AIRS {airs:.3f}; u2: FGS1 {other_fgs1:.3f}, AIRS {other_airs:.3f})"


def read_prior(name: str, value: Prior) -> tuple[float, float]:
    """(mean, standard deviation) of a number, whose standard deviation is 0, or a pair. Raises SpectraMindError."""
    pair = np.ravel(value).astype(float)
    if len(pair) not in (1, 2) or not np.isfinite(pair).all():
        raise SpectraMindError(f"{name}: expected a finite number, or a pair (mean, standard deviation), found {value}")
    mean, sigma = float(pair[0]), float(pair[1]) if len(pair) == 2 else 0.0
    if sigma < 0:
        raise SpectraMindError(f"{name}: expected a standard deviation of 0 or more, found {sigma}")
    return mean, sigma


def physical_priors(
    star: Star | None,
    orbit: Orbit | None,
    limb_darkening: LimbDarkening | None,
    t0: Prior | Mapping[int, Prior] | None,
    visits: Sequence[LightCurves],
    wavelength: np.ndarray,
) -> PhysicalPriors:
    """The priors of a fit: what the catalogue says of the star, and what was given in its place. Raises SpectraMindError."""
    if star is not None and is_eccentric(star) and (orbit is None or orbit.a_over_rs is None):
        raise SpectraMindError(
            f"planet {star.planet_id}: expected a circular orbit (e of at most {LARGEST_CIRCULAR}), as the fit's are, found e = {star.e}. "
            "Give orbit=Orbit(a_over_rs=...) of the circular orbit whose transit lasts as long."
        )
    priors = catalogue_priors(star)
    if orbit is not None:
        priors = replace(priors, orbit=_orbit_prior(star, orbit, priors.orbit), is_catalogue=False)
    if limb_darkening is not None:
        priors = replace(priors, limb_darkening=_limb_darkening_prior(limb_darkening, wavelength))
    return replace(priors, t0=_t0_priors(t0, visits))


def _orbit_prior(star: Star | None, orbit: Orbit, catalogue: OrbitPrior) -> OrbitPrior:
    if orbit.period is None and (star is None or not math.isfinite(star.P)):
        raise SpectraMindError("orbit: expected a period in days where the catalogue has none, found None. Give Orbit(..., period=DAYS).")
    found = catalogue if orbit.period is None else replace(catalogue, period=HOURS_A_DAY * orbit.period)
    if orbit.a_over_rs is not None:
        a, sigma = read_prior("a_over_rs", orbit.a_over_rs)
        found = replace(found, log_a=(math.log(a), max(sigma / a, FIXED)))
    if orbit.impact_parameter is not None:
        b, sigma = read_prior("impact_parameter", orbit.impact_parameter)
        found = replace(found, b_squared=(b**2, max(math.hypot(2 * b * sigma, math.sqrt(2) * sigma**2), FIXED)))
    return found


def _limb_darkening_prior(given: LimbDarkening, wavelength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (6,), in the order of transit.limb_darkening."""
    x = (wavelength[1:] - AIRS_PIVOT) / AIRS_HALF_WIDTH
    fgs1, airs = [], []
    for name in ("u1", "u2"):
        mean, sigma = (_by_wavelength(f"limb darkening {key}", getattr(given, key), len(wavelength)) for key in (name, f"{name}_sigma"))
        line = np.polynomial.polynomial.polyfit(x, mean[1:], 1)
        departure = np.abs(mean[1:] - line[0] - line[1] * x).max()
        if departure > LARGEST_DEPARTURE:
            raise SpectraMindError(
                f"limb darkening {name}: expected coefficients that a straight line in wavelength follows over AIRS to "
                f"{LARGEST_DEPARTURE}, found a departure of {departure:.3f}. Give the line's values."
            )
        variance = np.maximum(np.polynomial.polynomial.polyfit(x**2, sigma[1:] ** 2, 1), 0.0)
        fgs1.append((mean[0], sigma[0]))
        airs += list(zip(line, np.sqrt(variance)))
    means, sigmas = np.array([*fgs1, *airs]).T
    return means, np.maximum(sigmas, FIXED)


def _by_wavelength(name: str, values: np.ndarray, n_wavelengths: int) -> np.ndarray:
    if values.ndim == 1 and len(values) not in (1, 2, n_wavelengths):
        raise SpectraMindError(f"{name}: expected one number, a pair for FGS1 and AIRS, or {n_wavelengths} values, found {len(values)}")
    if values.size == n_wavelengths:
        return values
    fgs1, airs = _ends(values)
    return np.concatenate([[fgs1], np.full(n_wavelengths - 1, airs)])


def _ends(values: np.ndarray) -> np.ndarray:
    """First and last value, (2,): FGS1's, and one of AIRS."""
    return np.ravel(values)[[0, -1]]


def _t0_priors(t0: Prior | Mapping[int, Prior] | None, visits: Sequence[LightCurves]) -> dict[int, tuple[float, float]]:
    """Visit → mean and standard deviation in h, for the visits that have one."""
    if t0 is None:
        return {}
    times = {curves.visit: curves.airs.time for curves in visits}
    if not isinstance(t0, Mapping):
        if len(times) > 1:
            raise SpectraMindError(f"t0: expected {{visit: hours}} for visits {', '.join(map(str, times))}, found one value for all, {t0}")
        t0 = dict.fromkeys(times, t0)
    found = {}
    for visit, value in t0.items():
        if visit not in times:
            raise SpectraMindError(f"t0: expected visits among {', '.join(map(str, times))}, found visit {visit}")
        mean, sigma = read_prior(f"t0 of visit {visit}", value)
        first, last = times[visit][0], times[visit][-1]
        if not 2 * first - last <= mean <= 2 * last - first:
            raise SpectraMindError(
                f"t0 of visit {visit}: expected hours within a visit's length of the light curves, which last from {first:.2f} to "
                f"{last:.2f}, found {mean}"
            )
        found[visit] = (mean, max(sigma, FIXED))
    return found
