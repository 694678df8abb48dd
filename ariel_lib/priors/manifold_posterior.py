"""Posterior of a spectrum under priors.manifold, given one planet's measured depths and their covariance Σ.

The prior of (z, ln A) is one narrow Gaussian for each label and decoder. Under each of them the posterior is nearly Gaussian (Laplace:
the decoder is linearised where the posterior is largest), so the posterior is a mixture in closed form, weighted by evidence. Labels are
linearised once, at their own latents; the best ones again at their modes, which are sought for the likeliest width of the model error,
for every width.

Spectra are handled in the modes W of the shapes' span that diagonalise the model error against Σ' = Σ + σ_μ² 11ᵀ.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular

from ariel_lib.priors.auto_decoder import Decoder, product

TRIED = 128  # labels of each decoder, at least, that are linearised; so are those whose own spectra fit within UNLIKELY of the best
UNLIKELY = 8.0  # in log likelihood
REFINED = 16  # labels of each decoder whose modes are sought
STEPS = 3  # of Levenberg–Marquardt
NEGLIGIBLE = 1e-4  # weight of a part of the mixture that is left out
N_AMPLITUDES = 33
AMPLITUDE_RANGE = 4.0  # standard deviations of ln A that the grid of amplitudes spans on either side


@dataclass(frozen=True)
class Sheet:
    """One decoder and a Gaussian of (z, ln A − shift) for each label.

    points      (label, axis)            means of the Gaussians
    precisions  (label, axis, axis)      their inverse covariances
    log_scales  (label,)                 logarithms of their weights and normalisation, without the powers of 2π
    """

    decoder: Decoder
    points: np.ndarray
    precisions: np.ndarray
    log_scales: np.ndarray

    @cached_property
    def linearised(self) -> tuple[np.ndarray, np.ndarray]:
        """Outputs (label, component) and derivatives (label, latent, component) at the labels' latents."""
        return self.decoder.linearised(self.points[:, :-1])

    @cached_property
    def covariances(self) -> np.ndarray:
        """(label, axis, axis)"""
        return np.linalg.inv(self.precisions)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n points (n, axis) of the mixture."""
        labels = rng.integers(len(self.points), size=n)
        roots = np.linalg.cholesky(self.covariances)[labels]
        return self.points[labels] + (roots @ rng.standard_normal((n, self.points.shape[1], 1)))[..., 0]


class Modes:
    """Noise covariance, mean shape and model error of a planet in the modes W, Wᵀ Σ' W = 1.

    w, sigma_w   (wavelength, mode)         W, Σ W
    basis, mean  (component, mode), (mode,) coordinates Wᵀ s of a shape s with components f: mean + f · basis
    values       (mode,)                    variances of the model error for A = h = 1
    rest         (wavelength, wavelength)   Σ Σ'⁻¹; variance (wavelength,) the diagonal of Σ − Σ Σ'⁻¹ Σ
    """

    def __init__(self, noise: np.ndarray, offset_sigma: float, mean: np.ndarray, basis: np.ndarray, error: np.ndarray):
        root = cholesky(noise + offset_sigma**2, lower=True)
        whitened = solve_triangular(root, np.concatenate([basis, mean[None], noise]).T, lower=True)
        orthonormal, triangle = np.linalg.qr(whitened[:, : len(basis) + 1])
        values, rotation = eigh(triangle[:, :-1] @ error @ triangle[:, :-1].T)
        self.values, coordinates = np.maximum(values, 0.0), rotation.T @ triangle
        self.basis, self.mean = coordinates[:, :-1].T, coordinates[:, -1]
        self.w = solve_triangular(root, orthonormal @ rotation, lower=True, trans="T")
        self.sigma_w = noise @ self.w
        self.rest = solve_triangular(root, whitened[:, len(basis) + 1 :], lower=True, trans="T").T
        self.variance = np.diag(noise) - np.sum(whitened[:, len(basis) + 1 :] ** 2, axis=0)


class Parts(NamedTuple):
    """Gaussian parts of the posterior in the modes W, each linearised at a point (z, ln A − shift).

    log_evidence (part,); step (part, axis) from the point to the maximum, precision (part, axis, axis) there, height (part,) of the log
    posterior at the point; residual (part, mode) p − A s at the maximum; response (part, axis, mode) of A s, times damping;
    damping (part, mode) 1 / (1 + A² h² λ); amplitude (part,)
    """

    log_evidence: np.ndarray
    step: np.ndarray
    precision: np.ndarray
    height: np.ndarray
    residual: np.ndarray
    response: np.ndarray
    damping: np.ndarray
    amplitude: np.ndarray

    def take(self, rows: np.ndarray) -> "Parts":
        return Parts(*(array[rows] for array in self))


@dataclass(frozen=True)
class ManifoldPosterior:
    """The manifold combined with a planet's noise covariance.

    offset                 mean white depth
    widths, width_weights  (width,) h and its prior
    """

    sheets: list[Sheet]
    shift: float
    modes: Modes
    offset: float
    widths: np.ndarray
    width_weights: np.ndarray

    @cached_property
    def amplitudes(self) -> np.ndarray:
        """Grid (amplitude,) in (Rp/Rs)² on which the weights of amplitudes are given."""
        of_labels = self.sheets[0].points[:, -1]
        spread = max(of_labels.std(), 0.1)
        return np.exp(self.shift + of_labels.mean() + spread * np.linspace(-AMPLITUDE_RANGE, AMPLITUDE_RANGE, N_AMPLITUDES))

    def moments(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Posterior mean and standard deviation (draw, wavelength) and amplitude weights (draw, amplitude).

        depth (draw, wavelength): measured depths.
        """
        return tuple(np.array(column) for column in zip(*(self._moments(row) for row in depth)))

    def _moments(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        deviation, modes = depth - self.offset, self.modes
        projected = deviation @ modes.w
        parts = [part for sheet in self.sheets for part in self._parts(sheet, projected)]
        parts = Parts(*(np.concatenate(arrays) for arrays in zip(*parts)))
        weights = np.exp(parts.log_evidence - parts.log_evidence.max())
        weights /= weights.sum()
        parts, weights = parts.take(weights > NEGLIGIBLE), weights[weights > NEGLIGIBLE]
        weights /= weights.sum()
        # E[y | d, part] = d − Σ Σ'⁻¹ (d − μ) + Σ W (p − damping (p − A s))
        corrected = projected - parts.damping * parts.residual
        centre = weights @ corrected
        spread = (corrected - centre) * np.sqrt(weights)[:, None]
        inside = np.linalg.inv(np.linalg.cholesky(parts.precision)) * np.sqrt(weights)[:, None, None] @ parts.response
        inside = inside.reshape(-1, len(centre))
        covariance = spread.T @ spread + inside.T @ inside + np.diag(1 - weights @ parts.damping)
        variance = modes.variance + np.sum((modes.sigma_w @ covariance) * modes.sigma_w, axis=1)
        mean = depth - modes.rest @ deviation + modes.sigma_w @ centre
        return mean, np.sqrt(variance), self._on_grid(parts.amplitude, weights)

    def _parts(self, sheet: Sheet, projected: np.ndarray) -> tuple[Parts, Parts]:
        """Parts of the labels at their own latents, and of the best ones at their modes, for every width."""
        labels, points, widths = self._starts(sheet, projected)
        parts = self._linearise(sheet, projected, labels, points, widths, *(array[labels] for array in sheet.linearised))
        order = np.argsort(-parts.log_evidence)
        best, others = order[:REFINED], order[REFINED:]
        modes = self._modes(sheet, projected, labels[best], points[best] + parts.step[best], widths[best])
        output, jacobian = sheet.decoder.linearised(modes[:, :-1])
        every = np.repeat(np.arange(len(best)), len(self.widths))
        refined = self._linearise(
            sheet, projected, labels[best][every], modes[every], np.tile(self.widths, len(best)), output[every], jacobian[every]
        )
        return parts.take(others), refined

    def _starts(self, sheet: Sheet, projected: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels (start,) that fit best, their latents with the best amplitudes (start, axis), and the best widths (start,)."""
        shapes, amplitude = self.modes.mean + sheet.linearised[0] @ self.modes.basis, self.amplitudes[1:-1:2]
        grid = np.log(amplitude) - self.shift
        damping = 1 / (1 + (amplitude[:, None, None] * self.widths[:, None]) ** 2 * self.modes.values)
        common = np.log(self.width_weights) + 0.5 * np.log(damping).sum(axis=-1) - 0.5 * damping @ projected**2
        fit = amplitude[:, None] * np.tensordot(shapes, damping * projected, ([1], [2])) + common
        fit -= 0.5 * amplitude[:, None] ** 2 * np.tensordot(shapes**2, damping, ([1], [2]))
        fit -= (0.5 * (grid - sheet.points[:, -1:]) ** 2 / sheet.covariances[:, -1, -1:])[..., None]
        fit = fit.reshape(len(shapes), -1)
        order = np.argsort(-fit.max(axis=1))
        height = fit.max(axis=1)[order]
        labels = order[(np.arange(len(order)) < TRIED) | (height > height[0] - UNLIKELY)]
        of_amplitude, of_width = np.unravel_index(fit[labels].argmax(axis=1), (len(grid), len(self.widths)))
        return labels, np.column_stack([sheet.points[labels, :-1], grid[of_amplitude]]), self.widths[of_width]

    def _modes(self, sheet: Sheet, projected: np.ndarray, labels: np.ndarray, points: np.ndarray, widths: np.ndarray) -> np.ndarray:
        """Modes (part, axis) of labels with widths (part,), sought by Levenberg–Marquardt from points (part, axis)."""
        parts = self._linearise(sheet, projected, labels, points, widths, *sheet.decoder.linearised(points[:, :-1]))
        height, step, share = parts.height, parts.step, np.ones(len(points))
        for _ in range(STEPS):
            moved = points + share[:, None] * step
            tried = self._linearise(sheet, projected, labels, moved, widths, *sheet.decoder.linearised(moved[:, :-1]))
            better = tried.height > height
            points, step = (np.where(better[:, None], new, old) for new, old in ((moved, points), (tried.step, step)))
            height = np.maximum(height, tried.height)
            share = np.where(better, np.minimum(2 * share, 1), 0.3 * share)
        return points

    def _linearise(
        self, sheet: Sheet, projected: np.ndarray, labels: np.ndarray, points: np.ndarray, widths: np.ndarray, output: np.ndarray,
        jacobian: np.ndarray,
    ) -> Parts:  # fmt: skip
        """Parts of labels (part,) with widths (part,) of the model error, linearised at points (part, axis)."""
        amplitude = np.exp(points[:, -1] + self.shift)
        expected = amplitude[:, None] * (self.modes.mean + output @ self.modes.basis)
        damping = 1 / (1 + ((amplitude * widths) ** 2)[:, None] * self.modes.values)
        response = np.concatenate([amplitude[:, None, None] * product(jacobian, self.modes.basis), expected[:, None]], axis=1)
        weighted, residual = response * damping[:, None], projected - expected
        away = sheet.points[labels] - points
        pulled = (sheet.precisions[labels] @ away[..., None])[..., 0]
        gradient = pulled + (weighted @ residual[..., None])[..., 0]
        precision = sheet.precisions[labels] + weighted @ response.transpose(0, 2, 1)
        step = np.linalg.solve(precision, gradient[..., None])[..., 0]
        prior = sheet.log_scales[labels] + np.log(self.width_weights[np.searchsorted(self.widths, widths)]) - 0.5 * np.sum(away * pulled, 1)
        height = prior + 0.5 * np.log(damping).sum(axis=1) - 0.5 * np.sum(damping * residual**2, axis=1)
        evidence = height + 0.5 * np.sum(gradient * step, axis=1) - 0.5 * np.linalg.slogdet(precision)[1]
        at_maximum = residual - (step[:, None] @ response)[:, 0]
        return Parts(evidence, step, precision, height, at_maximum, weighted, damping, amplitude * np.exp(np.clip(step[:, -1], -1, 1)))

    def _on_grid(self, amplitude: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weights (part,) of amplitudes, shared by the two nearest of the grid so that the mean amplitude stays."""
        grid = self.amplitudes
        amplitude = np.clip(amplitude, grid[0], grid[-1])
        upper = np.clip(np.searchsorted(grid, amplitude), 1, len(grid) - 1)
        share = (amplitude - grid[upper - 1]) / (grid[upper] - grid[upper - 1])
        return np.bincount(upper, weights * share, len(grid)) + np.bincount(upper - 1, weights * (1 - share), len(grid))
