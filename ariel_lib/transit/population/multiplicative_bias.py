"""What an instrument, or its calibration, makes of every planet's depth alike: learned from labelled planets, taken out of new ones.

Fits of one data set can be off by the same share at a wavelength for all planets: light of a companion or a background left in
the aperture, a wrong flat or linearity, limb darkening tables that err for all stars. With the labels y of a training set

    depth = (1 + r(λ)) y + noise,    r ~ N(0, τ² K),    K = 1 1ᵀ + Matérn-3/2 in wavelength

r has a Gaussian posterior in closed form (generalised least squares with every fit's full covariance; Kennedy & O'Hagan 2001,
J. R. Stat. Soc. B 63, 425, call it a model discrepancy), its size τ the largest evidence (MacKay 1992). Without clear evidence r
is zero and nothing changes. Knows arrays and estimates only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ariel_lib.priors.gaussian import Stored, gaussian_process
from ariel_lib.transit.result import NOT_KNOWN, DepthEstimate, Flag

SIZES = np.geomspace(3e-4, 0.1, 11)  # τ
CLEAR = 10.0  # log evidence over r = 0 that it takes
EXCLUDED_FLAGS = {Flag.NO_TRANSIT, Flag.PARTIAL_TRANSIT, Flag.GRAZING, Flag.NOT_CONVERGED, Flag.EXCESS_NOISE}  # fits that teach nothing


@dataclass(frozen=True)
class MultiplicativeBias(Stored):
    """mean (wavelength,) of r and its covariance (wavelength, wavelength)."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def none(cls, n_wavelengths: int) -> "MultiplicativeBias":
        return cls(np.zeros(n_wavelengths), np.zeros((n_wavelengths, n_wavelengths)))

    def condition(self, estimate: DepthEstimate) -> DepthEstimate:
        """The estimate as it would be without the response, whose uncertainty it takes on."""
        if not self.mean.any():
            return estimate
        factor = 1 / (1 + self.mean)
        depth = estimate.depth * factor
        covariance = (estimate.covariance + np.outer(depth, depth) * self.covariance) * np.outer(factor, factor)
        return replace(
            estimate, depth=depth, covariance=covariance, sigma_uncorrelated=estimate.sigma_uncorrelated * factor,
            physical_covariance=NOT_KNOWN, physical_coupling=NOT_KNOWN,
        )  # fmt: skip


def fit_multiplicative_bias(estimates: Sequence[DepthEstimate], truth: np.ndarray, wavelength: np.ndarray) -> MultiplicativeBias:
    """The response that the fits of labelled planets show: truth (planet, wavelength), wavelength micron, FGS1 first."""
    n = len(wavelength)
    precision, pull = np.zeros((n, n)), np.zeros(n)
    for estimate, label in zip(estimates, truth):
        if EXCLUDED_FLAGS & set(estimate.flags) or not np.isfinite(estimate.covariance).all():
            continue
        weighted = np.linalg.solve(estimate.covariance, np.column_stack([np.diag(label), estimate.depth - label]))
        precision += label[:, None] * weighted[:, :n]
        pull += label * weighted[:, n]
    kernel = gaussian_process(wavelength)
    kernel[0, 0] = 1.0
    root = np.linalg.cholesky(1 + kernel)  # r = τ root x, x ~ N(0, 1)
    values, modes = np.linalg.eigh(root.T @ (0.5 * (precision + precision.T)) @ root)
    values, along = np.maximum(values, 0.0), modes.T @ (root.T @ pull)
    evidence = [0.5 * np.sum(s**2 * along**2 / (1 + s**2 * values) - np.log1p(s**2 * values)) for s in SIZES]
    if max(evidence) < CLEAR:
        return MultiplicativeBias.none(n)
    variance = 1 / (SIZES[int(np.argmax(evidence))] ** -2 + values)
    back = root @ modes
    return MultiplicativeBias(back @ (variance * along), (back * variance) @ back.T)
