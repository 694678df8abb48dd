"""Spectral manifold: a generative model of spectra learned from labels.

A spectrum is  y = μ·1 + A·(s(z) + h·e),  e ~ N(0, C): a white depth μ, an amplitude A, the shape s(z) that a decoder gives for a few
latents z, and a model error h·e. The prior of (z, ln A) is a kernel density whose kernel at each label has the covariance of its
neighbours (manifold Parzen windows: Vincent & Bengio 2003, NIPS 15, 849); ln A is relative to the scale height where that is known.
Each decoder of an ensemble is trained without one fold of the labels; C and the prior of h are those of the errors on the labels
left out. Shapes lie in the span of the labels' first principal components. The posterior is in priors.manifold_posterior.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.storage import Stored
from ariel_lib.priors.auto_decoder import Decoder, fit_latents, train_decoder
from ariel_lib.priors.gaussian import normalise
from ariel_lib.priors.manifold_posterior import ManifoldPosterior, Modes, Sheet

MIN_LABELS = 30
LATENTS = 8
DECODERS = 3  # each trained without its fold of the labels
COMPONENTS = 64  # principal components of the shapes
FGS1_WEIGHT = 0.02  # of FGS1's squared error against that of one AIRS wavelength: FGS1 varies ten times as much
KERNEL_NEIGHBOURS = 12  # labels whose covariance about a label is that of its kernel
KERNEL_WIDTH = 1.0  # standard deviations of these neighbours
RIDGE = 0.003  # added to a kernel's variances, in units of those of all labels
WIDTHS = (0.5, 1.5, 4.5)  # h
NEIGHBOURS = 6  # labels from whose latents those of a label left out are sought


@dataclass(frozen=True)
class Manifold(Stored):
    """Decoders, the prior of their latents, and their errors.

    offset                     (2,) mean and standard deviation of μ, (Rp/Rs)²
    mean, basis                (wavelength,), (component, wavelength): s = mean + f(z) · basis
    w1 … b3                    (decoder, …) of each auto_decoder.Decoder f
    latents                    (decoder, label, latent), those of the labels left out fitted afterwards
    log_amplitude, log_scale   (label,) ln A, and ln of the depth that one scale height adds, NaN where unknown
    error, width_weights       (component, component) C, and (width,) prior of h in WIDTHS
    """

    offset: np.ndarray
    mean: np.ndarray
    basis: np.ndarray
    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    w3: np.ndarray
    b3: np.ndarray
    latents: np.ndarray
    log_amplitude: np.ndarray
    log_scale: np.ndarray
    error: np.ndarray
    width_weights: np.ndarray

    @classmethod
    def fit(cls, depth: np.ndarray, wavelength: np.ndarray, scale: np.ndarray | None = None) -> Self:
        """fit_manifold."""
        return fit_manifold(depth, scale)

    @cached_property
    def _sheets(self) -> tuple[list[Sheet], list[Sheet]]:
        """The decoders with the prior of (z, ln A), and with that of (z, ln A − log_scale)."""
        decoders = [Decoder(*arrays) for arrays in zip(self.w1, self.b1, self.w2, self.b2, self.w3, self.b3)]
        every, known = np.ones(len(self.log_scale), bool), np.isfinite(self.log_scale)
        relative = (self.log_amplitude, every), (self.log_amplitude - self.log_scale, known)
        return tuple(
            [make_sheet(decoder, np.column_stack([z, a])[rows]) for decoder, z in zip(decoders, self.latents)]
            if rows.sum() >= MIN_LABELS else []
            for a, rows in relative
        )  # fmt: skip

    def sheets(self, scale: float) -> tuple[list[Sheet], float]:
        """Decoders with their priors of (z, ln A − shift), and shift, for a planet's scale height; NaN: unknown."""
        known = bool(np.isfinite(scale)) and bool(self._sheets[1])
        return self._sheets[known], float(np.log(scale)) if known else 0.0

    def conditioned_on(self, noise: np.ndarray, scale: float = np.nan) -> ManifoldPosterior:
        """Combine the manifold with the noise covariance (wavelength, wavelength) of a planet's measured depths.

        scale: depth that one scale height of the planet adds, NaN where unknown.
        """
        modes = Modes(noise, self.offset[1], self.mean, self.basis, self.error)
        return ManifoldPosterior(*self.sheets(scale), modes, float(self.offset[0]), np.array(WIDTHS), self.width_weights)

    def draw(self, n: int, rng: np.random.Generator, scale: float = np.nan) -> np.ndarray:
        """n spectra (n, wavelength), none negative; scale: depth that one scale height of their planets adds.

        With NaN the amplitudes are distributed as those of the labels.
        """
        (sheets, shift), root = self.sheets(scale), np.linalg.cholesky(self.error)
        which, width = rng.integers(len(sheets), size=n), rng.choice(WIDTHS, n, p=self.width_weights)
        points, shapes = np.empty((n, self.latents.shape[2] + 1)), np.empty((n, len(self.basis)))
        for number, sheet in enumerate(sheets):
            rows = which == number
            points[rows] = sheet.draw(int(rows.sum()), rng)
            shapes[rows] = sheet.decoder(points[rows, :-1])
        shapes += width[:, None] * (rng.standard_normal(shapes.shape) @ root.T)
        features = np.exp(points[:, -1:] + shift) * (self.mean + shapes @ self.basis)
        white = self.offset[0] + self.offset[1] * rng.standard_normal((n, 1))
        return np.maximum(white, 1e-6 - features.min(axis=1, keepdims=True)) + features


def make_sheet(decoder: Decoder, points: np.ndarray) -> Sheet:
    """The kernel density of points (label, axis), latents and ln A of labels."""
    variances = np.maximum(points.var(axis=0), 1e-6)
    distance = np.sum((points[:, None] - points) ** 2 / variances, axis=2)
    nearest = np.argsort(distance, axis=1)[:, 1 : KERNEL_NEIGHBOURS + 1]
    apart = points[nearest] - points[:, None]
    covariances = KERNEL_WIDTH**2 * (apart.transpose(0, 2, 1) @ apart / nearest.shape[1] + RIDGE * np.diag(variances))
    precisions = np.linalg.inv(covariances)
    log_scales = 0.5 * np.linalg.slogdet(precisions)[1] - np.log(len(points))
    return Sheet(decoder, points, precisions, log_scales)


def fit_manifold(depth: np.ndarray, scale: np.ndarray | None = None, *, latents: int = LATENTS, seed: int = 0) -> Manifold:
    """Learn the manifold from labels depth (planet, wavelength), FGS1 first; a minute for 880 of them.

    scale  (planet,)  depth that one scale height of each adds, NaN where unknown; None: unknown for all

    Raises SpectraMindError for fewer than MIN_LABELS planets.
    """
    if len(depth) < MIN_LABELS:
        raise SpectraMindError(
            f"spectral manifold: expected labels of at least {MIN_LABELS} planets, found {len(depth)}. Use the spectral library."
        )
    offset, amplitude, shapes = normalise(depth)
    mean, basis, target = _principal_components(shapes)
    log_scale = np.full(len(depth), np.nan) if scale is None else np.log(scale)
    rng = np.random.default_rng(seed)
    decoders, found, residual = [], [], np.empty_like(target)
    for out in np.array_split(rng.permutation(len(depth)), DECODERS):
        decoder, z = _fit_decoder(target, np.sort(out), min(latents, target.shape[1]), rng)
        residual[out] = target[out] - decoder(z[out])
        decoders.append(decoder)
        found.append(z)
    error, width_weights = _model_error(residual)
    network = {name: np.array([getattr(decoder, name) for decoder in decoders]) for name in decoders[0].to_arrays()}
    return Manifold(
        offset, mean, basis, **network, latents=np.array(found), log_amplitude=np.log(amplitude), log_scale=log_scale,
        error=error, width_weights=width_weights,
    )  # fmt: skip


def _principal_components(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean shape (wavelength,), basis (component, wavelength), and components (planet, component) of shapes (planet, wavelength).

    FGS1 counts with FGS1_WEIGHT.
    """
    mean, weight = shapes.mean(axis=0), np.ones(shapes.shape[1])
    weight[0] = np.sqrt(FGS1_WEIGHT)
    _, values, rows = np.linalg.svd((shapes - mean) * weight, full_matrices=False)
    rows = rows[: min(COMPONENTS, int(np.sum(values > 1e-6 * values[0])))]
    return mean, rows / weight, ((shapes - mean) * weight) @ rows.T


def _fit_decoder(target: np.ndarray, out: np.ndarray, latents: int, rng: np.random.Generator) -> tuple[Decoder, np.ndarray]:
    """A decoder trained without the labels `out`, and latents (label, latent) of all."""
    inside = np.setdiff1d(np.arange(len(target)), out)
    decoder, trained = train_decoder(target[inside], latents, rng)
    distance = np.sum((target[out, None] - decoder(trained)) ** 2, axis=2)
    nearest = np.argsort(distance, axis=1)[:, :NEIGHBOURS]
    found = np.empty((len(target), latents))
    found[inside], found[out] = trained, fit_latents(decoder, trained[nearest], target[out])
    return decoder, found


def _model_error(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of residuals (planet, component) of labels left out, scaled to the median size, and the prior of WIDTHS.

    Sizes differ by a large factor from label to label: C is the covariance of residuals of equal size, the prior of h counts sizes.
    """
    size = np.sqrt(np.mean(residual**2, axis=1))
    typical = np.median(size)
    scaled = residual * (typical / np.maximum(size, 1e-3 * typical))[:, None]
    error = scaled.T @ scaled / len(scaled) + (0.1 * typical) ** 2 * np.eye(residual.shape[1])
    nearest = np.abs(np.log(size / typical)[:, None] - np.log(WIDTHS)).argmin(axis=1)
    counts = np.bincount(nearest, minlength=len(WIDTHS)) + 1.0
    return error, counts / counts.sum()


PRIOR = Manifold
