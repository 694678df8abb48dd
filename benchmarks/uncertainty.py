"""What each way of calibrating sigmas is worth, and whether it keeps its promise.

    python benchmarks/uncertainty.py --labels LABELS.csv [--exosim FOLDER --planets 500 --splits 10 --seed 6]

Means and sigmas: V50's closed form, the transit fit with its library of the labels that no planet has, on simulated visits of
full length, K 6 to 11. A split takes half of the planets to calibrate, the other half to judge.
Score: intervals at 80 % become sigmas, then the temperature of the same calibration planets. Coverage: marginal = bins,
joint = whole spectra inside. Errors: standard deviation over the splits; splits share planets, so the error of one split is
given, not that of their mean. COREL and ridge train on one half of the calibration planets and calibrate on the other.
Errors of a planet's bins go together, so that one planet's coverage says little: for the ExoSim planet `no_more_…` is the
share of judged simulated planets that are covered no better than it. Below 0.05 would speak against the sigmas.
Prints one JSON and writes it to OUT/uncertainty.json.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ariel_lib.io.archive import Archive
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import StorageError, load_arrays, save_arrays, write_atomically
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import naive_answer, unclipped_score
from ariel_lib.models.features import scale_of
from ariel_lib.pipeline.planet_fits import PlanetFit, fit_planets
from ariel_lib.priors.scale_height import scale_height_depth
from ariel_lib.priors.spectral_library import SpectralLibrary, fit_spectral_library
from ariel_lib.simulator.dataset import read_labels, simulate_dataset
from ariel_lib.transit.population.nuisance_prior import NuisancePrior, fit_nuisance_prior
from ariel_lib.uncertainty.conformal import (
    JOINT,
    MARGINAL,
    Intervals,
    brightness_classes,
    conformal_quantile,
    coverage_table,
    normal_half_width,
    sigma_of,
)  # fmt: skip
from ariel_lib.uncertainty.corel import corel_features, halves, train_corel
from ariel_lib.uncertainty.temperature import fit_temperature, noise_level

LEVELS = (0.80, 0.90)
FIELDS = ("mean", "sigma", "truth", "depth", "depth_sigma", "sigma_uncorrelated")
CLASSES = 3  # of brightness, by the planet's median AIRS sigma
RIDGE = 30.0


@dataclass(frozen=True)
class Planets:
    """Arrays (planet, wavelength) by name, as FIELDS lists them, and brightness classes (planet,)."""

    arrays: dict[str, np.ndarray]
    groups: np.ndarray

    def __getattr__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def features(self) -> np.ndarray:
        return corel_features(*(self.arrays[n] for n in ("mean", "sigma", "depth", "depth_sigma", "sigma_uncorrelated")))

    def take(self, rows: np.ndarray) -> "Planets":
        return Planets({name: array[rows] for name, array in self.arrays.items()}, self.groups[rows])


@dataclass(frozen=True)
class Answer:
    """Intervals of new planets by level, for the marginal or for the joint promise, and sigmas for the score."""

    intervals: dict[float, Intervals]
    sigma: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="csv of spectra to draw from")
    parser.add_argument("--exosim", type=Path, help="folder of frames that another simulator made, with train.csv")
    parser.add_argument("--planets", type=int, default=500)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("build/uncertainty"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        planets, naive, population = make_planets(options)
        table, covered = compare(planets, options.splits, naive)
        result = {"planets": len(planets.mean), "wavelengths": planets.mean.shape[1]} | table
        if options.exosim:
            result["exosim"] = judge_exosim(options, planets, naive, population, covered)
    print(json.dumps(result, indent=1))
    write_atomically(options.out / "uncertainty.json", json.dumps(result, indent=1).encode())


def make_planets(options) -> tuple[Planets, dict, NuisancePrior]:
    """Simulate and fit unless it is done; the library and the naive answer come from labels that no planet has."""
    data, kept = options.out / "data", options.out / "planets.safetensors"
    try:
        arrays, text = load_arrays(kept)
    except StorageError:
        n = options.planets
        simulate_dataset(data, n_planets=n, n_test=n, seed=options.seed, size="full", labels=options.labels, level="lightcurves")
        planet_fits = fit_planets(Dataset(data, scratch=options.out), workers=2)
        population = fit_nuisance_prior([o.estimate for o in planet_fits.fits.values()])
        fits = planet_fits.conditioned_on(population).fits
        truth, (others, library) = read_spectra(data / "test.csv").of(fits), other_labels(options)
        arrays = {"truth": truth, "population": population.covariance} | answer(list(fits.values()), library)
        text = {"naive": json.dumps(naive_answer(others))}
        save_arrays(kept, arrays, text)
    population = NuisancePrior(arrays.pop("population"))
    return Planets(arrays, classes_of(arrays["sigma"], arrays["sigma"])), json.loads(text["naive"]), population


def other_labels(options) -> tuple[np.ndarray, SpectralLibrary]:
    """The labels that no simulated planet has, (planet, wavelength), and the library of them."""
    own = {row.tobytes() for row in np.round(read_spectra(options.out / "data" / "test.csv").depth, 12)}
    labels = read_labels(options.labels)
    rows = [n for n, row in enumerate(np.round(labels.spectra.depth, 12)) if row.tobytes() not in own]
    depth = labels.spectra.depth[rows]
    scale = np.array([scale_height_depth(labels.stars[n], white) for n, white in zip(rows, depth[:, 1:].mean(axis=1))])
    return depth, fit_spectral_library(depth, Archive(options.out / "data").wavelengths(), scale)


def answer(fits: list[PlanetFit], library: SpectralLibrary) -> dict[str, np.ndarray]:
    found = {name: [] for name in FIELDS if name != "truth"}
    for planet_fit in fits:
        estimate = planet_fit.estimate
        recalled = library.conditioned_on(estimate.covariance, scale_of(planet_fit.star, estimate)).moments(estimate.depth[None])
        mean, sigma = np.maximum(recalled[0][0], 0.0), recalled[1][0]
        for name, row in zip(found, (mean, sigma, estimate.depth, estimate.sigma, estimate.sigma_uncorrelated)):
            found[name].append(row)
    return {name: np.array(rows) for name, rows in found.items()}


def classes_of(sigma: np.ndarray, calibration_sigma: np.ndarray) -> np.ndarray:
    edges = np.quantile(noise_level(calibration_sigma), np.arange(1, CLASSES) / CLASSES)
    return brightness_classes(noise_level(sigma), edges)


# Each method: (calibration planets, new planets, naive) → Answer


def scaled(fit: Callable | None, seen: Planets, new: Planets, naive: dict) -> Answer:
    """Sigmas as they are (fit None) or scaled; Gaussian intervals."""
    sigma = new.sigma if fit is None else fit(seen.mean, seen.sigma, seen.truth, **naive).apply(new.sigma)
    return Answer({level: within(new.mean, normal_half_width(level) * sigma, level) for level in LEVELS}, sigma)


def widened(promise: str, seen: Planets, new: Planets, naive: dict) -> Answer:
    """Split conformal: sigmas times a quantile of the calibration planets' scores, a bin or a box."""
    factors = {level: widening(seen, seen.sigma, level, promise) for level in LEVELS}
    at = {level: within(new.mean, factor * new.sigma, level, promise) for level, factor in factors.items()}
    known = within(seen.mean, factors[0.80] * seen.sigma, 0.80, promise)
    return Answer(at, tempered(known, at[0.80], seen, new, naive))


def ridge(seen: Planets, new: Planets, naive: dict) -> Answer:
    """Log variance linear in the features, then split conformal: the simple head that COREL has to beat."""
    learn, rest = (seen.take(rows) for rows in halves(len(seen.mean), 0))
    beta = fit_log_variance(design(learn.features), ((learn.truth - learn.mean) / learn.sigma) ** 2)
    rest_sigma, sigma = (p.sigma * np.exp(0.5 * design(p.features) @ beta) for p in (rest, new))
    return Answer(
        {level: within(new.mean, widening(rest, rest_sigma, level) * sigma, level) for level in LEVELS},
        fit_temperature(rest.mean, rest_sigma, rest.truth, **naive).apply(sigma),
    )


def widening(seen: Planets, sigma: np.ndarray, level: float, promise: str = MARGINAL) -> np.ndarray:
    """Half-widths in sigmas that cover planets at a level: of each bin, (wavelength,), or of all bins at once."""
    scores = np.abs((seen.truth - seen.mean) / sigma)
    return conformal_quantile(scores if promise == MARGINAL else scores.max(axis=1), level)


def within(mean: np.ndarray, half: np.ndarray, level: float, promise: str = MARGINAL) -> Intervals:
    return Intervals(mean - half, mean + half, level, promise)


def corel(promise: str, seen: Planets, new: Planets, naive: dict) -> Answer:
    rest = seen.take(halves(len(seen.mean), 0)[1])
    trained = train_corel(seen.features, seen.mean, seen.sigma, seen.truth, level=0.80)
    at, known = {}, None
    for level in LEVELS:
        fitted = trained.recalibrated(rest.features, rest.mean, rest.sigma, rest.truth, level)
        at[level] = fitted.intervals(new.features, new.mean, new.sigma, promise)
        known = known or fitted.intervals(rest.features, rest.mean, rest.sigma, promise)
    return Answer(at, tempered(known, at[0.80], rest, new, naive))


METHODS = {
    "raw": partial(scaled, None),
    "temperature": partial(scaled, fit_temperature),
    "conformal": partial(widened, MARGINAL),
    "ridge, conformal": ridge,
    "corel": partial(corel, MARGINAL),
    "largest score (joint)": partial(widened, JOINT),
    "corel (joint)": partial(corel, JOINT),
}


def compare(planets: Planets, splits: int, naive: dict) -> tuple[dict, dict]:
    """Per method: score, marginal and joint coverage at each level, in all and by brightness class; mean and spread. And, by
    method and level, the share of bins covered of every judged planet in every split."""
    found, seconds = {name: [] for name in METHODS}, dict.fromkeys(METHODS, 0.0)
    covered = {name: {level: [] for level in LEVELS} for name in METHODS}
    for split in range(splits):
        order = np.random.default_rng([6, split]).permutation(len(planets.mean))
        seen, new = planets.take(order[: len(order) // 2]), planets.take(order[len(order) // 2 :])
        for name, method in METHODS.items():
            start = time.perf_counter()
            said = method(seen, new, naive)
            found[name].append(judge(said, new, naive))
            seconds[name] += (time.perf_counter() - start) / splits
            for level, intervals in said.intervals.items():
                covered[name][level] += intervals.hits(new.truth).mean(axis=1).tolist()
    table = {name: {key: spread([row[key] for row in rows]) for key in rows[0]} for name, rows in found.items()}
    pairs = [[a["score"] - b["score"] for a, b in zip(found["corel"], found[other])] for other in METHODS]
    result = {
        "splits": splits,
        "judged_a_split": len(planets.mean) - len(planets.mean) // 2,
        "methods": table,
        "corel_score_minus": {other: spread(gains) for other, gains in zip(METHODS, pairs) if other != "corel"},
        "seconds_a_split": {name: round(s, 2) for name, s in seconds.items()},
    }
    return result, covered


def judge(said: Answer, new: Planets, naive: dict) -> dict[str, float]:
    row = {"score": unclipped_score(new.truth, new.mean, said.sigma, **naive)}
    for level, intervals in said.intervals.items():
        table = coverage_table(intervals, new.truth, new.groups)
        row |= {f"marginal_{level:.0%}": table["marginal"], f"joint_{level:.0%}": table["joint"]}
        row[f"width_{level:.0%}_ppm"] = table["median_width_ppm"]
        for group, values in table["groups"].items():
            row |= {f"{kind}_{level:.0%}_class_{group}": values[kind] for kind in (MARGINAL, JOINT)}
    return row


def judge_exosim(options, planets: Planets, naive: dict, population: NuisancePrior, covered: dict) -> dict:
    """All simulated planets calibrate, the ExoSim planet is judged: coverage of its bins, and its rank among simulated ones."""
    dataset = Dataset(options.exosim, "train", scratch=options.out / "exosim")
    fits = fit_planets(dataset).conditioned_on(population).fits
    truth = read_spectra(options.exosim / "train.csv").of(fits)
    arrays = answer(list(fits.values()), other_labels(options)[1])
    new, table = Planets({"truth": truth} | arrays, classes_of(arrays["sigma"], planets.sigma)), {}
    for name, method in METHODS.items():
        table[name] = judge(method(planets, new, naive), new, naive)
        for level, shares in covered[name].items():
            table[name][f"no_more_{level:.0%}"] = round(float(np.mean(np.array(shares) <= table[name][f"marginal_{level:.0%}"])), 4)
    return table


def spread(values: list[float]) -> list[float]:
    """Mean and standard deviation."""
    return [round(float(np.mean(values)), 4), round(float(np.std(values, ddof=1)), 4)]


def tempered(known: Intervals, intervals: Intervals, seen: Planets, new: Planets, naive: dict) -> np.ndarray:
    """Widths to sigmas, times the temperature that the same widths need on planets with known truth."""
    kept = fit_temperature(seen.mean, sigma_of(known, seen.sigma), seen.truth, **naive)
    return kept.apply(sigma_of(intervals, new.sigma))


def design(features: np.ndarray) -> np.ndarray:
    """(planet, wavelength, column): features, their squares, and a constant, each apart for FGS1 and AIRS."""
    columns = np.concatenate([np.ones_like(features[..., :1]), features, features**2], axis=-1).astype(float)
    fgs1 = (np.arange(features.shape[1]) == 0)[:, None]
    return np.concatenate([columns * ~fgs1, columns * fgs1], axis=-1)


def fit_log_variance(x: np.ndarray, z2: np.ndarray, rounds: int = 25) -> np.ndarray:
    """β of log variance = x β by Newton's method on the Gaussian likelihood of z² (planet, wavelength), with a ridge."""
    x, z2 = x.reshape(-1, x.shape[-1]), np.minimum(z2.ravel(), 25.0)
    beta = np.zeros(x.shape[1])
    for _ in range(rounds):
        ratio = z2 * np.exp(-x @ beta)
        gradient = x.T @ (ratio - 1) / 2 - RIDGE * beta
        hessian = (x * ratio[:, None]).T @ x / 2 + RIDGE * np.eye(len(beta))
        step = np.linalg.solve(hessian, gradient)
        beta = beta + step / max(1.0, np.abs(x @ step).max())
    return beta


if __name__ == "__main__":
    main()
