"""Posterior of a spectrum under priors.manifold, given one planet's measured depths and their covariance Σ.

Given latents z, amplitude A and width h of the model error, everything is Gaussian, in the modes W of the shapes' span that
diagonalise the model error against Σ' = Σ + σ_μ² 11ᵀ. z and ln A are integrated by importance sampling: Student's t at the best
modes (Laplace; Geweke 1989, Econometrica 57, 1317), from fixed quasi-random points (Sobol 1967), so that equal depths have equal
posteriors. h is summed over.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.special import gammaln, logsumexp, ndtri
from scipy.stats import chi2, qmc

from ariel_lib.priors.auto_decoder import Decoder
from ariel_lib.priors.gaussian_mixture import GaussianMixture

STARTS = 4  # modes sought for each decoder
STEPS = 8  # of Levenberg–Marquardt
DRAWS = 256  # for each decoder
FREEDOM = 6  # of Student's t
SAME = 1.0  # squared distance, in posterior standard deviations, below which two modes are one
UNLIKELY = 8.0  # a mode whose evidence is smaller by that factor's exponential is not drawn from
NEGLIGIBLE = 1e-6  # weight of a draw that is left out of the moments
N_AMPLITUDES = 33
AMPLITUDE_RANGE = 4.0  # standard deviations of ln A that the grid of amplitudes spans on either side


@dataclass(frozen=True)
class Sheet:
    """One decoder: the prior of (z, ln A − shift), and latents (label, latent) and outputs (label, component) of the labels."""

    decoder: Decoder
    prior: GaussianMixture
    latents: np.ndarray
    outputs: np.ndarray


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


@dataclass(frozen=True)
class ManifoldPosterior:
    """The manifold combined with a planet's noise covariance.

    offset                  mean white depth
    widths, width_weights   (width,) h and its prior
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
        centre, spread = np.mean([moments_of(sheet.prior) for sheet in self.sheets], axis=0)
        return np.exp(self.shift + centre + spread * np.linspace(-AMPLITUDE_RANGE, AMPLITUDE_RANGE, N_AMPLITUDES))

    def moments(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Posterior mean and standard deviation (draw, wavelength) and amplitude weights (draw, amplitude).

        depth (draw, wavelength): measured depths.
        """
        return tuple(np.array(column) for column in zip(*(self._moments(row) for row in depth)))

    def _moments(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        deviation, modes = depth - self.offset, self.modes
        projected = deviation @ modes.w
        log_weights, residual, amplitude = (np.concatenate(x) for x in zip(*(self._sample(sheet, projected) for sheet in self.sheets)))
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        draw, width = np.nonzero(weights > NEGLIGIBLE)
        share = weights[draw, width] / weights[draw, width].sum()
        # E[y | d, z, A, h] = d − Σ Σ'⁻¹ (d − μ) + Σ W (p − damping (p − A s))
        damping = self._damping(amplitude)[draw, width]
        corrected = projected - damping * residual[draw]
        centre = share @ corrected
        spread = (corrected - centre) * np.sqrt(share)[:, None]
        covariance = spread.T @ spread + np.diag(1 - share @ damping)
        variance = modes.variance + np.sum((modes.sigma_w @ covariance) * modes.sigma_w, axis=1)
        mean = depth - modes.rest @ deviation + modes.sigma_w @ centre
        return mean, np.sqrt(variance), self._on_grid(amplitude, weights.sum(axis=1))

    def _damping(self, amplitude: np.ndarray) -> np.ndarray:
        """1 / (1 + A² h² λ), (…, width, mode)."""
        return 1 / (1 + (amplitude[..., None, None] * self.widths[:, None]) ** 2 * self.modes.values)

    def _starts(self, sheet: Sheet, projected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Latents of the labels that fit best, with the best amplitudes: points (start, latent + 1), and the best widths (start,)."""
        shapes, grid = self.modes.mean + sheet.outputs @ self.modes.basis, np.log(self.amplitudes[1:-1:2]) - self.shift
        amplitude = np.exp(grid + self.shift)
        damping = self._damping(amplitude)
        centre, spread = moments_of(sheet.prior)
        prior = np.log(self.width_weights) - 0.5 * ((grid[:, None] - centre) / spread) ** 2
        fit = prior + 0.5 * np.log(damping).sum(axis=-1) - 0.5 * damping @ projected**2
        fit = fit + amplitude[:, None] * np.tensordot(shapes, damping * projected, ([1], [2]))
        fit = fit - 0.5 * amplitude[:, None] ** 2 * np.tensordot(shapes**2, damping, ([1], [2]))
        best = fit.reshape(len(shapes), -1).argmax(axis=1)
        chosen = np.argsort(-fit.reshape(len(shapes), -1).max(axis=1))[:STARTS]
        of_amplitude, of_width = np.unravel_index(best[chosen], fit.shape[1:])
        return np.column_stack([sheet.latents[chosen], grid[of_amplitude]]), self.widths[of_width]

    def _modes_of(self, sheet: Sheet, projected: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Local maxima of the posterior of (z, ln A): points (start, axis), log densities (start,) and precisions (start, axis, axis)."""
        points, widths = self._starts(sheet, projected)
        found, damping, unit = self._expand(sheet, projected, points, widths), np.full(len(points), 1e-2), np.eye(points.shape[1])
        for _ in range(STEPS):
            _, slope, precision = found
            step = np.linalg.solve(precision * (1 + damping[:, None, None] * unit), slope[..., None])[..., 0]
            moved = self._expand(sheet, projected, points + step, widths)
            better = moved[0] > found[0]
            points = np.where(better[:, None], points + step, points)
            found = tuple(np.where(better.reshape(-1, *[1] * (old.ndim - 1)), new, old) for new, old in zip(moved, found))
            damping = np.clip(np.where(better, 0.2 * damping, 5 * damping), 1e-6, 1e4)
        return points, found[0], found[2]

    def _expand(
        self, sheet: Sheet, projected: np.ndarray, points: np.ndarray, widths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log posterior, gradient and Gauss–Newton precision of points (point, axis) with widths (point,) of the model error."""
        output, jacobian = sheet.decoder.linearised(points[:, :-1])
        amplitude = np.exp(points[:, -1:] + self.shift)
        expected = amplitude * (self.modes.mean + output @ self.modes.basis)
        damping = 1 / (1 + (amplitude * widths[:, None]) ** 2 * self.modes.values)
        jacobian = np.concatenate([amplitude[..., None] * (jacobian @ self.modes.basis), expected[:, None]], axis=1)
        weighted, residual = jacobian * damping[:, None], projected - expected
        fit = 0.5 * np.log(damping).sum(axis=1) - 0.5 * np.sum(damping * residual**2, axis=1)
        gradient, precision = sheet.prior.derivatives(points)
        gradient = gradient + (weighted @ residual[..., None])[..., 0]
        return fit + sheet.prior.log_density(points), gradient, precision + weighted @ jacobian.transpose(0, 2, 1)

    def _sample(self, sheet: Sheet, projected: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Importance samples: log weights (draw, width), residuals p − A s (draw, mode) and amplitudes (draw,)."""
        points, heights, precisions = self._modes_of(sheet, projected)
        roots = np.linalg.cholesky(precisions)
        log_scale = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
        chosen, share = _distinct(points, precisions, heights - log_scale)
        counts = np.maximum(np.round(share * DRAWS).astype(int), 8)
        standard = student_draws(points.shape[1])
        drawn = np.concatenate([
            points[n] + solve_triangular(roots[n], standard[:count].T, lower=True, trans="T").T for n, count in zip(chosen, counts)
        ])  # fmt: skip
        distance = [np.sum(((drawn - points[n]) @ roots[n]) ** 2, axis=1) for n in chosen]
        proposals = [np.log(count) + log_scale[n] + _log_student(d, points.shape[1]) for n, count, d in zip(chosen, counts, distance)]
        amplitude = np.exp(drawn[:, -1] + self.shift)
        residual = projected - amplitude[:, None] * (self.modes.mean + sheet.decoder(drawn[:, :-1]) @ self.modes.basis)
        damping = self._damping(amplitude)
        fit = 0.5 * np.log(damping).sum(axis=-1) - 0.5 * np.einsum("nhm,nm->nh", damping, residual**2) + np.log(self.width_weights)
        return fit + (sheet.prior.log_density(drawn) - logsumexp(proposals, axis=0))[:, None], residual, amplitude

    def _on_grid(self, amplitude: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weights (draw,) of amplitudes, shared by the two nearest of the grid so that the mean amplitude stays."""
        grid = self.amplitudes
        amplitude = np.clip(amplitude, grid[0], grid[-1])
        upper = np.clip(np.searchsorted(grid, amplitude), 1, len(grid) - 1)
        share = (amplitude - grid[upper - 1]) / (grid[upper] - grid[upper - 1])
        return np.bincount(upper, weights * share, len(grid)) + np.bincount(upper - 1, weights * (1 - share), len(grid))


def moments_of(prior: GaussianMixture) -> tuple[float, float]:
    """Mean and standard deviation of the last axis, ln A, in a prior of (z, ln A)."""
    means, variances = prior.means[:, -1], prior.covariances[:, -1, -1]
    mean = prior.weights @ means
    return float(mean), float(np.sqrt(prior.weights @ (variances + (means - mean) ** 2)))


def _distinct(points: np.ndarray, precisions: np.ndarray, evidence: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Modes that differ from each other and are not UNLIKELY, and their shares of the draws."""
    chosen: list[int] = []
    for n in np.argsort(-evidence):
        apart = (points[n] - points[chosen])[:, None] @ precisions[chosen] @ (points[n] - points[chosen])[..., None]
        if evidence[n] > evidence.max() - UNLIKELY and (apart > SAME).all():
            chosen.append(int(n))
    share = np.exp(evidence[chosen] - evidence.max())
    return chosen, 0.8 * share / share.sum() + 0.2 / len(chosen)


@lru_cache
def student_draws(axes: int) -> np.ndarray:
    """(DRAWS, axes) quasi-random points of Student's t with unit scale."""
    uniform = qmc.Sobol(axes + 1, seed=1).random(DRAWS)
    return ndtri(uniform[:, :-1]) / np.sqrt(chi2.ppf(uniform[:, -1:], FREEDOM) / FREEDOM)


def _log_student(distance: np.ndarray, axes: int) -> np.ndarray:
    """Log density of Student's t with unit scale at squared distances from its centre."""
    constant = gammaln((FREEDOM + axes) / 2) - gammaln(FREEDOM / 2) - 0.5 * axes * np.log(FREEDOM * np.pi)
    return constant - 0.5 * (FREEDOM + axes) * np.log1p(distance / FREEDOM)
