"""Gaussian mixture with full covariances: expectation maximisation (Dempster, Laird & Rubin 1977), density, derivatives, draws."""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

STEPS = 100


@dataclass(frozen=True)
class GaussianMixture:
    """weights (component,), means (component, axis), covariances (component, axis, axis)."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def __post_init__(self):
        precision = np.linalg.inv(self.covariances)
        object.__setattr__(self, "_precision", precision)
        scale = 0.5 * np.linalg.slogdet(precision)[1] - 0.5 * self.means.shape[1] * np.log(2 * np.pi)
        object.__setattr__(self, "_log_scale", np.log(self.weights) + scale)

    def log_densities(self, points: np.ndarray) -> np.ndarray:
        """Logarithm of weight times density of each component, (point, component), at points (point, axis)."""
        centred = points[:, None] - self.means
        pulled = np.matmul(centred.transpose(1, 0, 2), self._precision).transpose(1, 0, 2)
        return self._log_scale - 0.5 * np.sum(centred * pulled, axis=2)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """(point,)"""
        return logsumexp(self.log_densities(points), axis=1)

    def derivatives(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient of the log density (point, axis), and the components' mean precision there (point, axis, axis)."""
        share = self._shares(points)
        pulled = np.einsum("kij,nkj->nki", self._precision, points[:, None] - self.means)
        return -np.einsum("nk,nki->ni", share, pulled), np.tensordot(share, self._precision, 1)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n points, (point, axis)."""
        which = rng.choice(len(self.weights), n, p=self.weights)
        root = np.linalg.cholesky(self.covariances)[which]
        return self.means[which] + np.einsum("nij,nj->ni", root, rng.standard_normal((n, self.means.shape[1])))

    def _shares(self, points: np.ndarray) -> np.ndarray:
        log_densities = self.log_densities(points)
        return np.exp(log_densities - logsumexp(log_densities, axis=1, keepdims=True))


def fit_gaussian_mixture(points: np.ndarray, components: int, ridge: float, broad: float, rng: np.random.Generator) -> GaussianMixture:
    """Fit to points (point, axis), with one more component of weight `broad` that has twice the spread of them all.

    ridge  added to the variances, in units of the points' variance along each axis
    """
    mean, spread = points.mean(axis=0), np.maximum(points.std(axis=0), 1e-6)
    scaled = (points - mean) / spread
    centres = scaled[rng.choice(len(scaled), components, replace=False)]
    nearest = np.sum((scaled[:, None] - centres) ** 2, axis=2).argmin(axis=1)
    shares = 0.9 * (nearest[:, None] == np.arange(components)) + 0.1 / components
    for _ in range(STEPS):
        mixture = _maximised(scaled, shares, ridge)
        shares = mixture._shares(scaled)
    covariances = np.concatenate([mixture.covariances, 4 * np.cov(scaled.T, bias=True)[None] + ridge * np.eye(scaled.shape[1])])
    means = np.concatenate([mixture.means, np.zeros((1, scaled.shape[1]))])
    weights = np.append((1 - broad) * mixture.weights, broad)
    return GaussianMixture(weights / weights.sum(), means * spread + mean, covariances * spread[:, None] * spread)


def _maximised(points: np.ndarray, shares: np.ndarray, ridge: float) -> GaussianMixture:
    """Maximisation step; a component that has lost its points keeps a thousandth of one."""
    counts = shares.sum(axis=0) + 1e-3
    means = shares.T @ points / counts[:, None]
    centred = points[:, None] - means
    covariances = np.einsum("nk,nki,nkj->kij", shares, centred, centred, optimize=True) / counts[:, None, None]
    return GaussianMixture(counts / counts.sum(), means, covariances + ridge * np.eye(points.shape[1]))
