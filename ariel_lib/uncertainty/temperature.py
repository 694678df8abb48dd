"""Temperature scaling: factors on sigma that maximise the challenge's score.

The unclipped score is Σ w_ij (−log(k σ_ij) − z_ij² / 2k²) + constant, z = (truth − mean) / σ, with w = column weight over the
reference gain of the element. It is maximal at k² = Σ w z² / Σ w; with equal weights this is temperature scaling (Guo et al.
2017, arXiv:1706.04599) of a Gaussian. There is one k per instrument.
Arrays are (planet, wavelength), wavelength 0 = FGS1.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from ariel_lib.errors import SpectraMindError
from ariel_lib.metrics import column_weights, reference_gain, z_scores

Array = np.ndarray

SHRINKAGE_PLANETS = 30.0
PRIOR_STRENGTH = 30.0  # planets that a prior of factors of one counts for: 500 simulated planets needed no correction
CROSS_FITS = 20  # groups of planets, at most, each of which gets the factors fitted to the others


@dataclass(frozen=True)
class Temperature:
    """Factors on sigma.

    scales     of FGS1 and of AIRS
    overall    best single factor for all elements
    n_planets  number of planets in the fit

    Raises SpectraMindError for factors that are not two, finite and positive.
    """

    scales: tuple[float, float] = (1.0, 1.0)
    overall: float = 1.0
    n_planets: int = 0

    def __post_init__(self):
        if np.shape(self.scales) != (2,):
            raise SpectraMindError(f"temperature scales: expected one for FGS1 and one for AIRS, found {self.scales!r}")
        for value in (*self.scales, self.overall):
            if not (np.isfinite(value) and value > 0):
                raise SpectraMindError(f"temperature scales: expected finite and positive; found {value}")

    def apply(self, sigma: Array) -> Array:
        """Calibrated standard deviations, same shape (..., wavelength)."""
        return sigma * np.repeat(self.scales, [1, np.shape(sigma)[-1] - 1])

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Temperature":
        """Inverse of to_dict, also after JSON. Raises SpectraMindError for unknown or missing keys."""
        expected = set(cls.__dataclass_fields__)
        if set(values) != expected:
            raise SpectraMindError(f"stored temperature: expected the keys {sorted(expected)}, found {sorted(values)}")
        return cls(**values | {"scales": tuple(values["scales"])})


def noise_level(sigma: Array) -> Array:
    """Median AIRS sigma of each planet, (...), by which planets are classed; sigma (..., wavelength)."""
    return np.median(np.asarray(sigma)[..., 1:], axis=-1)


def fit_temperature(
    mean: Array,
    sigma: Array,
    truth: Array,
    *,
    naive_mean: float,
    naive_sigma: float,
    year: int = 2025,
    shrinkage_planets: float = SHRINKAGE_PLANETS,
    prior_strength: float = 0.0,
) -> Temperature:
    """Fit the factors that maximise the score on planets that were not used to train the model.

    A score of these same planets with these factors is optimistic: see cross_fitted_sigma.

    mean, sigma, truth       (planet, wavelength)
    naive_mean, naive_sigma  of all training labels, which define the score; year: 2024 or 2025
    shrinkage_planets        n0 of the shrinkage to the overall factor k: k_j² ← (n k_j² + n0 k²) / (n + n0), n planets; 0: none
    prior_strength           m of the shrinkage of the overall factor to 1: k² ← (n k² + m) / (n + m), for few planets whose sigmas
                             are nearly calibrated; 0: none

    Raises SpectraMindError for negative strengths or inconsistent shapes.
    """
    z2 = z_scores(truth, mean, sigma) ** 2
    for name, value in (("shrinkage_planets", shrinkage_planets), ("prior_strength", prior_strength)):
        if not value >= 0:
            raise SpectraMindError(f"{name}: expected zero or more, found {value}")
    weights = score_weights(truth, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year)
    found = float(np.sum(weights * z2) / np.sum(weights))
    overall = (len(z2) * found + prior_strength) / (len(z2) + prior_strength)
    weighted_z2 = weights * (z2 * (overall / found if found > 0 else 1.0))
    weighted, total = (np.array([w[0], w[1:].sum()]) for w in (weighted_z2.sum(axis=0), weights.sum(axis=0)))  # FGS1, AIRS
    share = len(z2) / (len(z2) + shrinkage_planets)
    fgs1, airs = np.sqrt(share * weighted / total + (1 - share) * overall).tolist()
    return Temperature((fgs1, airs), float(np.sqrt(overall)), len(z2))


def cross_fitted_sigma(mean: Array, sigma: Array, truth: Array, **settings: float) -> Array:
    """Calibrated standard deviations (planet, wavelength), those of each planet by factors fitted to other planets.

    settings  of fit_temperature

    They are what a score on the same planets may use. A single planet's are unchanged: it has no others.
    """
    found = np.array(sigma)
    for others, tested in folds_of_planets(len(found), CROSS_FITS):
        if others.any():
            found[tested] = fit_temperature(mean[others], sigma[others], truth[others], **settings).apply(sigma[tested])
    return found


def score_weights(truth: Array, *, naive_mean: float, naive_sigma: float, year: int = 2025) -> Array:
    """Weight w of each element's log-likelihood in the score, up to a common factor, (planet, wavelength)."""
    reference = reference_gain(truth, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year)
    return column_weights(reference.shape[1], year) / reference


def folds_of_planets(n_planets: int, folds: int) -> Iterator[tuple[Array, Array]]:
    """Cross-validation folds as masks (planet,) of training and test planets; every planet is tested once."""
    for fold in range(min(folds, n_planets)):
        tested = np.arange(n_planets) % folds == fold
        yield ~tested, tested
