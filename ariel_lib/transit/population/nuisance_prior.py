"""How large drifts are and how far orbits lie from the catalogue, learned from many planets' fits, and what knowing that does
to a planet's depths.

A fit leaves every drift free and takes the catalogue's orbit loosely, so that no star can surprise it; on a faint star a curve
in the baseline is then as good as a transit. The population says how large they are (empirical Bayes, Efron & Morris 1973):
every kind of nuisance parameter gets a Gaussian prior of the variance found, in place of the fit's own, and the
linear–Gaussian fit is conditioned on it in closed form. Needs no labels. Limb darkening keeps the fit's prior: the tables
err for all stars alike, which a scatter about them does not describe.

Units: a parameter's deviation from the mean of the fit's own prior, over that prior's standard deviation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ariel_lib.transit.result import KINDS, LOG_A_KIND, NOT_KNOWN, DepthEstimate

MIN_FITS = 20  # fewer parameters of a kind say too little: it keeps the fit's prior
WIDENED = 2.0  # a drift's variance is taken this much larger than found: the next visits may drift more; the catalogue is the same
ROUNDS = 100  # of expectation maximisation
SURPRISE = 4.0  # standard deviations: a parameter further out comes from no such population, and stays free


@dataclass(frozen=True)
class NuisancePrior:
    """variance (kind,) of each kind of nuisance parameter, relative to the fit's own prior; 1 where nothing more is known."""

    variance: np.ndarray

    @classmethod
    def unknown(cls) -> "NuisancePrior":
        return cls(np.ones(KINDS))

    def condition(self, estimate: DepthEstimate) -> DepthEstimate:
        """The estimate, given that its nuisance parameters come from this population."""
        extra = _extra(self.variance)[estimate.nuisance_kind]
        likely = estimate.nuisance**2 < SURPRISE**2 * (np.diag(estimate.nuisance_covariance) + extra)
        known = np.isfinite(extra) & likely
        if not known.any():
            return estimate
        coupling = estimate.nuisance_coupling[:, known]
        gain = np.linalg.solve(estimate.nuisance_covariance[np.ix_(known, known)] + np.diag(extra[known]), coupling.T).T
        covariance = estimate.covariance - gain @ coupling.T
        return replace(
            estimate, depth=estimate.depth - gain @ estimate.nuisance[known], covariance=0.5 * (covariance + covariance.T),
            physical_covariance=NOT_KNOWN, physical_coupling=NOT_KNOWN,
        )  # fmt: skip


def fit_nuisance_prior(estimates: Sequence[DepthEstimate]) -> NuisancePrior:
    """Variance of each kind by expectation maximisation (Dempster, Laird & Rubin 1977) over all fits together: what is far better
    known of one parameter once another is settled counts as such. A fit that is not finite, or what lies SURPRISE away, rules nothing."""
    estimates = [e for e in estimates if np.isfinite(e.nuisance).all() and np.isfinite(e.nuisance_covariance).all()]
    kinds = np.concatenate([e.nuisance_kind for e in estimates]) if estimates else np.zeros(0, int)
    count = np.bincount(kinds, minlength=KINDS)
    enough = count >= MIN_FITS
    variance = np.where(enough, 0.5, 1.0)
    for _ in range(ROUNDS if enough.any() else 0):
        square, extra = np.zeros(KINDS), _extra(variance)
        for e in estimates:
            found, usual = _expected_squares(e, extra), variance[e.nuisance_kind]
            np.add.at(square, e.nuisance_kind, np.where(found < SURPRISE**2 * usual, found, usual))
        variance = np.where(enough, np.minimum(square / np.maximum(count, 1), 1.0), 1.0)
    widened = np.where(np.arange(KINDS) < LOG_A_KIND, WIDENED, 1.0)
    return NuisancePrior(np.minimum(widened * variance, 1.0))


def _extra(variance: np.ndarray) -> np.ndarray:
    """Variance of the measurement, of zero, that turns a prior of variance 1 into one of `variance`; infinite for 1."""
    return np.divide(variance, 1 - variance, where=variance < 1, out=np.full(variance.shape, np.inf))


def _expected_squares(estimate: DepthEstimate, extra: np.ndarray) -> np.ndarray:
    """E[x²] of each nuisance parameter of a fit, (parameter,), under the priors that `extra` (kind,) stands for."""
    mean, covariance = estimate.nuisance, estimate.nuisance_covariance
    known = np.isfinite(extra[estimate.nuisance_kind])
    total = covariance[np.ix_(known, known)] + np.diag(extra[estimate.nuisance_kind][known])
    gain = np.linalg.solve(total, covariance[known]).T
    return (mean - gain @ mean[known]) ** 2 + np.diag(covariance) - np.sum(gain * covariance[:, known], axis=1)
