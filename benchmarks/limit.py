"""How close the transit fit comes to what the photons allow, on simulated planets.

    python benchmarks/limit.py --labels LABELS.csv [--planets 200 --frames 20 --seed 4 --baselines 3]

likelihood  the transit fit alone
posterior   with how large drifts are and how far orbits lie from the catalogue, learned from these light curves, and the
            spectral prior, learned from the labels that none of these planets has
oracle      knows orbit, limb darkening, drift and noise exactly, measures the same light curves, and has a prior fitted on
            all labels, these planets' own among them: more than any honest method can know
oracle_but_drift, ideal_fit  know less, as ariel_lib/evaluation/oracle.py says, and have the same prior
bound       Cramér–Rao: the depths' covariance with the same parameters free under the same priors, at the truth, with the
            simulator's own noise (photons, reads, and a gain that scatters for all wavelengths together)

Spectra are drawn from LABELS; stars from K 6 to 11. --frames planets go through raw toy frames and calibration (K 6 to 8).
Prints one JSON and writes it to build/limit/limit.json.
"""

import argparse
import json
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import batman
import numpy as np
from scipy.optimize import least_squares
from scipy.stats import chi2, kstest
from threadpoolctl import threadpool_limits

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.visits import calibrate_split
from ariel_lib.evaluation.oracle import ORACLES, Nuisances, Truth, limits, read_nuisances, true_problem
from ariel_lib.io.archive import Archive
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Star, light_curves_path, list_light_curves
from ariel_lib.io.light_curves import LightCurves, load_light_curves
from ariel_lib.io.storage import write_atomically
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import naive_answer, summary
from ariel_lib.priors.gaussian import Posterior, fit_prior
from ariel_lib.simulator.dataset import simulate_dataset
from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.population.nuisance_prior import fit_nuisance_prior
from ariel_lib.transit.result import DepthEstimate
from ariel_lib.transit.segments import make_segments


@dataclass(frozen=True)
class Measured:
    """One planet: its fit, the bound's standard deviations, depth and covariance of each oracle, seconds a visit."""

    estimate: DepthEstimate
    bound: np.ndarray
    oracles: dict[str, tuple[np.ndarray, np.ndarray]]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="csv of spectra to draw from")
    parser.add_argument("--planets", type=int, default=200, help="light curves of full length")
    parser.add_argument("--frames", type=int, default=20, help="raw toy frames; 0: none")
    parser.add_argument("--baselines", type=int, default=3, help="planets fitted by batman and scipy too, for the time")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("build/limit"))
    options = parser.parse_args()
    result = {}
    for name, count, size, level in (
        ("light_curves", options.planets, "full", "lightcurves"),
        ("frames", options.frames, "toy", "frames"),
    ):
        if count:
            data = options.out / name
            simulate_dataset(
                data, n_planets=count, n_test=count, seed=options.seed, size=size, labels=options.labels, level=level
            )
            result[name] = examine(data, level, options.labels)
    if options.baselines and options.planets:
        result["batman_and_scipy"] = time_rival(options.out / "light_curves", options.baselines)
    result["peak_mb"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)
    print(json.dumps(result, indent=1))
    write_atomically(options.out / "limit.json", json.dumps(result, indent=1).encode())


def examine(data: Path, level: str, labels_csv: Path) -> dict:
    """All figures of one data set."""
    folder = data / "lightcurves"
    if level == "frames":
        calibrate_split(Dataset(data, light_curves=folder), CalibrationSettings(), workers=2)
    planets = list(list_light_curves(folder, "test"))
    truth, labels = read_spectra(data / "test.csv").of(planets), read_spectra(labels_csv).depth
    dataset = Dataset(data)
    recorded = Truth.read(data, "test")
    task = partial(measure, dataset, recorded, read_nuisances(dataset, recorded))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        measured = list(pool.map(task, planets))
    wavelength = Archive(data).wavelengths()
    own = {row.tobytes() for row in np.round(truth, 12)}
    others = np.array([row for row in labels if np.round(row, 12).tobytes() not in own])
    prior, full = fit_prior(others, wavelength), fit_prior(labels, wavelength)
    estimates = [m.estimate for m in measured]
    population = fit_nuisance_prior(estimates)
    given = [population.condition(e) for e in estimates]
    answers = {
        "likelihood": [(e.depth, e.sigma) for e in estimates],
        "posterior": [_both(prior.posterior(e.depth, e.covariance)) for e in given],
    } | {name: [_both(full.posterior(*m.oracles[name])) for m in measured] for name in ORACLES}
    naive = naive_answer(others)
    figures = {}
    for name, answer in answers.items():
        mean, sigma = (np.array(column) for column in zip(*answer))
        figures[name] = summary(truth, np.maximum(mean, 0.0), sigma, **naive)
    ratio = np.array([m.estimate.sigma / m.bound for m in measured])
    return {
        "planets": len(planets), "labels_learned_from": len(others), "honesty": honesty(estimates, truth),
        "honesty_given_population": honesty(given, truth),
        "sigma_over_bound": {
            "fgs1_median": float(np.median(ratio[:, 0])), "airs_median": float(np.median(ratio[:, 1:])),
            "quantiles_5_95": [float(q) for q in np.quantile(ratio, (0.05, 0.95))],
        },
        "posterior_over": {name: figures["posterior"]["score"] / figures[name]["score"] for name in ORACLES},
        "answers": figures, "flags": _count(flag for e in estimates for flag in e.flags),
        "seconds_a_visit": {
            "median": float(np.median([m.seconds for m in measured])),
            "first_half": float(np.median([m.seconds for m in measured[: len(measured) // 2]])),
            "second_half": float(np.median([m.seconds for m in measured[len(measured) // 2 :]])),
        },
    }  # fmt: skip


def honesty(estimates: list[DepthEstimate], truth: np.ndarray) -> dict:
    """Whether depths scatter about the truth as their covariances say."""
    z = np.array([(e.depth - t) / e.sigma for e, t in zip(estimates, truth)])
    distance = [(e.depth - t) @ np.linalg.solve(e.covariance, e.depth - t) for e, t in zip(estimates, truth)]
    white = []
    for e, t in zip(estimates, truth):
        share = e.sigma_uncorrelated[1:] ** -2 / np.sum(e.sigma_uncorrelated[1:] ** -2)
        white.append(share @ (e.depth - t)[1:] / np.sqrt(share @ e.covariance[1:, 1:] @ share))
    n = len(z)
    return {
        "z_rms_fgs1": _rms(z[:, 0]), "z_rms_airs": _rms(z[:, 1:]), "z_rms_white": _rms(np.array(white)),
        "sampling_error_of_a_rms": 1 / np.sqrt(2 * n),
        "bias_fgs1": float(z[:, 0].mean()), "bias_airs": float(z[:, 1:].mean()), "bias_white": float(np.mean(white)),
        "mahalanobis_per_wavelength": float(np.mean(distance) / z.shape[1]),
        "mahalanobis_ks_p": float(kstest(distance, chi2(z.shape[1]).cdf).pvalue),
    }  # fmt: skip


def measure(dataset: Dataset, recorded: Truth, nuisances: Nuisances, planet: str) -> Measured:
    """Fit one planet, and ask what its light curves could have told."""
    with threadpool_limits(1):
        start = time.perf_counter()
        visits = dataset.light_curves(planet)
        estimate = estimate_depths(visits, dataset.star(planet), dataset.wavelengths)
        seconds = (time.perf_counter() - start) / len(visits)
        return Measured(estimate, *limits(true_problem(dataset, recorded, planet), nuisances), seconds)


def time_rival(data: Path, planets: int) -> dict:
    """Seconds a planet of the field's usual way, batman and least squares a wavelength, beside ours; first visits."""
    archive, folder = Archive(data), data / "lightcurves"
    wavelength, ours, theirs = archive.wavelengths(), [], []
    with threadpool_limits(1):
        for planet in list(list_light_curves(folder, "test"))[:planets]:
            visit, star = load_light_curves(light_curves_path(folder, "test", planet, 0)), archive.star("test", planet)
            start = time.perf_counter()
            estimate_depths([visit], star, wavelength)
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            fit_each_wavelength(visit, star, wavelength)
            theirs.append(time.perf_counter() - start)
    return {"seconds_theirs": float(np.median(theirs)), "seconds_ours": float(np.median(ours)),
            "ratio": float(np.median(theirs) / np.median(ours))}  # fmt: skip


def fit_each_wavelength(visit: LightCurves, star: Star, wavelength: np.ndarray) -> np.ndarray:
    """Depth of every wavelength by itself: batman at the catalogue's orbit, free u1, u2, level and cubic drift."""
    depth = []
    for segment in make_segments([visit], wavelength):
        parameters = batman.TransitParams()
        parameters.t0, parameters.per, parameters.a, parameters.inc = np.mean(segment.time), star.P * 24, star.sma, star.i
        parameters.rp, parameters.ecc, parameters.w, parameters.limb_dark, parameters.u = 0.1, 0.0, 90.0, "quadratic", [0.2, 0.2]
        model = batman.TransitModel(parameters, segment.time)

        def residual(x: np.ndarray, channel: int, segment=segment, parameters=parameters, model=model) -> np.ndarray:
            parameters.rp, parameters.u, parameters.t0 = x[0], [x[1], x[2]], x[3]
            expected = x[4] * (1 + segment.trend @ x[5:]) * model.light_curve(parameters)
            return (segment.flux[channel] - expected) * np.sqrt(segment.weight[channel])

        start = np.array([0.1, 0.2, 0.2, np.mean(segment.time), 1.0, 0.0, 0.0, 0.0])
        low = [0.001, 0, 0, segment.time[0], 0.5, -0.1, -0.1, -0.1]
        high = [0.5, 0.6, 0.4, segment.time[-1], 1.5, 0.1, 0.1, 0.1]
        for channel in range(len(segment.channels)):
            depth.append(least_squares(residual, start, bounds=(low, high), args=(channel,)).x[0] ** 2)
    return np.array(depth)


def _both(posterior: Posterior) -> tuple[np.ndarray, np.ndarray]:
    return posterior.mean, posterior.sigma


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _count(words) -> dict[str, int]:
    words = list(words)
    return {word: words.count(word) for word in sorted(set(words))}


if __name__ == "__main__":
    main()
