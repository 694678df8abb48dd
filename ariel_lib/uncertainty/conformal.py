"""Conformal prediction intervals, whose coverage of new planets does not rest on the quality of the sigmas.

Split conformal prediction (Vovk, Gammerman & Shafer 2005; Lei et al. 2018, arXiv:1604.04173): of the scores of n calibration
planets, not used in training, the ⌈(n + 1) q⌉-th smallest bounds that of a new exchangeable planet with probability at least
q, on average over draws of the calibration planets. That holds for the predictor of the calibration planets and for planets drawn as
they were; for other planets, or another predictor, nothing is guaranteed. The unit is the planet, since the bins of one planet are not
exchangeable. Coverage (the "promise" of an interval) is marginal, of each bin, or joint, of the whole spectrum. With too few planets
for a level the widths are infinite and a warning is issued.
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


def conformal_quantile(scores: Array, level: float) -> Array:
    """The ⌈(n + 1) level⌉-th smallest of n scores along axis 0; infinite, with a TooFewPlanets warning, if that exceeds n.

    An infinite score bounds nothing and ranks last; a NaN has no rank. Raises SpectraMindError for a NaN and for a level outside (0, 1).
    """
    _require_level(level)
    n = len(scores)
    if unknown := sorted(set(np.argwhere(np.isnan(scores))[:, 0].tolist())):
        found = f"NaN for {len(unknown)} of {n} planets, the first in row {unknown[0]}"
        raise SpectraMindError(f"conformal scores: expected numbers, found {found}. Leave these planets out.")
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


def sigma_of(intervals: Intervals, fallback: Array) -> Array:
    """Gaussian sigma whose central intervals have these widths, (planet, wavelength); fallback where they are infinite.

    To be multiplied by a fitted temperature: interval widths alone do not maximise the score.
    """
    half = 0.5 * (intervals.upper - intervals.lower)
    return np.where(np.isfinite(half), half / normal_half_width(intervals.level), fallback)


def normal_half_width(level: float) -> float:
    """Half-width in sigmas of the central interval of a Gaussian. Raises SpectraMindError for a level outside (0, 1)."""
    _require_level(level)
    return NormalDist().inv_cdf(0.5 * (1 + level))


def _require_level(level: float) -> None:
    if not 0 < level < 1:
        raise SpectraMindError(f"coverage level: expected a number between 0 and 1, found {level}")


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
