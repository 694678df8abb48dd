"""Multiplicative bias of the depths common to all planets of a data set, fitted to labelled planets.

Depths can be biased by the same fraction at a wavelength for all planets: dilution by a companion or residual background,
an error of flat field or linearity, limb darkening tables in error for all stars. With the labels y of a training set

    depth = (1 + r(λ)) y + noise,    r ~ N(0, τ² K),    K = 1 1ᵀ + Matérn-3/2 in wavelength

r has a Gaussian posterior in closed form (generalised least squares with each fit's full covariance; a model discrepancy
in the sense of Kennedy & O'Hagan 2001, J. R. Stat. Soc. B 63, 425). τ maximises the evidence (MacKay 1992, Neural Comput. 4,
415); r is zero where the evidence does not clearly favour a bias.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ariel_lib.io.storage import Stored
from ariel_lib.priors.gaussian import gaussian_process
from ariel_lib.transit.result import NOT_KNOWN, CorrectionKind, DepthEstimate, Flag

SIZES = np.geomspace(3e-4, 0.1, 11)  # trial values of τ
CLEAR = 10.0  # log evidence ratio to r = 0 above which a bias is accepted
# Fits with one of these flags are left out.
EXCLUDED_FLAGS = {Flag.NO_TRANSIT, Flag.PARTIAL_TRANSIT, Flag.GRAZING, Flag.NOT_CONVERGED, Flag.EXCESS_NOISE}


@dataclass(frozen=True)
class MultiplicativeBias(Stored):
    """Gaussian posterior of the relative bias r of the depths: mean (wavelength,), covariance (wavelength, wavelength)."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def none(cls, n_wavelengths: int) -> "MultiplicativeBias":
        """No bias: conditioning on it changes no value of an estimate."""
        return cls(np.zeros(n_wavelengths), np.zeros((n_wavelengths, n_wavelengths)))

    def condition(self, estimate: DepthEstimate) -> DepthEstimate:
        """The estimate with its depths divided by 1 + r and the uncertainty of r added to their covariance.

        Raises SpectraMindError for an estimate that was corrected already.
        """
        if not self.mean.any():
            return estimate.corrected(CorrectionKind.MULTIPLICATIVE_BIAS)
        factor = 1 / (1 + self.mean)
        depth = estimate.depth * factor
        covariance = (estimate.covariance + np.outer(depth, depth) * self.covariance) * np.outer(factor, factor)
        return estimate.corrected(
            CorrectionKind.MULTIPLICATIVE_BIAS, depth=depth, covariance=covariance,
            sigma_uncorrelated=estimate.sigma_uncorrelated * factor,
            physical_covariance=NOT_KNOWN, physical_coupling=NOT_KNOWN,
        )  # fmt: skip


@dataclass(frozen=True)
class BiasInformation:
    """What labelled planets tell about r: precision (wavelength, wavelength) and right-hand side (wavelength,) of its normal equations.

    That of several groups of planets is the sum of theirs.
    """

    precision: np.ndarray
    right: np.ndarray

    def posterior(self, wavelength: np.ndarray) -> MultiplicativeBias:
        """Posterior of r at the τ of the largest evidence; zero if the evidence is not clear."""
        kernel = gaussian_process(wavelength)
        kernel[0, 0] = 1.0
        root = np.linalg.cholesky(1 + kernel)  # r = τ root x, x ~ N(0, 1)
        values, modes = np.linalg.eigh(root.T @ (0.5 * (self.precision + self.precision.T)) @ root)
        values, along = np.maximum(values, 0.0), modes.T @ (root.T @ self.right)
        evidence = [0.5 * np.sum(s**2 * along**2 / (1 + s**2 * values) - np.log1p(s**2 * values)) for s in SIZES]
        if max(evidence) < CLEAR:
            return MultiplicativeBias.none(len(wavelength))
        variance = 1 / (SIZES[int(np.argmax(evidence))] ** -2 + values)
        back = root @ modes
        return MultiplicativeBias(back @ (variance * along), (back * variance) @ back.T)


def fit_multiplicative_bias(estimates: Sequence[DepthEstimate], truth: np.ndarray, wavelength: np.ndarray) -> MultiplicativeBias:
    """Posterior of the relative bias from transit fits of labelled planets; zero if the evidence is not clear.

    truth       (planet, wavelength)  labels, (Rp/Rs)², in the order of estimates
    wavelength  (wavelength,)         micron, FGS1 first

    Raises SpectraMindError for estimates that were corrected for a multiplicative bias already.
    """
    return bias_information(estimates, truth, len(wavelength)).posterior(wavelength)


def bias_information(estimates: Sequence[DepthEstimate], truth: np.ndarray, n_wavelengths: int) -> BiasInformation:
    """Information of transit fits and labels (planet, wavelength) about the bias; arguments and errors as of fit_multiplicative_bias."""
    precision, right = np.zeros((n_wavelengths, n_wavelengths)), np.zeros(n_wavelengths)
    for estimate, label in zip(estimates, truth):
        estimate.require_before(CorrectionKind.MULTIPLICATIVE_BIAS)
        if EXCLUDED_FLAGS & set(estimate.flags) or not np.isfinite(estimate.covariance).all():
            continue
        weighted = np.linalg.solve(estimate.covariance, np.column_stack([np.diag(label), estimate.depth - label]))
        precision += label[:, None] * weighted[:, :n_wavelengths]
        right += label * weighted[:, n_wavelengths]
    return BiasInformation(precision, right)


def sum_information(groups: Iterable[BiasInformation]) -> BiasInformation:
    """The information of groups of planets, at least one, taken together."""
    precision, right = zip(*((group.precision, group.right) for group in groups))
    return BiasInformation(sum(precision), sum(right))
