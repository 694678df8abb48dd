"""Spectral library: a kernel density of the training spectra as a prior, and its posterior given measured depths.

A spectrum is  y = μ·1 + A·(s_j + h·x),  x ~ N(0, C): the shape s_j of one label, an amplitude A, and a deviation of covariance
h²C for one of several widths h (kernel density: Parzen 1962, Ann. Math. Statist. 33, 1065). C is the covariance of a label's
residual from its nearest neighbours. Where the scale height is known, A is scaled by it. With Gaussian noise each (j, A, h) is
Gaussian, so the posterior is a mixture. Unlike priors.gaussian it can represent spectra on curved or clustered manifolds.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import eigh

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.storage import Stored
from ariel_lib.priors.gaussian import GP_STRENGTH, gaussian_process, normalise

NEIGHBOURS = 3  # nearest neighbours of a label whose mean predicts it when C is estimated
WIDTHS = (0.5, 1.0, 2.0, 4.0, 8.0)  # h, with equal prior weight: five-fold cross-validation over 710 simulated planets, see below
N_AMPLITUDES = 17
AMPLITUDE_RANGE = 4.0  # standard deviations of ln(amplitude) that the grid spans on either side
BACKGROUND = 0.05  # weight of a broad component (twice the width) in the prior of ln(amplitude), against errors of the catalogue
DRAWN = 800  # components, of some ten thousand, sampled for the spread of the mixture
MAX_RESIDUAL = 2.0  # in units of the median residual; larger ones are scaled down so that isolated labels do not dominate C

# WIDTHS: score of the library posterior minus that of the Gaussian posterior, simulated light curves of the 2025 labels, five folds:
# (0.5 … 8) +0.0020, (0.5 … 4) with a tenth of the Gaussian prior +0.0024, (1 … 4) likewise +0.0020, each ± 0.0006.


@dataclass(frozen=True)
class LibraryPosterior:
    """The library combined with one planet's noise covariance Σ, in the eigenmodes W of C against Σ' = Σ + σ_μ² 11ᵀ.

    offset       mean white depth; amplitudes (amplitude,) in (Rp/Rs)²
    w, sigma_w   (wavelength, mode)              W with Wᵀ Σ' W = 1, and Σ W
    shapes       (label, mode)                   s W
    damping      (amplitude, width, mode)        1 / (1 + A² h² λ)
    log_weights  (label, amplitude, width)       of the components, the terms with measured depths left out
    variance     (amplitude, width, wavelength)  of each component
    """

    offset: float
    amplitudes: np.ndarray
    w: np.ndarray
    sigma_w: np.ndarray
    shapes: np.ndarray
    damping: np.ndarray
    log_weights: np.ndarray
    variance: np.ndarray

    def moments(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Posterior mean and standard deviation (draw, wavelength) and amplitude weights (draw, amplitude).

        depth (draw, wavelength): measured depths. The standard deviation is computed from DRAWN components of the mixture.
        """
        columns = zip(*(self._moments(row) for row in depth))
        return tuple(np.array(column) for column in columns)

    def _moments(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        projected = (depth - self.offset) @ self.w  # (mode,)
        damped = self.damping * projected
        log_weights = self.log_weights - 0.5 * damped @ projected
        log_weights += self.amplitudes[:, None] * np.tensordot(self.shapes, damped, ([1], [2]))
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        # E[y | d, component] = d − Σ W damping (projected − A s) is linear in s: the mean over labels is taken first.
        by_width = weights.sum(axis=0)
        expected = np.tensordot(weights, self.shapes, ([0], [0])) * self.amplitudes[:, None, None]
        mean = depth - self.sigma_w @ np.sum(by_width[..., None] * damped - expected * self.damping, axis=(0, 1))
        label, amplitude, width = np.unravel_index(_systematic(weights.ravel(), DRAWN), weights.shape)
        residual = projected - self.amplitudes[amplitude, None] * self.shapes[label]
        spread = depth - (residual * self.damping[amplitude, width]) @ self.sigma_w.T - mean
        variance = np.tensordot(by_width, self.variance, 2) + np.mean(spread**2, axis=0)
        return mean, np.sqrt(variance), by_width.sum(axis=1)


@dataclass(frozen=True)
class SpectralLibrary(Stored):
    """Normalised training spectra and the kernel of their density.

    offset         (2,)                      mean and standard deviation of the white depth μ, (Rp/Rs)²
    shapes         (label, wavelength)       s
    covariance     (wavelength, wavelength)  C
    log_amplitude  (label,)                  ln A, A in (Rp/Rs)²
    log_scale      (label,)                  ln of the depth that one scale height adds, NaN where unknown
    """

    offset: np.ndarray
    shapes: np.ndarray
    covariance: np.ndarray
    log_amplitude: np.ndarray
    log_scale: np.ndarray

    @classmethod
    def fit(cls, depth: np.ndarray, wavelength: np.ndarray, scale: np.ndarray | None = None) -> Self:
        """fit_spectral_library."""
        return fit_spectral_library(depth, wavelength, scale)

    def conditioned_on(self, noise: np.ndarray, scale: float = np.nan) -> LibraryPosterior:
        """Combine the library with the noise covariance (wavelength, wavelength) of a planet's measured depths.

        scale: depth that one scale height of the planet adds, NaN where unknown.
        """
        amplitudes, prior = self.amplitudes(scale)
        values, w = eigh(self.covariance, noise + self.offset[1] ** 2)
        widths, squared = np.array(WIDTHS), amplitudes**2
        damping = 1 / (1 + squared[:, None, None] * (widths**2)[:, None] * np.maximum(values, 0.0))
        shapes, sigma_w = self.shapes @ w, noise @ w
        misfit = squared[:, None] * np.tensordot(shapes**2, damping, ([1], [2]))
        log_weights = np.log(prior)[:, None] + 0.5 * np.log(damping).sum(axis=-1) - 0.5 * misfit
        variance = np.diag(noise) - damping @ (sigma_w**2).T
        return LibraryPosterior(float(self.offset[0]), amplitudes, w, sigma_w, shapes, damping, log_weights, variance)

    def amplitudes(self, scale: float = np.nan) -> tuple[np.ndarray, np.ndarray]:
        """Grid of amplitudes in (Rp/Rs)² and prior weights, (amplitude,), of a planet whose scale height adds the depth scale.

        Without scale heights (NaN) of the planet or of the labels, the prior is the distribution of the labels' amplitudes.
        """
        known = np.isfinite(self.log_scale)
        if np.isfinite(scale) and known.sum() > 1:
            grid, weights = _density(self.log_amplitude[known] - self.log_scale[known])
            return scale * np.exp(grid), weights
        grid, weights = _density(self.log_amplitude)
        return np.exp(grid), weights


def fit_spectral_library(depth: np.ndarray, wavelength: np.ndarray, scale: np.ndarray | None = None) -> SpectralLibrary:
    """Build the library from labels depth (planet, wavelength), at least two planets; wavelength micron, FGS1 first.

    scale  (planet,)  depth that one scale height of each adds, NaN where unknown; None: unknown for all

    Raises SpectraMindError for fewer than two planets.
    """
    if len(depth) < 2:
        raise SpectraMindError(f"spectral library: expected labels of at least 2 planets, found {len(depth)}")
    offset, amplitude, shapes = normalise(depth)
    residual = _neighbour_residuals(shapes)
    process = gaussian_process(wavelength) * np.mean(residual[:, 1:] ** 2)
    process[0, 0] = np.mean(residual[:, 0] ** 2)
    covariance = (residual.T @ residual + GP_STRENGTH * process) / (len(residual) + GP_STRENGTH)
    log_scale = np.full(len(depth), np.nan) if scale is None else np.log(scale)
    return SpectralLibrary(offset, shapes, covariance, np.log(amplitude), log_scale)


def _density(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel density of values (label,) on a grid: points and weights, (amplitude,). Bandwidth: Silverman (1986, eq. 3.31).

    A broad Gaussian of weight BACKGROUND is added.
    """
    spread = max(values.std(ddof=1), 1e-3)
    quartiles = np.subtract(*np.quantile(values, (0.75, 0.25))) / 1.34
    width = 0.9 * max(min(spread, quartiles), 0.1 * spread) * len(values) ** -0.2
    grid = values.mean() + spread * np.linspace(-AMPLITUDE_RANGE, AMPLITUDE_RANGE, N_AMPLITUDES)
    weights = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2).sum(axis=1)
    background = np.exp(-0.5 * ((grid - values.mean()) / (2 * spread)) ** 2)
    return grid, (1 - BACKGROUND) * weights / weights.sum() + BACKGROUND * background / background.sum()


def _neighbour_residuals(shapes: np.ndarray) -> np.ndarray:
    """Each shape minus the mean of its nearest neighbours, (label, wavelength), corrected for the scatter of that mean."""
    airs = shapes[:, 1:]
    power = np.sum(airs**2, axis=1)
    distance = power[:, None] + power - 2 * airs @ airs.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, : min(NEIGHBOURS, len(shapes) - 1)]
    residual = (shapes - shapes[nearest].mean(axis=1)) / np.sqrt(1 + 1 / nearest.shape[1])
    size = np.maximum(residual[:, 1:].std(axis=1), 1e-12)
    return residual * np.minimum(1.0, MAX_RESIDUAL * np.median(size) / size)[:, None]


def _systematic(weights: np.ndarray, count: int) -> np.ndarray:
    """Systematic resampling (Kitagawa 1996): indices of count draws from weights that sum to one."""
    places = np.searchsorted(np.cumsum(weights), (np.arange(count) + 0.5) / count)
    return np.minimum(places, len(weights) - 1)


PRIOR = SpectralLibrary
