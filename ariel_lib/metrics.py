"""The challenge's score, and further statistics of spectra with standard deviations.

Source: the evaluation pages of the NeurIPS Ariel Data Challenges 2024 and 2025 on Kaggle.
Arrays are (planet, wavelength); wavelength 0 is FGS1, the others are AIRS. Spectra are transit depths, (Rp/Rs)². An answer is a
mean and a standard deviation sigma for every element; the naive answer has the mean and standard deviation of all training labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ariel_lib.errors import SpectraMindError
from ariel_lib.instrument import FGS1_WAVELENGTH_WEIGHT

Array = np.ndarray
BOOTSTRAPS = 2000  # resamplings for a standard error


@dataclass(frozen=True)
class ScoreRule:
    """Parameters of one year's score.

    fgs1_weight    weight of wavelength 0; every other wavelength has weight 1
    fgs1_sigma     standard deviation of the perfect answer at wavelength 0
    airs_sigma     the same at every other wavelength
    element_wise   True: a ratio for each element, then their mean; False: one ratio of two sums
    """

    fgs1_weight: float
    fgs1_sigma: float
    airs_sigma: float
    element_wise: bool


RULES = {
    2024: ScoreRule(fgs1_weight=1.0, fgs1_sigma=1e-5, airs_sigma=1e-5, element_wise=False),
    2025: ScoreRule(fgs1_weight=FGS1_WAVELENGTH_WEIGHT, fgs1_sigma=1e-6, airs_sigma=1e-5, element_wise=True),
}


def column_weights(n_wavelengths: int, year: int = 2025) -> Array:
    """Weight of each wavelength in the score, (wavelength,). Raises SpectraMindError for another year than 2024 or 2025."""
    return np.concatenate([[_rule(year).fgs1_weight], np.ones(n_wavelengths - 1)])


def perfect_sigma(n_wavelengths: int, year: int = 2025) -> Array:
    """Standard deviation σ_true of the answer that scores 1, (wavelength,), (Rp/Rs)². Raises SpectraMindError for an unknown year."""
    rule = _rule(year)
    return np.concatenate([[rule.fgs1_sigma], np.full(n_wavelengths - 1, rule.airs_sigma)])


def naive_statistics(labels: Array) -> tuple[float, float]:
    """Mean and population standard deviation over training labels (planet, wavelength), (Rp/Rs)²: the answer that scores 0."""
    return float(np.mean(labels)), float(np.std(labels))


def naive_answer(labels: Array) -> dict[str, float]:
    """naive_statistics as keyword arguments naive_mean and naive_sigma of the functions below."""
    return dict(zip(("naive_mean", "naive_sigma"), naive_statistics(labels), strict=True))


def log_likelihood(truth: Array, mean: Array, sigma: Array) -> Array:
    """Gaussian log density of each true value, in nats."""
    return -0.5 * np.log(2 * np.pi) - np.log(sigma) - 0.5 * ((truth - mean) / sigma) ** 2


def reference_gain(truth: Array, *, naive_mean: float, naive_sigma: float, year: int = 2025) -> Array:
    """Log-likelihood of the perfect minus that of the naive answer, (planet, wavelength), nats.

    The rule of 2025 divides each element by its own value, that of 2024 by the mean over all elements. Raises SpectraMindError for
    invalid truth and for a naive sigma that is not above the perfect one.
    """
    truth = _require_finite("truth", truth)
    best = perfect_sigma(truth.shape[1], year)
    if not (np.isfinite(naive_mean) and np.isfinite(naive_sigma) and naive_sigma > best.max()):
        raise SpectraMindError(
            f"naive answer: expected finite numbers and a sigma above the perfect one ({best.max():g}), found mean "
            f"{naive_mean} and sigma {naive_sigma}. Use naive_statistics(training labels)."
        )
    gain = log_likelihood(truth, truth, best) - log_likelihood(truth, naive_mean, naive_sigma)
    return gain if _rule(year).element_wise else np.full_like(gain, gain.mean())


def gll_gain(
    truth: Array, mean: Array, sigma: Array, *, naive_mean: float, naive_sigma: float, year: int = 2025
) -> Array:
    """Gain of each element over the naive answer, (planet, wavelength): 0 = naive, 1 = perfect, unbounded below.

    Its mean, weighted by `column_weights`, is the unclipped score. Raises the errors of `score`.
    """
    truth, mean, sigma = _require_prediction(truth, mean, sigma)
    if mean.min() < 0:
        raise SpectraMindError(f"mean: expected no negative values, which the challenge rejects, found {mean.min():g}")
    reference = reference_gain(truth, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year)
    return (log_likelihood(truth, mean, sigma) - log_likelihood(truth, naive_mean, naive_sigma)) / reference


def unclipped_score(
    truth: Array, mean: Array, sigma: Array, *, naive_mean: float, naive_sigma: float, year: int = 2025
) -> float:
    """The score before it is clipped to [0, 1]; unlike `score` it ranks answers below the naive one. Arguments and errors of `score`."""
    gain = gll_gain(truth, mean, sigma, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year)
    return float(np.average(gain.mean(axis=0), weights=column_weights(gain.shape[1], year)))


def score(truth: Array, mean: Array, sigma: Array, *, naive_mean: float, naive_sigma: float, year: int = 2025) -> float:
    """The challenge's score, in [0, 1], higher is better.

    truth, mean, sigma       (planet, wavelength)
    naive_mean, naive_sigma  scalars over all training labels: their mean and standard deviation
    year                     2024 or 2025, whose rules differ

    Source: the evaluation page of the NeurIPS Ariel Data Challenge 2025. Raises SpectraMindError for arrays of different shapes, NaN,
    negative depths and sigmas that are not positive.

    >>> import numpy as np
    >>> from ariel_lib import score
    >>> truth = np.random.default_rng(0).uniform(0.005, 0.02, (20, 283))
    >>> naive = {"naive_mean": truth.mean(), "naive_sigma": truth.std()}
    >>> round(score(truth, truth + 1e-4, np.full_like(truth, 1e-4), **naive), 3)
    0.546
    """
    raw = unclipped_score(truth, mean, sigma, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year)
    return float(np.clip(raw, 0.0, 1.0))


def negative_log_likelihood(truth: Array, mean: Array, sigma: Array, *, weights: Array | None = None) -> float:
    """Mean negative Gaussian log-likelihood of the elements, nats, lower is better.

    weights  (wavelength,) or (planet, wavelength); None: equal

    Raises SpectraMindError for arrays of different shapes, NaN and sigmas that are not positive, as the functions below.
    """
    truth, mean, sigma = _require_prediction(truth, mean, sigma)
    loss = -log_likelihood(truth, mean, sigma)
    return float(np.average(loss, weights=None if weights is None else np.broadcast_to(weights, loss.shape)))


def mae(truth: Array, mean: Array) -> float:
    """Mean absolute error, (Rp/Rs)²."""
    truth, mean = _require_pair(truth, mean)
    return float(np.mean(np.abs(mean - truth)))


def rmse_ppm(truth: Array, mean: Array) -> float:
    """Root-mean-square error of the depth, ppm of the stellar flux."""
    truth, mean = _require_pair(truth, mean)
    return float(1e6 * np.sqrt(np.mean((mean - truth) ** 2)))


def coverage(truth: Array, mean: Array, sigma: Array, level: float) -> float:
    """Fraction of elements whose true value lies inside the central Gaussian interval of probability `level`, between 0 and 1."""
    if not 0 < level < 1:
        raise SpectraMindError(f"coverage level: expected a number between 0 and 1, found {level}")
    truth, mean, sigma = _require_prediction(truth, mean, sigma)
    half_width = NormalDist().inv_cdf(0.5 * (1 + level))
    return float(np.mean(np.abs(truth - mean) <= half_width * sigma))


def z_scores(truth: Array, mean: Array, sigma: Array) -> Array:
    """Residuals in units of their stated standard deviation, (truth − mean) / sigma, (planet, wavelength)."""
    truth, mean, sigma = _require_prediction(truth, mean, sigma)
    return (truth - mean) / sigma


def z_statistics(truth: Array, mean: Array, sigma: Array) -> dict[str, float]:
    """Mean and rms of the z scores. Calibrated sigmas have rms 1; an rms above 1 means that they are too small."""
    z = z_scores(truth, mean, sigma)
    return {
        "z_mean": float(z.mean()),
        "z_rms": float(np.sqrt(np.mean(z**2))),
        "z_rms_fgs1": float(np.sqrt(np.mean(z[:, 0] ** 2))),
        "z_rms_airs": float(np.sqrt(np.mean(z[:, 1:] ** 2))),
    }


def summary(
    truth: Array, mean: Array, sigma: Array, *, naive_mean: float, naive_sigma: float, year: int = 2025
) -> dict[str, float]:
    """All figures of one evaluation, JSON-able. Higher is better for `score`, lower for `nll`, `mae` and `rmse_ppm`."""
    z = z_statistics(truth, mean, sigma)
    return {
        "score": score(truth, mean, sigma, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year),
        "nll": negative_log_likelihood(truth, mean, sigma),
        "mae": mae(truth, mean),
        "rmse_ppm": rmse_ppm(truth, mean),
        "coverage_80": coverage(truth, mean, sigma, 0.80),
        "coverage_90": coverage(truth, mean, sigma, 0.90),
        "z_rms": z["z_rms"],
        "z_rms_fgs1": z["z_rms_fgs1"],
        "z_rms_airs": z["z_rms_airs"],
        "n_planets": float(np.shape(truth)[0]),
    }


def planet_scores(truth: Array, answers: Mapping[str, tuple[Array, Array]], naive: Mapping[str, float]) -> dict[str, Array]:
    """Each planet's term of the 2025 score, name → (planet,); the mean over planets is the unclipped score.

    truth    (planet, wavelength)
    answers  name → mean and sigma, both (planet, wavelength)
    naive    naive_answer of the training labels
    """
    weights = column_weights(truth.shape[1])
    return {name: np.average(gll_gain(truth, *answer, **naive), axis=1, weights=weights) for name, answer in answers.items()}


def bootstrap_error(values: Array) -> float:
    """Bootstrap standard error of the mean of values (planet,) (Efron 1979)."""
    drawn = np.random.default_rng(0).integers(len(values), size=(BOOTSTRAPS, len(values)))
    return float(values[drawn].mean(axis=1).std())


def _rule(year: int) -> ScoreRule:
    if year not in RULES:
        raise SpectraMindError(f"year of the score: expected one of {sorted(RULES)}, found {year}")
    return RULES[year]


def _require_finite(name: str, values: Array) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise SpectraMindError(
            f"{name}: expected (planet, wavelength) with FGS1 and at least one AIRS wavelength, found shape {values.shape}"
        )
    if not np.isfinite(values).all():
        planet, wavelength = np.argwhere(~np.isfinite(values))[0]
        raise SpectraMindError(f"{name}: expected finite values, found {values[planet, wavelength]} at [{planet}, {wavelength}]")
    return values


def _require_pair(truth: Array, mean: Array) -> tuple[Array, Array]:
    truth, mean = _require_finite("truth", truth), _require_finite("mean", mean)
    if truth.shape != mean.shape:
        raise SpectraMindError(f"truth and mean: expected equal shapes, found {truth.shape} and {mean.shape}")
    return truth, mean


def _require_prediction(truth: Array, mean: Array, sigma: Array) -> tuple[Array, Array, Array]:
    truth, mean = _require_pair(truth, mean)
    sigma = _require_finite("sigma", sigma)
    if sigma.shape != mean.shape:
        raise SpectraMindError(f"mean and sigma: expected equal shapes, found {mean.shape} and {sigma.shape}")
    if sigma.min() <= 0:
        raise SpectraMindError(f"sigma: expected positive values, found {sigma.min():g}")
    return truth, mean, sigma
