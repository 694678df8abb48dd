"""What each way of calibrating sigmas is worth, and whether it keeps its promise.

    python benchmarks/uncertainty.py --labels LABELS.csv [--exosim FOLDER --planets 500 --splits 10 --seed 6]

Means and sigmas: V50's closed form, the transit fit with its library of the labels that no planet has, on simulated visits of
full length, K 6 to 11. A split takes half of the planets to calibrate, the other half to judge.
Score: intervals at 80 % become sigmas, then the temperature of the same calibration planets. Coverage: marginal = bins,
joint = whole spectra inside. Errors: standard deviation over the splits; splits share planets, so the error of one split is
given, not that of their mean. COREL, ridge and cqr train on one half of the calibration planets and calibrate on the other.
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
from ariel_lib.uncertainty import conformal
from ariel_lib.uncertainty.conformal import Intervals, coverage_table, gaussian_intervals, sigma_of
from ariel_lib.uncertainty.corel import corel_features, halves, pinball_loss, train_corel
from ariel_lib.uncertainty.isotonic import fit_isotonic
from ariel_lib.uncertainty.temperature import choose_temperature, fit_temperature, noise_level

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
    """Intervals of new planets by level, for the marginal and for the joint promise, and sigmas for the score; joint_hit:
    whether a planet's spectrum lies in the joint set, where that is no box."""

    intervals: dict[float, Intervals]
    sigma: np.ndarray
    joint_hit: dict[float, np.ndarray] | None = None


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
        arrays = {"truth": truth, "population": population.variance} | answer(list(fits.values()), library)
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
    return conformal.brightness_classes(noise_level(sigma), edges)


# Each method: (calibration planets, new planets, naive) → Answer


def scaled(fit: Callable | None, seen: Planets, new: Planets, naive: dict) -> Answer:
    """Sigmas as they are (fit None) or scaled; Gaussian intervals."""
    sigma = new.sigma if fit is None else fit(seen.mean, seen.sigma, seen.truth, **naive).apply(new.sigma)
    return Answer({level: gaussian_intervals(new.mean, sigma, level) for level in LEVELS}, sigma)


def widened(fit: Callable, mondrian: bool, seen: Planets, new: Planets, naive: dict) -> Answer:
    """Split conformal a bin or a box, by brightness class or not."""
    groups, seen_groups = (new.groups, seen.groups) if mondrian else (None, None)
    widths = {level: fit(seen.mean, seen.sigma, seen.truth, level, seen_groups) for level in LEVELS}
    at = {level: w.intervals(new.mean, new.sigma, groups) for level, w in widths.items()}
    known = widths[0.80].intervals(seen.mean, seen.sigma, seen_groups)
    return Answer(at, tempered(known, at[0.80], seen, new, naive))


def ellipsoid(seen: Planets, new: Planets, naive: dict) -> Answer:
    sets = {level: conformal.mahalanobis(seen.mean, seen.sigma, seen.truth, level) for level in LEVELS}
    at = {level: s.intervals(new.mean, new.sigma) for level, s in sets.items()}
    hit = {level: s.contains(new.mean, new.sigma, new.truth) for level, s in sets.items()}
    return Answer(at, tempered(sets[0.80].intervals(seen.mean, seen.sigma), at[0.80], seen, new, naive), hit)


def ridge(seen: Planets, new: Planets, naive: dict) -> Answer:
    """Log variance linear in the features, then split conformal: the simple head that COREL has to beat."""
    learn, rest = (seen.take(rows) for rows in halves(len(seen.mean), 0))
    beta = fit_log_variance(design(learn.features), ((learn.truth - learn.mean) / learn.sigma) ** 2)
    rest_sigma, sigma = (p.sigma * np.exp(0.5 * design(p.features) @ beta) for p in (rest, new))
    widths = {level: conformal.split_conformal(rest.mean, rest_sigma, rest.truth, level) for level in LEVELS}
    return Answer(
        {level: w.intervals(new.mean, sigma) for level, w in widths.items()},
        fit_temperature(rest.mean, rest_sigma, rest.truth, **naive).apply(sigma),
    )


def cqr(seen: Planets, new: Planets, naive: dict) -> Answer:
    """Linear quantile regression on the features, then the conformal step a bin."""
    learn, rest = (seen.take(rows) for rows in halves(len(seen.mean), 0))
    at, known = {}, {}
    for level in LEVELS:
        beta = fit_quantiles(design(learn.features), (learn.truth - learn.mean) / learn.sigma, level)
        rest_at, new_at = (linear_intervals(p, beta, level) for p in (rest, new))
        at[level] = conformal.conformalise(new_at, rest_at, rest.truth, level)
        known[level] = conformal.conformalise(rest_at, rest_at, rest.truth, level)
    return Answer(at, tempered(known[0.80], at[0.80], rest, new, naive))


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
    "temperature, global": partial(scaled, partial(fit_temperature, kind="global")),
    "temperature, instrument": partial(scaled, partial(fit_temperature, kind="instrument")),
    "temperature, regime": partial(scaled, partial(fit_temperature, kind="regime")),
    "shrunk per bin": partial(scaled, partial(fit_temperature, kind="bin")),
    "chosen by cross-validation": partial(scaled, choose_temperature),
    "isotonic": partial(scaled, fit_isotonic),
    "conformal": partial(widened, conformal.split_conformal, False),
    "conformal, Mondrian": partial(widened, conformal.split_conformal, True),
    "cqr": cqr,
    "ridge, conformal": ridge,
    "corel": partial(corel, conformal.MARGINAL),
    "largest score (joint)": partial(widened, conformal.largest_score, False),
    "largest score, Mondrian (joint)": partial(widened, conformal.largest_score, True),
    "Mahalanobis (joint)": ellipsoid,
    "corel (joint)": partial(corel, conformal.JOINT),
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
        joint = table["joint"] if said.joint_hit is None else float(said.joint_hit[level].mean())
        row |= {f"marginal_{level:.0%}": table["marginal"], f"joint_{level:.0%}": joint}
        row[f"width_{level:.0%}_ppm"] = table["median_width_ppm"]
        for group, values in table["groups"].items():
            hits = values["joint"] if said.joint_hit is None else float(said.joint_hit[level][new.groups == int(group)].mean())
            row |= {f"marginal_{level:.0%}_class_{group}": values["marginal"], f"joint_{level:.0%}_class_{group}": hits}
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


def fit_quantiles(x: np.ndarray, z: np.ndarray, level: float, steps: int = 300) -> torch.Tensor:
    """β (column, 2) of the two quantiles that bound a central interval, by Adam on the pinball loss."""
    x, z = torch.from_numpy(x).float(), torch.from_numpy(z).float()
    quantiles = torch.tensor([0.5 * (1 - level), 0.5 * (1 + level)])
    beta = torch.zeros(x.shape[-1], 2)
    beta[0] = torch.special.ndtri(quantiles)
    beta[x.shape[-1] // 2] = beta[0]
    beta.requires_grad_()
    optimizer = torch.optim.Adam([beta], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        pinball_loss(x @ beta, z, quantiles).backward()
        optimizer.step()
    return beta.detach()


def linear_intervals(planets: Planets, beta: torch.Tensor, level: float) -> Intervals:
    edges = (torch.from_numpy(design(planets.features)).float() @ beta).double().numpy()
    low, high = edges.min(axis=-1), np.maximum(edges.max(axis=-1), edges.min(axis=-1) + 0.1)
    return Intervals(planets.mean + planets.sigma * low, planets.mean + planets.sigma * high, level, conformal.MARGINAL)


if __name__ == "__main__":
    main()
