"""What V50 remembers: the shape of every training spectrum, and what a planet's depths say about which it resembles.

A spectrum is  y = μ·1 + A·(s_j + h·x),  x ~ N(0, C): the shape s_j of one of the labels, an amplitude A, and a departure of
covariance h²C for one of several widths h: a kernel density estimate (Parzen 1962, Ann. Math. Statist. 33, 1065) over
normalised spectra. C is what a label's nearest others leave unexplained of it. Where a planet's scale height is known, A is
expected to be to it as the labels' amplitudes are to theirs. With a planet's noise every (j, A, h) is a
Gaussian, so the posterior is an exact mixture. `transit.prior` is the same with one mean shape and one wide covariance: it
cannot know that real spectra lie on curved and clustered sheets. Knows arrays only.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from ariel_lib.errors import SpectraMindError
from ariel_lib.priors.gaussian import GP_STRENGTH, Stored, gaussian_process, normalise

NEIGHBOURS = 3  # whose mean stands for a label when C is learned
WIDTHS = (0.5, 1.0, 2.0, 4.0, 8.0)  # h, equally likely: five-fold cross-validation over 710 simulated planets, see below
N_AMPLITUDES = 17
AMPLITUDE_RANGE = 4.0  # standard deviations of ln(amplitude) that the grid spans on either side
BACKGROUND = 0.05  # share of a normal distribution twice as wide in that of ln(amplitude): no catalogue is always right
DRAWN = 800  # components, of some ten thousand, that the spread of the mixture is computed from
LOUDEST = 2.0  # median sizes: a label with no neighbour must not rule C

# The widths: lead of the posterior's score over transit.prior's, simulated light curves of 2025's labels, five folds:
# (0.5 … 8) +0.0020, (0.5 … 4) with a tenth of transit.prior +0.0024, (1 … 4) likewise +0.0020, each ± 0.0006.


@dataclass(frozen=True)
class LibraryPosterior:
    """The library met with one planet's noise covariance Σ, in the modes of C against Σ' = Σ + σ_μ² 11ᵀ: Wᵀ Σ' W = 1.

    w (wavelength, mode), sigma_w (wavelength, mode) = Σ W, shapes (label, mode) = s W, damping (amplitude, width, mode) =
    1 / (1 + A² h² λ), log_weights (label, amplitude, width) without the planet's depths, variance (amplitude, width,
    wavelength) of every component.
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
        """depth (draw, wavelength) → mean and standard deviation (draw, wavelength), amplitude weights (draw, amplitude)."""
        columns = zip(*(self._moments(row) for row in depth))
        return tuple(np.array(column) for column in columns)

    def _moments(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seen = (depth - self.offset) @ self.w  # (mode,)
        damped = self.damping * seen
        log_weights = self.log_weights - 0.5 * damped @ seen
        log_weights += self.amplitudes[:, None] * np.tensordot(self.shapes, damped, ([1], [2]))
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        # E[y | d, component] = d − Σ W damping (seen − A s): linear, so that the mean over labels is taken first.
        by_width = weights.sum(axis=0)
        recalled = np.tensordot(weights, self.shapes, ([0], [0])) * self.amplitudes[:, None, None]
        mean = depth - self.sigma_w @ np.sum(by_width[..., None] * damped - recalled * self.damping, axis=(0, 1))
        label, amplitude, width = np.unravel_index(_systematic(weights.ravel(), DRAWN), weights.shape)
        residual = seen - self.amplitudes[amplitude, None] * self.shapes[label]
        spread = depth - (residual * self.damping[amplitude, width]) @ self.sigma_w.T - mean
        variance = np.tensordot(by_width, self.variance, 2) + np.mean(spread**2, axis=0)
        return mean, np.sqrt(variance), by_width.sum(axis=1)


@dataclass(frozen=True)
class SpectralLibrary(Stored):
    """offset (2,): mean and standard deviation of μ; shapes (label, wavelength) = s; covariance (wavelength, wavelength) = C;
    log_amplitude (label,) = ln A; log_scale (label,): ln of what a scale height adds to the depth, NaN where unknown."""

    offset: np.ndarray
    shapes: np.ndarray
    covariance: np.ndarray
    log_amplitude: np.ndarray
    log_scale: np.ndarray

    def conditioned_on(self, noise: np.ndarray, scale: float = np.nan) -> LibraryPosterior:
        """Prepare for depths measured with covariance noise (wavelength, wavelength) of a planet to whose depth a scale height
        adds `scale`, NaN where unknown."""
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
        """A grid of amplitudes in (Rp/Rs)² and their prior weights, (amplitude,), for a planet of that `scale`."""
        known = np.isfinite(self.log_scale)
        if np.isfinite(scale) and known.sum() > 1:
            grid, weights = _density(self.log_amplitude[known] - self.log_scale[known])
            return scale * np.exp(grid), weights
        grid, weights = _density(self.log_amplitude)
        return np.exp(grid), weights


def fit_spectral_library(depth: np.ndarray, wavelength: np.ndarray, scale: np.ndarray | None = None) -> SpectralLibrary:
    """Remember labels: depth (planet, wavelength), at least two planets; wavelength micron, FGS1 first.

    scale  (planet,) depth that a scale height of each adds, NaN where unknown; None: nowhere known
    Raises SpectraMindError for fewer than two planets.
    """
    if len(depth) < 2:
        raise SpectraMindError(f"library: expected labels of at least 2 planets, found {len(depth)}")
    offset, amplitude, shapes = normalise(depth)
    left = _unexplained(shapes)
    process = gaussian_process(wavelength) * np.mean(left[:, 1:] ** 2)
    process[0, 0] = np.mean(left[:, 0] ** 2)
    covariance = (left.T @ left + GP_STRENGTH * process) / (len(left) + GP_STRENGTH)
    log_scale = np.full(len(depth), np.nan) if scale is None else np.log(scale)
    return SpectralLibrary(offset, shapes, covariance, np.log(amplitude), log_scale)


def _density(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A grid over the distribution of some values (label,) and its weights: kernel density of Silverman's width (1986, eq. 3.31)
    with a BACKGROUND."""
    spread = max(values.std(ddof=1), 1e-3)
    quartiles = np.subtract(*np.quantile(values, (0.75, 0.25))) / 1.34
    width = 0.9 * max(min(spread, quartiles), 0.1 * spread) * len(values) ** -0.2
    grid = values.mean() + spread * np.linspace(-AMPLITUDE_RANGE, AMPLITUDE_RANGE, N_AMPLITUDES)
    weights = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2).sum(axis=1)
    background = np.exp(-0.5 * ((grid - values.mean()) / (2 * spread)) ** 2)
    return grid, (1 - BACKGROUND) * weights / weights.sum() + BACKGROUND * background / background.sum()


def _unexplained(shapes: np.ndarray) -> np.ndarray:
    """Each shape less the mean of its nearest others, (label, wavelength), at the size of a departure from the truth."""
    airs = shapes[:, 1:]
    power = np.sum(airs**2, axis=1)
    distance = power[:, None] + power - 2 * airs @ airs.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, : min(NEIGHBOURS, len(shapes) - 1)]
    left = (shapes - shapes[nearest].mean(axis=1)) / np.sqrt(1 + 1 / nearest.shape[1])
    size = np.maximum(left[:, 1:].std(axis=1), 1e-12)
    return left * np.minimum(1.0, LOUDEST * np.median(size) / size)[:, None]


def _systematic(weights: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` draws from weights that sum to one, evenly spaced over their cumulative sum (Kitagawa 1996)."""
    places = np.searchsorted(np.cumsum(weights), (np.arange(count) + 0.5) / count)
    return np.minimum(places, len(weights) - 1)
