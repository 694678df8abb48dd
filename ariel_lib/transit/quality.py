"""Sanity checks on a transit fit: results that only damaged data can give, whatever their error bars.

The bounds lie far outside the values of real and simulated planets. Independent of files and of the network.
"""

import numpy as np

from ariel_lib.transit.result import DepthEstimate, Flag

DEEPEST = 0.25  # (Rp/Rs)²: half the star's radius; the deepest label of 2025 is well below
DETECTION = 5.0  # standard errors of the mean depth below which no transit was found
QUIETEST = 0.1  # white residual variance over propagated variance: photon noise cannot fall below Poisson


def is_detected(depth: np.ndarray, covariance: np.ndarray, sigma_uncorrelated: np.ndarray) -> bool:
    """Whether the mean depth of a spectrum is at least DETECTION standard errors; arguments as in DepthEstimate."""
    weight = sigma_uncorrelated**-2 / np.sum(sigma_uncorrelated**-2)
    return bool(weight @ depth >= DETECTION * np.sqrt(weight @ covariance @ weight))


def rejection_reason(estimate: DepthEstimate) -> str | None:
    """Reason to reject a transit fit, as a phrase for a message, or None if it passes every check."""
    if not all(np.isfinite(x).all() for x in (estimate.depth, estimate.covariance, estimate.sigma_uncorrelated)):
        return "depths or covariance of the transit fit are not finite"
    if not (estimate.sigma_uncorrelated > 0).all():
        return "a standard deviation of the transit fit is not positive"
    if not _is_positive_definite(estimate.covariance):
        return "the covariance of the transit fit is not positive definite"
    if Flag.NO_TRANSIT in estimate.flags:
        return "no transit was found, although every planet of the data set transits"
    if not (estimate.level > 0).any():
        return "no signal at any wavelength"
    depth = float(np.average(estimate.depth, weights=estimate.sigma_uncorrelated**-2))
    if not 0 < depth < DEEPEST:
        return f"the mean depth {depth:.3g} is outside (0, {DEEPEST})"
    quiet = [curve.instrument for curve in estimate.white if curve.chi2 < QUIETEST]
    if quiet:
        return f"the white residuals of {', '.join(sorted(set(quiet)))} are far below photon noise"
    return None


def _is_positive_definite(covariance: np.ndarray) -> bool:
    """Whether it has a Cholesky factor, which prediction and training need."""
    try:
        np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return False
    return True
