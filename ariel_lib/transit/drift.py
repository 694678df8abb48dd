"""How large drifts are, learned from many planets' fits, and what knowing it does to a planet's depths.

A fit leaves every drift free, so that no star can surprise it; on a faint star a curve in the baseline is then as good as a
transit. The population says how large drifts are (empirical Bayes, Efron & Morris 1973): each coefficient gets a Gaussian
prior of the variance found, and the linear–Gaussian fit is conditioned on it in closed form. Needs no labels.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ariel_lib.instrument import FGS1
from ariel_lib.transit.fit import DRIFT_ORDERS, DRIFT_PRIOR
from ariel_lib.transit.segments import TREND_ORDER, Segment

if TYPE_CHECKING:
    from ariel_lib.transit.estimate import DepthEstimate

KINDS = TREND_ORDER * (1 + DRIFT_ORDERS)  # coefficients of FGS1, then those of AIRS by power of time and order in wavelength
MIN_FITS = 20  # fewer coefficients of a kind say too little: it stays free
WIDENED = 2.0  # the variance is taken this much larger than found: the next planets may drift more
ROUNDS = 20  # of the fixed-point iteration; it has settled to a per cent after ten


def drift_kinds(segment: Segment, orders: int) -> np.ndarray:
    """Which kind each drift coefficient of a segment is, (coefficient,), in the fit's order."""
    if segment.instrument == FGS1.name:
        return np.arange(TREND_ORDER)
    power, order = np.divmod(np.arange(TREND_ORDER * orders), orders)
    return TREND_ORDER + power * DRIFT_ORDERS + order


@dataclass(frozen=True)
class DriftPrior:
    """variance (kind,) of each kind of drift coefficient about zero, relative flux²; infinite where nothing is known."""

    variance: np.ndarray

    @classmethod
    def unknown(cls) -> "DriftPrior":
        return cls(np.full(KINDS, np.inf))

    def condition(self, estimate: "DepthEstimate") -> "DepthEstimate":
        """The estimate, given that its drifts come from this population."""
        prior = self.variance[estimate.drift_kind]
        known = np.isfinite(prior)
        if not known.any():
            return estimate
        total = estimate.drift_covariance[np.ix_(known, known)] + np.diag(prior[known])
        gain = np.linalg.solve(total, estimate.drift_coupling[:, known].T).T
        covariance = estimate.covariance - gain @ estimate.drift_coupling[:, known].T
        return replace(
            estimate, depth=estimate.depth - gain @ estimate.drift[known], covariance=0.5 * (covariance + covariance.T)
        )


def fit_drift_prior(estimates: "list[DepthEstimate]") -> DriftPrior:
    """Variance of each kind from the fitted coefficients: what they scatter beyond their own errors."""
    kind = np.concatenate([e.drift_kind for e in estimates]) if estimates else np.zeros(0, int)
    value = np.concatenate([e.drift for e in estimates]) if estimates else np.zeros(0)
    noise = np.concatenate([np.diag(e.drift_covariance) for e in estimates]) if estimates else np.zeros(0)
    variance = [_spread(value[kind == k], noise[kind == k]) for k in range(KINDS)]
    return DriftPrior(WIDENED * np.array(variance))


def _spread(value: np.ndarray, noise: np.ndarray) -> float:
    """Maximum-likelihood V of value ~ N(0, V + noise), by its weighted moments; never above the fit's own prior."""
    if len(value) < MIN_FITS:
        return np.inf
    spread = float(np.mean(value**2))
    for _ in range(ROUNDS):
        weight = (spread + noise) ** -2
        spread = max(float(np.sum(weight * (value**2 - noise)) / np.sum(weight)), 1e-3 * float(np.min(noise)))
    return min(spread, DRIFT_PRIOR**2)
