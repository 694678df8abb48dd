"""Intervals whose coverage of new planets is guaranteed, whatever the sigmas are worth.

Split conformal prediction (Vovk, Gammerman & Shafer 2005; Lei et al. 2018, arXiv:1604.04173): scores of n calibration
planets, which the model must not have been trained on; the ⌈(n + 1) q⌉-th smallest covers a new exchangeable planet
with probability at least q. The unit is the planet, for the bins of one planet are not exchangeable. Two promises are
kept apart: marginal, each bin by itself, and joint, the whole spectrum at once. Too few planets for a level make widths
infinite, with one warning. Arrays are (planet, wavelength).
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
    """A quantile was asked for that so few calibration planets cannot give; widths are infinite."""


@dataclass(frozen=True)
class Intervals:
    """lower, upper (planet, wavelength), infinite where nothing can be promised; level; promise MARGINAL or JOINT."""

    lower: Array
    upper: Array
    level: float
    promise: str

    def hits(self, truth: Array) -> Array:
        """Where the truth lies inside, (planet, wavelength) bool."""
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
    """The ⌈(n + 1) level⌉-th smallest of n scores along axis 0; infinite where that is beyond n."""
    if not 0 < level < 1:
        raise SpectraMindError(f"a coverage level lies between 0 and 1; found {level}")
    n = len(scores)
    rank = math.ceil((n + 1) * level - 1e-9)  # the product of a decimal level is a hair off
    if rank > n:
        warnings.warn(
            f"{n} calibration planets cannot promise {level:.0%} coverage; it takes {planets_needed(level)}. "
            "Widths are infinite.",
            TooFewPlanets,
            stacklevel=2,
        )
        return np.full(np.shape(scores)[1:], np.inf)
    return np.sort(scores, axis=0)[rank - 1]


def planets_needed(level: float) -> int:
    """The smallest number of calibration planets with a finite quantile."""
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
    """The Gaussian sigma with central intervals of these widths, (planet, wavelength); fallback where they are infinite.

    Multiply by the temperature afterwards: it is the score's optimum that makes a sigma, and a width is none.
    """
    half = 0.5 * (intervals.upper - intervals.lower)
    return np.where(np.isfinite(half), half / normal_half_width(intervals.level), fallback)


def normal_half_width(level: float) -> float:
    """Half-width in sigmas of a Gaussian's central interval."""
    if not 0 < level < 1:
        raise SpectraMindError(f"a coverage level lies between 0 and 1; found {level}")
    return NormalDist().inv_cdf(0.5 * (1 + level))


def brightness_classes(level: Array, edges: Array) -> Array:
    """Class (planet,) of each planet by ascending edges of whatever measures its noise; 0 = below the first edge."""
    return np.searchsorted(np.asarray(edges), level, side="right")


def coverage_table(intervals: Intervals, truth: Array, groups: Array | None = None) -> dict:
    """What was promised and what was found: marginal and joint coverage, the worst bin, and both within each group.

    Errors are standard errors over planets: bins of one planet are no sigma_uncorrelated evidence. None stands for what is not
    finite; infinite is the share of intervals that promise nothing, and cover all the same.
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
            f"mean, sigma and truth must be (planet, wavelength) alike; found {np.shape(mean)}, {np.shape(sigma)}, {np.shape(truth)}"
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
