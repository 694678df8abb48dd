"""Gaussian prior on spectra with a free amplitude, fitted to training labels, and its posterior given measured depths.

A spectrum is  y = μ·1 + A·(m + x),  x ~ N(0, C): a white depth μ, an amplitude A specific to the planet, a mean shape m and a
shape covariance C. C is the sample covariance of the labels' normalised shapes, shrunk towards a Gaussian process in
wavelength. A is marginalised over a grid (a Gaussian scale mixture), so that the posterior is in closed form.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import eigh
from scipy.special import logsumexp, softmax

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.storage import Stored

N_AMPLITUDES = 9
GP_STRENGTH = 30.0  # weight of the Gaussian process in C, in planets
GP_LENGTH = 0.17  # micron: Matérn-3/2 through the autocorrelation of the 2025 labels' shapes (0.81 at 0.07, 0.58 at 0.14 micron)
FGS1_VARIANCE = 10.0  # square of the FGS1 offset from AIRS over the AIRS spread: 3.3 in the 2025 labels (half the 5–95 % range / 1.64)
AMPLITUDE_RANGE = 2.3  # standard deviations of ln(amplitude) that the grid spans on either side


@dataclass(frozen=True)
class Posterior:
    """Posterior of a spectrum: mean (wavelength,), covariance (wavelength, wavelength), weights (amplitude,) of the amplitude grid."""

    mean: np.ndarray
    covariance: np.ndarray
    amplitude_weights: np.ndarray

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviation, (wavelength,)."""
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True)
class Conditional:
    """The Gaussian prior combined with one planet's noise covariance Σ, prepared for many realisations of its depths d.

    With Σ' = Σ + σ_μ² 11ᵀ the generalised eigenproblem C v = λ Σ' v diagonalises every amplitude:
    (Σ' + A² C)⁻¹ = W (1 + A² λ)⁻¹ Wᵀ, Wᵀ Σ' W = 1. Then E[y | d] = d − Σ (Σ' + A² C)⁻¹ (d − E[d]).

    noise        (wavelength, wavelength)  Σ
    w, sigma_w   (wavelength, mode)        W, Σ W
    damping      (amplitude, mode)         1 / (1 + A² λ)
    expected     (amplitude, wavelength)   E[d]
    log_weights  (amplitude,)              log prior weights and normalisation, without the misfit of d
    amplitudes   (amplitude,)              A, (Rp/Rs)²
    """

    noise: np.ndarray
    w: np.ndarray
    sigma_w: np.ndarray
    damping: np.ndarray
    expected: np.ndarray
    log_weights: np.ndarray
    amplitudes: np.ndarray

    def moments(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Posterior mean and standard deviation (draw, wavelength) and amplitude weights (draw, amplitude).

        depth (draw, wavelength): measured depths.
        """
        projected, log_weights = self._project(depth)
        weights = softmax(log_weights, axis=1)
        means = depth[:, None] - (projected * self.damping) @ self.sigma_w.T
        mean = np.einsum("da,daw->dw", weights, means)
        variance = np.diag(self.noise) - self.damping @ (self.sigma_w**2).T  # (amplitude, wavelength)
        mixed = weights @ variance + np.einsum("da,daw->dw", weights, (means - mean[:, None]) ** 2)
        return mean, np.sqrt(mixed), weights

    def log_evidence(self, depth: np.ndarray) -> np.ndarray:
        """Logarithm of the evidence (draw,) of measured depths (draw, wavelength), the amplitude marginalised.

        Up to a constant that is the same for all priors with this offset.
        """
        return logsumexp(self._project(depth)[1], axis=1)

    def _project(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Depths less the expected ones in the modes (draw, amplitude, mode), and log evidence of each amplitude (draw, amplitude)."""
        projected = (depth[:, None] - self.expected) @ self.w
        return projected, self.log_weights - 0.5 * np.sum(projected**2 * self.damping, axis=-1)

    def posterior(self, depth: np.ndarray) -> Posterior:
        """Posterior, with full covariance, of measured depths (wavelength,); the amplitude is marginalised."""
        projected = (depth - self.expected) @ self.w
        mean, _, weights = (x[0] for x in self.moments(depth[None]))
        spread = depth - (projected * self.damping) @ self.sigma_w.T - mean
        damped = self.sigma_w * (weights @ self.damping)
        covariance = self.noise - damped @ self.sigma_w.T + (weights[:, None] * spread).T @ spread
        return Posterior(mean, 0.5 * (covariance + covariance.T), weights)


@dataclass(frozen=True)
class SpectralPrior(Stored):
    """Parameters of the Gaussian prior on spectra, y = μ·1 + A·(m + x), x ~ N(0, C).

    offset               (2,)                      mean and standard deviation of μ, (Rp/Rs)²
    shape                (wavelength,)             m
    covariance           (wavelength, wavelength)  C
    amplitudes, weights  (amplitude,)              grid of A in (Rp/Rs)² and its prior weights
    """

    offset: np.ndarray
    shape: np.ndarray
    covariance: np.ndarray
    amplitudes: np.ndarray
    weights: np.ndarray

    @classmethod
    def fit(cls, depth: np.ndarray, wavelength: np.ndarray, scale: np.ndarray | None = None) -> Self:
        """fit_prior; the amplitudes are not conditioned on scale heights."""
        return fit_prior(depth, wavelength)

    def conditioned_on(self, noise: np.ndarray, scale: float = np.nan) -> Conditional:
        """Combine the prior with the noise covariance (wavelength, wavelength) of measured depths; scale is not used."""
        values, w = eigh(self.covariance, noise + self.offset[1] ** 2)
        damping = 1 / (1 + self.amplitudes[:, None] ** 2 * np.maximum(values, 0.0))
        log_weights = np.log(self.weights) + 0.5 * np.log(damping).sum(axis=1)
        expected = self.offset[0] + self.amplitudes[:, None] * self.shape
        return Conditional(noise, w, noise @ w, damping, expected, log_weights, self.amplitudes)

    def posterior(self, depth: np.ndarray, noise: np.ndarray) -> Posterior:
        """Posterior of measured depths (wavelength,) with covariance noise (wavelength, wavelength)."""
        return self.conditioned_on(noise).posterior(depth)


def fit_prior(depth: np.ndarray, wavelength: np.ndarray) -> SpectralPrior:
    """Fit the Gaussian prior to labels depth (planet, wavelength), at least two planets; wavelength micron, FGS1 first.

    Raises SpectraMindError for fewer than two planets.
    """
    if len(depth) < 2:
        raise SpectraMindError(f"spectral prior: expected labels of at least 2 planets, found {len(depth)}")
    offset, amplitude, shapes = normalise(depth)
    mean = shapes.mean(axis=0)
    centred = shapes - mean
    n = len(depth)
    process = gaussian_process(wavelength) * np.mean(centred[:, 1:] ** 2)
    covariance = (centred.T @ centred + GP_STRENGTH * process) / (n + GP_STRENGTH)
    return SpectralPrior(offset, mean, covariance, *amplitude_grid(amplitude, N_AMPLITUDES))


def normalise(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split labels (planet, wavelength) into white depth, amplitude and normalised shape.

    Returns mean and standard deviation of the white AIRS depth (2,), amplitudes (planet,): the standard deviation of a spectrum
    over AIRS, and shapes (planet, wavelength): the spectrum minus its white depth, over its amplitude.
    """
    white = depth[:, 1:].mean(axis=1, keepdims=True)
    deviation = depth - white
    amplitude = np.maximum(deviation[:, 1:].std(axis=1), 1e-7)  # at least 0.1 ppm, so that the shape of a flat label is defined
    shapes = deviation / amplitude[:, None]
    # FGS1 of a nearly flat planet would dominate the covariance: shapes are clipped at the 98 % quantile of their modulus.
    bound = np.quantile(np.abs(shapes), 0.98, axis=0)
    spread = max(white.std(), 0.1 * white.mean()) * np.sqrt(1 + 1 / len(depth))
    return np.array([white.mean(), spread]), amplitude, np.clip(shapes, -bound, bound)


def amplitude_grid(amplitude: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-normal fitted to amplitudes (planet,), on a grid of n points: amplitudes (n,) and weights (n,)."""
    grid, log_amplitude = np.linspace(-AMPLITUDE_RANGE, AMPLITUDE_RANGE, n), np.log(amplitude)
    weights = np.exp(-0.5 * grid**2)
    return np.exp(log_amplitude.mean() + grid * log_amplitude.std(ddof=1)), weights / weights.sum()


def gaussian_process(wavelength: np.ndarray) -> np.ndarray:
    """Matérn-3/2 covariance in wavelength (micron), unit variance (Rasmussen & Williams 2006, eq. 4.17), (wavelength, wavelength).

    Index 0 is FGS1, with variance FGS1_VARIANCE.
    """
    distance = np.sqrt(3) * np.abs(wavelength[:, None] - wavelength) / GP_LENGTH
    kernel = (1 + distance) * np.exp(-distance)
    kernel[0, 0] = FGS1_VARIANCE
    return kernel


PRIOR = SpectralPrior
