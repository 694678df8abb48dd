"""Temperature scaling: factors on sigma that maximise the challenge's score.

The unclipped score is Σ w_ij (−log(k σ_ij) − z_ij² / 2k²) + constant, z = (truth − mean) / σ, with w = column weight over the
reference gain of the element. It is maximal at k² = Σ w z² / Σ w; with equal weights this is temperature scaling (Guo et al.
2017, arXiv:1706.04599) of a Gaussian. k is one number, one per instrument, per instrument and noise regime, or per bin.
Arrays are (planet, wavelength), wavelength 0 = FGS1.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from ariel_lib.errors import SpectraMindError
from ariel_lib.metrics import column_weights, reference_gain, unclipped_score, z_scores

Array = np.ndarray

KINDS = ("global", "instrument", "regime", "bin")
SHRINKAGE_PLANETS = 30.0
FOLDS = 5
REGIMES = 3  # noise regimes: classes of planets by median AIRS sigma


@dataclass(frozen=True)
class Temperature:
    """Factors on sigma.

    scales     one row per noise regime; a row holds (FGS1, AIRS) or one factor per wavelength
    edges      median AIRS sigmas between the regimes, ascending, one fewer than rows
    overall    best single factor for all elements
    n_planets  number of planets in the fit
    kind       one of KINDS

    Raises SpectraMindError for an unknown kind, inconsistent rows and edges, or factors that are not finite and positive.
    """

    scales: tuple[tuple[float, ...], ...] = ((1.0, 1.0),)
    edges: tuple[float, ...] = ()
    overall: float = 1.0
    n_planets: int = 0
    kind: str = "instrument"

    def __post_init__(self):
        if self.kind not in KINDS:
            raise SpectraMindError(f"temperature kind: expected one of {', '.join(KINDS)}, found {self.kind!r}")
        if len(self.edges) != len(self.scales) - 1 or len({len(row) for row in self.scales}) != 1:
            raise SpectraMindError(
                f"temperature: expected rows of scales of one length, one more than edges, found {len(self.scales)} rows "
                f"and {len(self.edges)} edges"
            )
        values = np.concatenate([np.ravel(self.scales), [self.overall]])
        if not (np.isfinite(values) & (values > 0)).all():
            raise SpectraMindError(f"temperature scales: expected finite and positive; found {values[~(values > 0)][:1]}")

    def apply(self, sigma: Array) -> Array:
        """Calibrated standard deviations, same shape (..., wavelength)."""
        rows = np.asarray(self.scales)
        if rows.shape[1] == 2:
            rows = np.repeat(rows, [1, np.shape(sigma)[-1] - 1], axis=1)
        return sigma * rows[np.searchsorted(self.edges, noise_level(sigma))]

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Temperature":
        """Inverse of to_dict, also after JSON. Raises SpectraMindError for unknown or missing keys."""
        expected = set(cls.__dataclass_fields__)
        if set(values) != expected:
            raise SpectraMindError(f"stored temperature: expected the keys {sorted(expected)}, found {sorted(values)}")
        rows = tuple(tuple(row) for row in values["scales"])
        return cls(**{**values, "scales": rows, "edges": tuple(values["edges"])})


def noise_level(sigma: Array) -> Array:
    """Median AIRS sigma of each planet, (...), by which noise regimes are defined; sigma (..., wavelength)."""
    return np.median(np.asarray(sigma)[..., 1:], axis=-1)


def fit_temperature(
    mean: Array,
    sigma: Array,
    truth: Array,
    *,
    naive_mean: float,
    naive_sigma: float,
    year: int = 2025,
    kind: str = "instrument",
    shrinkage_planets: float = SHRINKAGE_PLANETS,
    prior_strength: float = 0.0,
) -> Temperature:
    """Fit the factors that maximise the score on planets that were not used to train the model.

    mean, sigma, truth       (planet, wavelength)
    naive_mean, naive_sigma  of all training labels, which define the score; year: 2024 or 2025
    kind                     one of KINDS
    shrinkage_planets        n0 of the shrinkage to the overall factor k: k_j² ← (n k_j² + n0 k²) / (n + n0), n planets; 0: none
    prior_strength           m of the shrinkage of the overall factor to 1: k² ← (n k² + m) / (n + m), for few planets whose sigmas
                             are nearly calibrated; 0: none

    Raises SpectraMindError for an unknown kind, negative strengths or inconsistent shapes.
    """
    z2 = z_scores(truth, mean, sigma) ** 2
    for name, value in (("shrinkage_planets", shrinkage_planets), ("prior_strength", prior_strength)):
        if not value >= 0:
            raise SpectraMindError(f"{name}: expected zero or more, found {value}")
    if kind not in KINDS:
        raise SpectraMindError(f"temperature kind: expected one of {', '.join(KINDS)}, found {kind!r}")
    weights = score_weights(truth, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year)
    found = float(np.sum(weights * z2) / np.sum(weights))
    overall = (len(z2) * found + prior_strength) / (len(z2) + prior_strength)
    z2 = z2 * (overall / found if found > 0 else 1.0)

    def shrunk(planets: Array) -> tuple[float, ...]:
        n = np.count_nonzero(planets)
        share = n / (n + shrinkage_planets) if n else 0.0
        weighted, total = (weights * z2)[planets].sum(axis=0), weights[planets].sum(axis=0)
        if kind != "bin":
            weighted, total = (np.array([column[0], column[1:].sum()]) for column in (weighted, total))
        fitted = np.divide(weighted, total, out=np.full(len(total), overall), where=total > 0)
        return tuple(np.sqrt(share * fitted + (1 - share) * overall).tolist())

    if kind == "global":
        return Temperature(((float(np.sqrt(overall)),) * 2,), (), float(np.sqrt(overall)), len(z2), kind)
    level = noise_level(sigma)
    edges = np.quantile(level, np.arange(1, REGIMES) / REGIMES) if kind == "regime" else np.zeros(0)
    regime = np.searchsorted(edges, level)
    rows = tuple(shrunk(regime == row) for row in range(len(edges) + 1))
    return Temperature(rows, tuple(edges.tolist()), float(np.sqrt(overall)), len(z2), kind)


def score_weights(truth: Array, *, naive_mean: float, naive_sigma: float, year: int = 2025) -> Array:
    """Weight w of each element's log-likelihood in the score, up to a common factor, (planet, wavelength)."""
    reference = reference_gain(truth, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year)
    return column_weights(reference.shape[1], year) / reference


def folds_of_planets(n_planets: int, folds: int) -> Iterator[tuple[Array, Array]]:
    """Cross-validation folds as masks (planet,) of training and test planets; every planet is tested once."""
    for fold in range(min(folds, n_planets)):
        tested = np.arange(n_planets) % folds == fold
        yield ~tested, tested


def cross_validated_scores(
    fits: dict[str, Callable], mean: Array, sigma: Array, truth: Array, *, folds: int = FOLDS, **rule
) -> dict[str, Array]:
    """Score on planets that each fit has not seen, (fold,), by name.

    fits   name → function(mean, sigma, truth, **rule) of an object whose apply(sigma) calibrates
    rule   naive_mean, naive_sigma and year
    """
    found = {name: [] for name in fits}
    for seen, judged in folds_of_planets(len(truth), folds):
        for name, fit in fits.items():
            fitted = fit(mean[seen], sigma[seen], truth[seen], **rule)
            found[name].append(unclipped_score(truth[judged], mean[judged], fitted.apply(sigma[judged]), **rule))
    return {name: np.array(values) for name, values in found.items()}


def choose_temperature(mean: Array, sigma: Array, truth: Array, *, folds: int = FOLDS, **rule) -> Temperature:
    """The kind that cross-validation over planets prefers, fitted on all of them.

    Kinds are tried from the simplest; a richer one must beat the best before it by more than the standard error of their
    difference over the folds. Fewer than two planets a fold: the global factor.
    """
    chosen = KINDS[0]
    if len(truth) >= 2 * folds:
        fits = {kind: partial(fit_temperature, kind=kind) for kind in KINDS}
        scores = cross_validated_scores(fits, mean, sigma, truth, folds=folds, **rule)
        for kind in KINDS[1:]:
            gain = scores[kind] - scores[chosen]
            if gain.mean() > gain.std(ddof=1) / np.sqrt(folds):
                chosen = kind
    return fit_temperature(mean, sigma, truth, kind=chosen, **rule)
