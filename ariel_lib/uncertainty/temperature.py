"""One factor on each instrument's sigma, chosen to maximise the challenge's score.

The unclipped score is Σ w_ij (−log(k σ_ij) − z_ij² / 2k²) + constant, z = (truth − mean) / σ, with w = column weight
over the element's reference gain. It is largest at k² = Σ w z² / Σ w; with equal weights this is temperature scaling
(Guo et al. 2017, arXiv:1706.04599) of a Gaussian. Arrays are (planet, wavelength), wavelength 0 = FGS1.
Knows nothing of where the sigmas came from.
"""

from dataclasses import asdict, dataclass

import numpy as np

from ariel_lib.metrics import column_weights, reference_gain, z_scores

Array = np.ndarray

SHRINKAGE_PLANETS = 30.0


@dataclass(frozen=True)
class Temperature:
    """Factors on sigma: `overall` is the one best for all elements, `fgs1` and `airs` are those applied."""

    overall: float = 1.0
    fgs1: float = 1.0
    airs: float = 1.0
    n_planets: int = 0

    def __post_init__(self):
        for name in ("overall", "fgs1", "airs"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"temperature {name} must be finite and positive; found {value}")

    def apply(self, sigma: Array) -> Array:
        """Calibrated standard deviations, same shape (..., wavelength)."""
        scales = np.full(np.shape(sigma)[-1], self.airs)
        scales[0] = self.fgs1
        return sigma * scales

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, for JSON beside the weights."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, float]) -> "Temperature":
        """Inverse of `to_dict`; an unknown or missing key is a TypeError or ValueError."""
        missing = {"overall", "fgs1", "airs", "n_planets"} - set(values)
        if missing:
            raise ValueError(f"a stored temperature lacks {', '.join(sorted(missing))}; found {sorted(values)}")
        return cls(**values)


def fit_temperature(
    mean: Array,
    sigma: Array,
    truth: Array,
    *,
    naive_mean: float,
    naive_sigma: float,
    year: int = 2025,
    shrinkage_planets: float = SHRINKAGE_PLANETS,
) -> Temperature:
    """Factors that maximise the score on these planets, which the model must not have been trained on.

    mean, sigma, truth   (planet, wavelength)
    shrinkage_planets    n0: with n planets k_j² ← (n k_j² + n0 k²) / (n + n0), k the overall factor; 0 = none
    """
    z2 = z_scores(truth, mean, sigma) ** 2
    n_planets, n_wavelengths = z2.shape
    if not shrinkage_planets >= 0:
        raise ValueError(f"shrinkage_planets must be zero or more; found {shrinkage_planets}")
    reference = reference_gain(truth, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year)
    weights = column_weights(n_wavelengths, year) / reference
    overall = _weighted_mean(z2, weights)

    def shrink(own: float) -> float:
        return (n_planets * own + shrinkage_planets * overall) / (n_planets + shrinkage_planets)

    fgs1 = shrink(_weighted_mean(z2[:, :1], weights[:, :1]))
    airs = shrink(_weighted_mean(z2[:, 1:], weights[:, 1:]))
    return Temperature(float(np.sqrt(overall)), float(np.sqrt(fgs1)), float(np.sqrt(airs)), n_planets)


def _weighted_mean(z2: Array, weights: Array) -> float:
    return float(np.sum(weights * z2) / np.sum(weights))
