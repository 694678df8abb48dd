"""Empirical-Bayes prior on the nuisance parameters (drift, orbit) of transit fits, and depths conditioned on it.

A single fit has a wide prior on drift and a loose one on the orbit; on a faint star a curved baseline is then degenerate with
the transit. From the fits of many planets each kind of nuisance parameter gets a Gaussian prior with the variance of the
population (Efron & Morris 1973, J. Am. Stat. Assoc. 68, 117), on which the linear–Gaussian fit is conditioned in closed form.
No labels are used. Limb darkening keeps the fit's prior: errors of the tables are common to all stars, not a scatter.

Units: deviation from the mean of the fit's prior, over that prior's standard deviation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ariel_lib.transit.result import KINDS, LOG_A_KIND, NOT_KNOWN, CorrectionKind, DepthEstimate

MIN_FITS = 20  # a kind with fewer parameters keeps the fit's prior
WIDENED = 2.0  # safety factor on the variance of drifts, which may be larger in later visits; not on the orbit
EM_ITERATIONS = 100
OUTLIER_SIGMA = 4.0  # a parameter further from the population's mean is an outlier and keeps the fit's prior


@dataclass(frozen=True)
class NuisancePrior:
    """Variance (kind,) of each kind of nuisance parameter, relative to the variance of the fit's prior; 1 keeps that prior."""

    variance: np.ndarray

    @classmethod
    def unknown(cls) -> "NuisancePrior":
        """The prior of the fit itself: conditioning on it changes no value of an estimate."""
        return cls(np.ones(KINDS))

    def condition(self, estimate: DepthEstimate) -> DepthEstimate:
        """Depths and covariance with the nuisance parameters drawn from this population; outlying parameters are left out.

        Raises SpectraMindError for an estimate that is conditioned already.
        """
        extra = _extra(self.variance)[estimate.nuisance_kind]
        inlier = estimate.nuisance**2 < OUTLIER_SIGMA**2 * (np.diag(estimate.nuisance_covariance) + extra)
        known = np.isfinite(extra) & inlier
        if not known.any():
            return estimate.corrected(CorrectionKind.NUISANCE_PRIOR)
        coupling = estimate.nuisance_coupling[:, known]
        gain = np.linalg.solve(estimate.nuisance_covariance[np.ix_(known, known)] + np.diag(extra[known]), coupling.T).T
        covariance = estimate.covariance - gain @ coupling.T
        return estimate.corrected(
            CorrectionKind.NUISANCE_PRIOR, depth=estimate.depth - gain @ estimate.nuisance[known],
            covariance=0.5 * (covariance + covariance.T), physical_covariance=NOT_KNOWN, physical_coupling=NOT_KNOWN,
        )  # fmt: skip


def fit_nuisance_prior(estimates: Sequence[DepthEstimate]) -> NuisancePrior:
    """Variance of each kind of nuisance parameter, by expectation maximisation over all fits (Dempster, Laird & Rubin 1977).

    The full covariance of each fit is used. Fits that are not finite are left out; squares beyond OUTLIER_SIGMA are replaced by
    the current variance. Raises SpectraMindError for estimates that are conditioned already.
    """
    for estimate in estimates:
        estimate.require_before(CorrectionKind.NUISANCE_PRIOR)
    estimates = [e for e in estimates if np.isfinite(e.nuisance).all() and np.isfinite(e.nuisance_covariance).all()]
    kinds = np.concatenate([e.nuisance_kind for e in estimates]) if estimates else np.zeros(0, int)
    count = np.bincount(kinds, minlength=KINDS)
    enough = count >= MIN_FITS
    variance = np.where(enough, 0.5, 1.0)
    for _ in range(EM_ITERATIONS if enough.any() else 0):
        square, extra = np.zeros(KINDS), _extra(variance)
        for e in estimates:
            expected, current = _expected_squares(e, extra), variance[e.nuisance_kind]
            np.add.at(square, e.nuisance_kind, np.where(expected < OUTLIER_SIGMA**2 * current, expected, current))
        variance = np.where(enough, np.minimum(square / np.maximum(count, 1), 1.0), 1.0)
    widened = np.where(np.arange(KINDS) < LOG_A_KIND, WIDENED, 1.0)
    return NuisancePrior(np.minimum(widened * variance, 1.0))


def _extra(variance: np.ndarray) -> np.ndarray:
    """Variance of a pseudo-measurement of value 0 that narrows a prior of variance 1 to `variance`; infinite for 1."""
    return np.divide(variance, 1 - variance, where=variance < 1, out=np.full(variance.shape, np.inf))


def _expected_squares(estimate: DepthEstimate, extra: np.ndarray) -> np.ndarray:
    """E[x²] of each nuisance parameter of a fit, (parameter,), under the prior given by pseudo-measurements of variance extra (kind,)."""
    mean, covariance = estimate.nuisance, estimate.nuisance_covariance
    known = np.isfinite(extra[estimate.nuisance_kind])
    total = covariance[np.ix_(known, known)] + np.diag(extra[estimate.nuisance_kind][known])
    gain = np.linalg.solve(total, covariance[known]).T
    return (mean - gain @ mean[known]) ** 2 + np.diag(covariance) - np.sum(gain * covariance[:, known], axis=1)
