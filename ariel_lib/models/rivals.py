"""What others do with the same light curves, as a yardstick. Arrays only."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ConstantSpectrum:
    """The public notebooks' answer: one white-light depth for every wavelength and one sigma for every planet.

    sigma is the root mean square of what that leaves over on training planets, the best constant there is.
    """

    sigma: float

    @classmethod
    def fit(cls, white_depth: np.ndarray, truth: np.ndarray) -> "ConstantSpectrum":
        """white_depth (planet,), truth (planet, wavelength)."""
        return cls(float(np.sqrt(np.mean((truth - white_depth[:, None]) ** 2))))

    def predict(self, white_depth: np.ndarray, n_wavelengths: int) -> tuple[np.ndarray, np.ndarray]:
        """mean and sigma (planet, wavelength)."""
        mean = np.repeat(np.maximum(white_depth, 0.0)[:, None], n_wavelengths, axis=1)
        return mean, np.full_like(mean, self.sigma)


def white_depth(depth: np.ndarray, independent: np.ndarray) -> float:
    """One depth for a whole spectrum: depth and independent sigma (wavelength,), weighted mean over AIRS."""
    return float(np.average(depth[1:], weights=independent[1:] ** -2))
