"""Spectral library and manifold together: the logarithmic opinion pool of their posteriors (Genest & Zidek 1986, Statist. Sci. 1, 114).

For Gaussians the precisions of each wavelength are averaged, and the means with them. A mixture of the two would be too wide: they
agree about most of a spectrum, and each is calibrated by itself (benchmarks/manifold.py). The more labels, the more the manifold counts;
where they are too few for one, the library is alone.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from ariel_lib.io.storage import Stored, part
from ariel_lib.priors.manifold import MIN_LABELS, Manifold, fit_manifold
from ariel_lib.priors.manifold_posterior import ManifoldPosterior
from ariel_lib.priors.spectral_library import LibraryPosterior, SpectralLibrary, fit_spectral_library

logger = logging.getLogger(__name__)

MANIFOLD_SHARE = 0.8  # of many labels: the weight that scores best by cross-validation (benchmarks/manifold.py)


@dataclass(frozen=True)
class PooledPosterior:
    """The posteriors of one planet, the library's first, and their weights, which sum to one."""

    posteriors: tuple[LibraryPosterior | ManifoldPosterior, ...]
    weights: tuple[float, ...]

    @property
    def library(self) -> LibraryPosterior:
        """The library's posterior alone."""
        return self.posteriors[0]

    @cached_property
    def amplitudes(self) -> np.ndarray:
        """The amplitudes (amplitude,) of all, in (Rp/Rs)²."""
        return np.concatenate([posterior.amplitudes for posterior in self.posteriors])

    def moments(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean and standard deviation (draw, wavelength) of the pool and amplitude weights (draw, amplitude).

        depth (draw, wavelength): measured depths.
        """
        means, sigmas, amplitudes = zip(*(posterior.moments(depth) for posterior in self.posteriors))
        precisions = np.array([weight * sigma**-2 for weight, sigma in zip(self.weights, sigmas)])
        mean = np.average(means, axis=0, weights=precisions)
        shares = [weight * share for weight, share in zip(self.weights, amplitudes)]
        return mean, np.sum(precisions, axis=0) ** -0.5, np.concatenate(shares, axis=1)


@dataclass(frozen=True)
class LibraryAndManifold(Stored):
    """manifold: None where the labels were fewer than MIN_LABELS."""

    library: SpectralLibrary
    manifold: Manifold | None

    @property
    def manifold_weight(self) -> float:
        """Weight of the manifold's posterior: 0 at MIN_LABELS labels, MANIFOLD_SHARE at many."""
        if self.manifold is None:
            return 0.0
        return MANIFOLD_SHARE * (1 - MIN_LABELS / self.manifold.latents.shape[1])

    @property
    def _priors(self) -> dict[str, SpectralLibrary | Manifold]:
        """The priors that there are, by name."""
        return {"library": self.library} | ({"manifold": self.manifold} if self.manifold is not None else {})

    @classmethod
    def fit(cls, depth: np.ndarray, wavelength: np.ndarray, scale: np.ndarray | None = None) -> Self:
        """Fit both to labels depth (planet, wavelength); scale (planet,) as in fit_spectral_library.

        With fewer than MIN_LABELS labels a warning says that the library is alone. Raises SpectraMindError for fewer than two planets.
        """
        library = fit_spectral_library(depth, wavelength, scale)
        if len(depth) < MIN_LABELS:
            logger.warning("%d labels, of which a spectral manifold needs %d: the spectral library is used alone", len(depth), MIN_LABELS)
            return cls(library, None)
        return cls(library, fit_manifold(depth, scale))

    def conditioned_on(self, noise: np.ndarray, scale: float = np.nan) -> PooledPosterior:
        """Combine both with the noise covariance (wavelength, wavelength) of a planet's measured depths.

        scale: depth that one scale height of the planet adds, NaN where unknown.
        """
        weights = {"library": 1 - self.manifold_weight, "manifold": self.manifold_weight}
        posteriors = (prior.conditioned_on(noise, scale) for prior in self._priors.values())
        return PooledPosterior(tuple(posteriors), tuple(weights[name] for name in self._priors))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The arrays of both, by names that begin with library. or manifold."""
        return {f"{name}.{key}": array for name, prior in self._priors.items() for key, array in prior.to_arrays().items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """Inverse of to_arrays; further arrays are ignored."""
        manifold = part(arrays, "manifold")
        return cls(SpectralLibrary.from_arrays(part(arrays, "library")), Manifold.from_arrays(manifold) if manifold else None)


PRIOR = LibraryAndManifold
