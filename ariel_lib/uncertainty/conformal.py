"""Conformal prediction intervals, with guaranteed coverage of new planets for any quality of the sigmas.

Split conformal prediction (Vovk, Gammerman & Shafer 2005; Lei et al. 2018, arXiv:1604.04173): of the scores of n calibration
planets, not used in training, the ⌈(n + 1) q⌉-th smallest bounds that of a new exchangeable planet with probability at least
q. The unit is the planet, since the bins of one planet are not exchangeable. Coverage (the "promise" of an interval) is marginal,
of each bin, or joint, of the whole spectrum. With too few planets for a level the widths are infinite and a warning is issued.
Arrays are (planet, wavelength).
"""

import math
import warnings
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ariel_lib.errors import SpectraMindError

Array = np.ndarray

MARGINAL, JOINT = "marginal", "joint"


class TooFewPlanets(UserWarning):
    """Warning: too few calibration planets for the coverage level; widths are infinite."""


@dataclass(frozen=True)
class Intervals:
    """Prediction intervals: lower and upper limits (planet, wavelength), possibly infinite; coverage level; promise MARGINAL or JOINT."""

    lower: Array
    upper: Array
    level: float
    promise: str

    def hits(self, truth: Array) -> Array:
        """True where truth (planet, wavelength) lies inside, bool (planet, wavelength)."""
        return (self.lower <= truth) & (truth <= self.upper)


@dataclass(frozen=True)
class Widths:
    """Half-widths in sigmas: factor (group, wavelength), or (group, 1) for a box; a group is a class of planets."""

    factor: Array
    level: float
    promise: str

    def intervals(self, mean: Array, sigma: Array, groups: Array | None = None) -> Intervals:
        """groups (planet,) as in calibration; None: all are of group 0."""
        half = self.factor[_group_index(groups, len(mean))] * sigma
        return Intervals(mean - half, mean + half, self.level, self.promise)


@dataclass(frozen=True)
class Ellipsoid:
    """The planets whose z scores lie within `radius` of zero in the metric of `covariance` (wavelength, wavelength)."""

    covariance: Array
    radius: float
    level: float

    def contains(self, mean: Array, sigma: Array, truth: Array) -> Array:
        """Whether a whole spectrum lies inside, (planet,) bool."""
        return _distance((truth - mean) / sigma, self.covariance) <= self.radius

    def intervals(self, mean: Array, sigma: Array) -> Intervals:
        """The box around the ellipsoid: wider than need be, so its joint coverage exceeds the ellipsoid's."""
        half = self.radius * np.sqrt(np.diag(self.covariance)) * sigma
        return Intervals(mean - half, mean + half, self.level, JOINT)


def conformal_quantile(scores: Array, level: float) -> Array:
    """The ⌈(n + 1) level⌉-th smallest of n scores along axis 0; infinite, with a TooFewPlanets warning, if that exceeds n.

    Raises SpectraMindError for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise SpectraMindError(f"coverage level: expected a number between 0 and 1, found {level}")
    n = len(scores)
    rank = math.ceil((n + 1) * level - 1e-9)  # against rounding of decimal levels
    if rank > n:
        warnings.warn(
            f"a coverage level of {level:.0%} needs at least {planets_needed(level)} calibration planets, found {n}; "
            "interval widths are infinite",
            TooFewPlanets,
            stacklevel=2,
        )
        return np.full(np.shape(scores)[1:], np.inf)
    return np.sort(scores, axis=0)[rank - 1]


def planets_needed(level: float) -> int:
    """Smallest number of calibration planets for which the conformal quantile at a level is finite."""
    return math.ceil(level / (1 - level) - 1e-9)


def split_conformal(mean: Array, sigma: Array, truth: Array, level: float, groups: Array | None = None) -> Widths:
    """Each bin by itself: the quantile of |truth − mean| / sigma over planets.

    groups  (planet,) whole numbers from 0: a quantile for each class (Mondrian; Vovk et al. 2005), so that coverage holds
            within every class and not only on average
    """
    scores = np.abs(_z(mean, sigma, truth))
    return Widths(_by_group(scores, level, groups), level, MARGINAL)


def largest_score(mean: Array, sigma: Array, truth: Array, level: float, groups: Array | None = None) -> Widths:
    """A box for the whole spectrum: the quantile of the largest |truth − mean| / sigma of a planet."""
    scores = np.abs(_z(mean, sigma, truth)).max(axis=1, keepdims=True)
    return Widths(_by_group(scores, level, groups), level, JOINT)


def mahalanobis(mean: Array, sigma: Array, truth: Array, level: float) -> Ellipsoid:
    """An ellipsoid for the whole spectrum: the quantile of a planet's Mahalanobis distance.

    The covariance of z is learned on every second planet (Ledoit & Wolf 2004), the quantile on the others: a distance in a
    metric that has seen the planet is no conformal score.
    """
    z = _z(mean, sigma, truth)
    covariance = ledoit_wolf(z[::2]) if len(z) > 2 else np.eye(z.shape[1])
    return Ellipsoid(covariance, float(conformal_quantile(_distance(z[1::2], covariance), level)), level)


def ledoit_wolf(rows: Array) -> Array:
    """Second moments (column, column) of rows (row, column), drawn to a multiple of one (Ledoit & Wolf 2004, JMA 88, 365).

    About zero, not about the mean: z scores of an honest answer have none.
    """
    n, p = rows.shape
    sample = rows.T @ rows / n
    scale = np.trace(sample) / p
    distance = np.sum((sample - scale * np.eye(p)) ** 2) / p
    noise = (np.sum(np.sum(rows**2, axis=1) ** 2) / n - np.sum(sample**2)) / (n * p)
    share = min(noise / distance, 1.0) if distance > 0 else 1.0
    return (1 - share) * sample + share * scale * np.eye(p)


def conformalise(
    intervals: Intervals, calibration: Intervals, truth: Array, level: float, promise: str = MARGINAL
) -> Intervals:
    """Conformalised quantile regression (Romano, Patterson & Candès 2019, arXiv:1905.03222), in half-widths.

    intervals     to correct, of new planets
    calibration   what the same method says of planets with known truth (planet, wavelength)
    promise       MARGINAL corrects each bin by itself, JOINT the whole spectrum by its worst bin

    The score is how far the truth lies outside, over the interval's own half-width, so that a correction found on bright
    planets fits faint ones.
    """
    middle, half = _middle_and_half(calibration)
    excess = np.abs(truth - middle) / half - 1
    if promise == JOINT:
        excess = excess.max(axis=1, keepdims=True)
    stretch = np.maximum(1 + conformal_quantile(excess, level), 0.0)
    middle, half = _middle_and_half(intervals)
    return Intervals(middle - stretch * half, middle + stretch * half, level, promise)


def gaussian_intervals(mean: Array, sigma: Array, level: float) -> Intervals:
    """Central intervals of a Gaussian, bin by bin: no promise but the sigmas' own."""
    half = normal_half_width(level) * sigma
    return Intervals(mean - half, mean + half, level, MARGINAL)


def sigma_of(intervals: Intervals, fallback: Array) -> Array:
    """Gaussian sigma whose central intervals have these widths, (planet, wavelength); fallback where they are infinite.

    To be multiplied by a fitted temperature: interval widths alone do not maximise the score.
    """
    half = 0.5 * (intervals.upper - intervals.lower)
    return np.where(np.isfinite(half), half / normal_half_width(intervals.level), fallback)


def normal_half_width(level: float) -> float:
    """Half-width in sigmas of the central interval of a Gaussian. Raises SpectraMindError for a level outside (0, 1)."""
    if not 0 < level < 1:
        raise SpectraMindError(f"coverage level: expected a number between 0 and 1, found {level}")
    return NormalDist().inv_cdf(0.5 * (1 + level))


def brightness_classes(level: Array, edges: Array) -> Array:
    """Class (planet,) of each planet by its noise level (planet,) and ascending edges; 0 = below the first edge."""
    return np.searchsorted(np.asarray(edges), level, side="right")


def coverage_table(intervals: Intervals, truth: Array, groups: Array | None = None) -> dict:
    """Nominal level and measured coverage of intervals: marginal, joint, of the worst and best bin, and within each group.

    truth (planet, wavelength); groups (planet,): classes, or None. Errors are standard errors over planets, since bins of one
    planet are not independent. "infinite" is the fraction of infinite intervals; values that are not finite are None.
    """
    hits, width = intervals.hits(truth), intervals.upper - intervals.lower
    typical = float(np.median(width))
    table = _coverage(hits) | {
        "level": intervals.level,
        "promise": intervals.promise,
        "lowest_bin": float(hits.mean(axis=0).min()),
        "highest_bin": float(hits.mean(axis=0).max()),
        "infinite": float(np.isinf(width).mean()),
        "median_width_ppm": 1e6 * typical if np.isfinite(typical) else None,
    }
    if groups is not None:
        table["groups"] = {str(g): _coverage(hits[groups == g]) for g in np.unique(groups)}
    return table


def _coverage(hits: Array) -> dict:
    """Marginal and joint coverage with standard errors, of hits (planet, wavelength)."""
    whole, n = hits.all(axis=1), len(hits)
    share = float(whole.mean())
    spread = float(hits.mean(axis=1).std(ddof=1) / np.sqrt(n)) if n > 1 else None
    return {
        "planets": n,
        "marginal": float(hits.mean()),
        "marginal_error": spread,
        "joint": share,
        "joint_error": float(np.sqrt(share * (1 - share) / n)),
    }


def _z(mean: Array, sigma: Array, truth: Array) -> Array:
    if not np.shape(mean) == np.shape(sigma) == np.shape(truth) or np.ndim(mean) != 2:
        raise SpectraMindError(
            f"expected mean, sigma and truth of one shape (planet, wavelength), found {np.shape(mean)}, {np.shape(sigma)} "
            f"and {np.shape(truth)}"
        )
    return (truth - mean) / sigma


def _by_group(scores: Array, level: float, groups: Array | None) -> Array:
    index = _group_index(groups, len(scores))
    return np.stack([conformal_quantile(scores[index == g], level) for g in range(index.max(initial=0) + 1)])


def _group_index(groups: Array | None, n: int) -> Array:
    return np.zeros(n, int) if groups is None else np.asarray(groups)


def _distance(z: Array, covariance: Array) -> Array:
    """Mahalanobis distance from zero, (planet,)."""
    return np.sqrt(np.sum(z * np.linalg.solve(covariance, z.T).T, axis=1))


def _middle_and_half(intervals: Intervals) -> tuple[Array, Array]:
    return 0.5 * (intervals.upper + intervals.lower), 0.5 * (intervals.upper - intervals.lower)
