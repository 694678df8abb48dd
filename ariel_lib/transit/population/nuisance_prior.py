"""Empirical-Bayes prior on the nuisance parameters (drift, orbit) of transit fits, and depths conditioned on it.

A single fit has a weak prior on drift and a loose one on the orbit; a curved baseline is then degenerate with the transit. From
the fits of many planets the drifts of a visit, of both instruments together, get a Gaussian prior with the full covariance of
the population, and the orbit one variance a parameter (Efron & Morris 1973, J. Am. Stat. Assoc. 68, 117). The linear–Gaussian fit
is conditioned on it in closed form. A visit whose drift is unusual has that covariance times one of SCALES, weighted by their
evidence, which makes the prior heavy-tailed (a scale mixture of Gaussians: Andrews & Mallows 1974, J. R. Stat. Soc. B 36, 99).
The population of earlier visits is updated by new ones: it counts as some visits that have its covariance, so that a drift of another
kind is learned from the new visits, and what they do not constrain is kept.
No labels are used. Limb darkening keeps the fit's prior: errors of the tables are common to all stars, not a scatter.

Units: deviation from the mean of the fit's prior, over that prior's standard deviation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from ariel_lib.priors.predictive_check import RATE
from ariel_lib.transit.result import KINDS, LOG_A_KIND, NOT_KNOWN, CorrectionKind, DepthEstimate, Flag
from ariel_lib.transit.segments import DRIFT_ORDERS, TREND_ORDER

MIN_FITS = 20  # with fewer visits the prior of the fits is kept
MOST_VISITS = 400  # from more, as many evenly spaced ones are used: they determine the covariance well enough
EM_ITERATIONS = 100
SCALED_EVERY = 10  # iterations between those that choose each visit's scale anew
START = 0.5  # first covariance over that of the fit's prior: below it, so that what is small is found in few iterations
SCALES = np.array([1.0, 5.0, 25.0, 1e3, 1e6])  # trial factors of the drifts' covariance
DAMAGED = 1e3  # a visit that calls for this factor or more teaches nothing
SCALE_WEIGHTS = np.array([0.88, 0.06, 0.04, 0.01, 0.01])
# A drift is flagged where the population's own covariance has less posterior weight than this: that of the wider ones has then 1 / RATE
# times its evidence, which at most the share RATE of the population's own visits have (see priors.predictive_check).
UNUSUAL = 1 / (1 + (1 / SCALE_WEIGHTS[0] - 1) / RATE)
UNRELATED = 50  # weight, in visits, of the assumption that the drift coefficients are independent
KNOWN = 20  # weight, in visits, of the population of earlier visits
UNCONSTRAINED = 0.999  # variance of a fit's posterior, over that of its prior, above which the data are taken to say nothing
FUNCTION = np.concatenate([np.arange(TREND_ORDER), np.repeat(np.arange(TREND_ORDER), DRIFT_ORDERS), [0, 0]])  # of each kind
OUTLIER_SIGMA = 4.0  # an orbit further from the catalogue's than this is an outlier and keeps the fit's prior


@dataclass(frozen=True)
class NuisancePrior:
    """Covariance (kind, kind) of the nuisance parameters of a visit in units of the fit's prior; the unit matrix keeps that prior."""

    covariance: np.ndarray

    @classmethod
    def unknown(cls) -> "NuisancePrior":
        """The prior of the fit itself: conditioning on it changes no value of an estimate."""
        return cls(np.eye(KINDS))

    @property
    def is_unknown(self) -> bool:
        """Whether it is the prior of the fit itself."""
        return np.array_equal(self.covariance, np.eye(KINDS))

    def condition(self, estimate: DepthEstimate) -> DepthEstimate:
        """Depths and covariance with the nuisance parameters drawn from this population.

        Raises SpectraMindError for an estimate that is conditioned already.
        """
        if self.is_unknown or not len(estimate.nuisance):
            return estimate.corrected(CorrectionKind.NUISANCE_PRIOR)
        kind, visit = estimate.nuisance_kind, nuisance_visits(estimate)
        prior, orbit = self.covariance[np.ix_(kind, kind)] * (visit[:, None] == visit), kind >= LOG_A_KIND
        outlier = orbit & (estimate.nuisance**2 > OUTLIER_SIGMA**2 * np.diag(estimate.nuisance_covariance + prior))
        prior[outlier, outlier] = 1.0
        likelihood = _likelihood(estimate.nuisance, estimate.nuisance_covariance)
        log_evidence, mean, covariance = (found[0] for found in _posterior(*(array[None] for array in likelihood), prior, orbit, SCALES))
        weights = softmax(log_evidence + np.log(SCALE_WEIGHTS))
        gain = np.linalg.solve(estimate.nuisance_covariance, estimate.nuisance_coupling.T).T  # (wavelength, parameter)
        expected = weights @ mean
        spread = np.tensordot(weights, covariance + (mean - expected)[:, :, None] * (mean - expected)[:, None], 1)
        total = estimate.covariance + gain @ (spread - estimate.nuisance_covariance) @ gain.T
        flags = estimate.flags if weights[0] > UNUSUAL else (*estimate.flags, Flag.UNUSUAL_DRIFT)
        return estimate.corrected(
            CorrectionKind.NUISANCE_PRIOR, flags=flags, depth=estimate.depth + gain @ (expected - estimate.nuisance),
            covariance=0.5 * (total + total.T), physical_covariance=NOT_KNOWN, physical_coupling=NOT_KNOWN,
        )  # fmt: skip


def nuisance_visits(estimate: DepthEstimate) -> np.ndarray:
    """Visit of each nuisance parameter, (parameter,); -1 for the orbit. A segment begins with the first kind of its instrument."""
    kind = estimate.nuisance_kind
    segment = np.cumsum((kind == 0) | (kind == TREND_ORDER)) - 1
    return np.where(kind >= LOG_A_KIND, -1, np.array([*(curve.visit for curve in estimate.white), -1])[segment])


def fit_nuisance_prior(
    estimates: Sequence[DepthEstimate], functions: int = TREND_ORDER, *, known: NuisancePrior | None = None
) -> NuisancePrior:
    """Covariance of the nuisance parameters of a visit, by expectation maximisation over all fits (Dempster, Laird & Rubin 1977).

    functions  of time that a drift may have, the first ones; 3 makes it a cubic
    known      population of earlier visits, towards which that of these is drawn; it is returned where these are fewer than MIN_FITS

    Fits that are not finite are left out. Raises SpectraMindError for estimates that are conditioned already.
    """
    for estimate in estimates:
        estimate.require_before(CorrectionKind.NUISANCE_PRIOR)
    finite = [e for e in estimates if np.isfinite(e.nuisance).all() and np.isfinite(e.nuisance_covariance).all()]
    visits = [visit for estimate in finite for visit in _visit_likelihoods(estimate)]
    known = known or NuisancePrior.unknown()
    if len(visits) < MIN_FITS:
        return known
    chosen = np.unique(np.linspace(0, len(visits) - 1, MOST_VISITS).astype(int))
    precision, right = (np.stack(column) for column in zip(*(visits[n] for n in chosen)))
    orbit = np.arange(KINDS) >= LOG_A_KIND
    share = 1.0 if known.is_unknown else len(chosen) / (len(chosen) + KNOWN)
    related = np.where(orbit[:, None] | orbit, 0.0, len(chosen) / (len(chosen) + UNRELATED))
    np.fill_diagonal(related, 1.0)
    related *= np.outer(functions > FUNCTION, functions > FUNCTION)
    prior = START * np.eye(KINDS)  # also with a known population: from there, visits that all differ from it are a population of their own
    for iteration in range(EM_ITERATIONS):
        if iteration % SCALED_EVERY == 0:
            log_evidence, _, _ = _posterior(precision, right, prior, orbit, SCALES)
            scales = SCALES[np.argmax(log_evidence + np.log(SCALE_WEIGHTS), axis=1)]
        found = related * _expected_squares(precision, right, prior, orbit, scales).mean(axis=0)
        prior = share * found + (1 - share) * known.covariance
    return NuisancePrior(prior)


def _expected_squares(
    precision: np.ndarray, right: np.ndarray, prior: np.ndarray, orbit: np.ndarray, scales: np.ndarray
) -> np.ndarray:
    """E[x xᵀ] of the parameters of each visit, (visit, kind, kind), drifts divided by their scale (visit,).

    Damaged visits and outlying orbits teach nothing.
    """
    _, mean, covariance = _posterior(precision, right, prior, orbit, scales[:, None])
    expected = covariance[:, 0] + mean[:, 0, :, None] * mean[:, 0, None, :]
    expected /= np.where(orbit[:, None] | orbit, 1.0, scales[:, None, None])
    expected[scales >= DAMAGED] = prior
    for kind in np.flatnonzero(orbit):
        wild = expected[:, kind, kind] > OUTLIER_SIGMA**2 * prior[kind, kind]
        expected[wild, kind, kind] = prior[kind, kind]
    return expected


def _likelihood(mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision (parameter, parameter) and right-hand side (parameter,) of the likelihood: a fit's posterior without its unit prior.

    Directions in which the posterior is hardly narrower than the prior (UNCONSTRAINED) are left out.
    """
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[values < UNCONSTRAINED], vectors[:, values < UNCONSTRAINED]
    return (vectors * (1 / values - 1)) @ vectors.T, (vectors / values) @ (vectors.T @ mean)


def _visit_likelihoods(estimate: DepthEstimate) -> list[tuple[np.ndarray, np.ndarray]]:
    """_likelihood of each visit of a fit over all kinds; kinds that it does not have are not constrained."""
    kind, visit = estimate.nuisance_kind, nuisance_visits(estimate)
    found = []
    for n, number in enumerate(np.unique(visit[visit >= 0])):
        part = (visit == number) | ((visit < 0) & (n == 0))
        precision, right = np.zeros((KINDS, KINDS)), np.zeros(KINDS)
        here = kind[part]
        precision[np.ix_(here, here)], right[here] = _likelihood(estimate.nuisance[part], estimate.nuisance_covariance[np.ix_(part, part)])
        found.append((precision, right))
    return found


def _posterior(
    precision: np.ndarray, right: np.ndarray, prior: np.ndarray, orbit: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posteriors of parameters under a prior covariance (parameter, parameter) whose drift part is multiplied by each of the scales.

    precision, right  (visit, parameter, parameter), (visit, parameter)  likelihoods
    orbit             (parameter,)                                       True for parameters of the orbit
    scales            (scale,), or (visit, scale) for scales of each visit

    Returns log evidences (visit, scale), means (visit, scale, parameter) and covariances (visit, scale, parameter, parameter).
    """
    values, vectors = np.linalg.eigh(prior)
    root = np.where(orbit[:, None], 1.0, np.sqrt(scales)[..., None, None]) * vectors * np.sqrt(np.maximum(values, 0.0))
    across = root.swapaxes(-1, -2)  # the prior of a scale is root @ across
    factor = np.linalg.cholesky(np.eye(len(prior)) + across @ precision[:, None] @ root)
    half = np.linalg.solve(factor, np.broadcast_to(across, factor.shape))
    covariance = half.swapaxes(-1, -2) @ half
    mean = (covariance @ right[:, None, :, None])[..., 0]
    log_evidence = 0.5 * (right[:, None] * mean).sum(axis=-1) - np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
    return log_evidence, mean, covariance
