"""How close the transit fit comes to what the photons allow, on simulated planets.

    python benchmarks/limit.py --labels LABELS.csv [--planets 200 --frames 20 --seed 4 --rivals 3]

likelihood  the transit fit alone
posterior   with how large drifts are, learned from these light curves, and the spectral prior, learned from the labels that
            none of these planets has
oracle      knows orbit, limb darkening, drift and noise exactly, measures the same light curves, and has a prior fitted on
            all labels, these planets' own among them: more than any honest method can know
but_drift   the same, but of drifts it knows the distribution only
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
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import batman
import numpy as np
from scipy.linalg import block_diag
from scipy.optimize import least_squares
from scipy.stats import chi2, kstest
from threadpoolctl import threadpool_limits

from ariel_lib.archive import Archive, Star, read_spectra
from ariel_lib.calibration.engine import calibrate_split
from ariel_lib.calibration.light_curves import LightCurves, light_curves_path, list_light_curves, load_light_curves
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.instrument import FGS1, INSTRUMENTS
from ariel_lib.metrics import naive_statistics, summary
from ariel_lib.simulator import optics
from ariel_lib.simulator.dataset import simulate_dataset
from ariel_lib.simulator.light_curve import DRIFT_COLOUR, DRIFT_SIZE
from ariel_lib.simulator.visit import INTEGRATION_TIMES
from ariel_lib.storage import write_atomically
from ariel_lib.transit.drift import fit_drift_prior
from ariel_lib.transit.estimate import DepthEstimate, estimate_depths, make_problem
from ariel_lib.transit.fit import N_PHYSICAL, Problem, linearise, tangent
from ariel_lib.transit.limb_darkening import AIRS_HALF_WIDTH, AIRS_PIVOT
from ariel_lib.transit.orbit import orbit_prior
from ariel_lib.transit.prior import Posterior, fit_prior
from ariel_lib.transit.search import Candidate
from ariel_lib.transit.segments import make_segments


@dataclass(frozen=True)
class Measured:
    """One planet: its fit, the bound's standard deviations, the two oracles' depth and covariance, seconds a visit."""

    estimate: DepthEstimate
    bound: np.ndarray
    oracle: tuple[np.ndarray, np.ndarray]
    but_drift: tuple[np.ndarray, np.ndarray]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="csv of spectra to draw from")
    parser.add_argument("--planets", type=int, default=200, help="light curves of full length")
    parser.add_argument("--frames", type=int, default=20, help="raw toy frames; 0: none")
    parser.add_argument("--rivals", type=int, default=3, help="planets fitted by batman and scipy too, for the time")
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
    if options.rivals and options.planets:
        result["batman_and_scipy"] = time_rival(options.out / "light_curves", options.rivals)
    result["peak_mb"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)
    print(json.dumps(result, indent=1))
    write_atomically(options.out / "limit.json", json.dumps(result, indent=1).encode())


def examine(data: Path, level: str, labels_csv: Path) -> dict:
    """All figures of one data set."""
    folder = data / "lightcurves"
    if level == "frames":
        calibrate_split(Archive(data), "test", folder, CalibrationSettings(), workers=2)
    planets = list(list_light_curves(folder, "test"))
    truth, labels = read_spectra(data / "test.csv").of(planets), read_spectra(labels_csv).depth
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        measured = list(pool.map(partial(measure, data), planets))
    wavelength = Archive(data).wavelengths()
    own = {row.tobytes() for row in np.round(truth, 12)}
    others = np.array([row for row in labels if np.round(row, 12).tobytes() not in own])
    learned, population = fit_prior(others, wavelength), fit_prior(labels, wavelength)
    estimates = [m.estimate for m in measured]
    drift = fit_drift_prior(estimates)
    given = [drift.condition(e) for e in estimates]
    answers = {
        "likelihood": [(e.depth, e.sigma) for e in estimates],
        "posterior": [_both(learned.posterior(e.depth, e.covariance)) for e in given],
        "oracle": [_both(population.posterior(*m.oracle)) for m in measured],
        "but_drift": [_both(population.posterior(*m.but_drift)) for m in measured],
    }
    naive = dict(zip(("naive_mean", "naive_sigma"), naive_statistics(others)))
    figures = {}
    for name, answer in answers.items():
        mean, sigma = (np.array(column) for column in zip(*answer))
        figures[name] = summary(truth, np.maximum(mean, 0.0), sigma, **naive)
    ratio = np.array([m.estimate.sigma / m.bound for m in measured])
    return {
        "planets": len(planets), "labels_learned_from": len(others), "honesty": honesty(estimates, truth),
        "honesty_given_drift": honesty(given, truth),
        "sigma_over_bound": {
            "fgs1_median": float(np.median(ratio[:, 0])), "airs_median": float(np.median(ratio[:, 1:])),
            "quantiles_5_95": [float(q) for q in np.quantile(ratio, (0.05, 0.95))],
        },
        "posterior_over_oracle": figures["posterior"]["score"] / figures["oracle"]["score"],
        "posterior_over_but_drift": figures["posterior"]["score"] / figures["but_drift"]["score"],
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
        share = e.independent[1:] ** -2 / np.sum(e.independent[1:] ** -2)
        white.append(share @ (e.depth - t)[1:] / np.sqrt(share @ e.covariance[1:, 1:] @ share))
    n = len(z)
    return {
        "z_rms_fgs1": _rms(z[:, 0]), "z_rms_airs": _rms(z[:, 1:]), "z_rms_white": _rms(np.array(white)),
        "sampling_error_of_a_rms": 1 / np.sqrt(2 * n),
        "bias_fgs1": float(z[:, 0].mean()), "bias_airs": float(z[:, 1:].mean()), "bias_white": float(np.mean(white)),
        "mahalanobis_per_wavelength": float(np.mean(distance) / z.shape[1]),
        "mahalanobis_ks_p": float(kstest(distance, chi2(z.shape[1]).cdf).pvalue),
    }  # fmt: skip


def measure(data: Path, planet: str) -> Measured:
    """Fit one planet, and ask what its light curves could have told."""
    archive, folder = Archive(data), data / "lightcurves"
    wavelength, star = archive.wavelengths(), archive.star("test", planet)
    paths = [light_curves_path(folder, "test", planet, v) for v in list_light_curves(folder, "test")[planet]]
    record = json.loads((data / "truth.json").read_text())["planets"][planet]
    with threadpool_limits(1):
        start = time.perf_counter()
        visits = [load_light_curves(path) for path in paths]
        estimate = estimate_depths(visits, star, wavelength)
        seconds = (time.perf_counter() - start) / len(visits)
        problem, common = true_problem(visits, star, wavelength, record)
        return Measured(estimate, *limits(problem, common, np.array(record["depth"])), seconds)


def true_problem(
    visits: list[LightCurves], star: Star, wavelength: np.ndarray, record: dict
) -> tuple[Problem, list[float]]:
    """The fit's own problem with the simulator's noise and the truth as the mean of its priors; and, of each segment, the
    variance of the noise common to its channels."""
    segments, common = [], []
    for segment in make_segments(visits, wavelength):
        instrument = INSTRUMENTS[segment.instrument]
        first, second = INTEGRATION_TIMES[instrument.name]
        scatter = optics.GAIN_NOISE[instrument.name] * np.hypot(first, second) / (second - first)
        variance = scatter**2 * instrument.sample_time / 3600 / segment.exposure
        if instrument is FGS1:  # one channel: its own noise
            weight = segment.weight
            segment = replace(segment, weight=np.divide(weight, 1 + weight * variance, where=weight > 0, out=0 * weight))
            variance = 0.0
        segments.append(segment)
        common.append(variance)
    candidate = Candidate(dict(enumerate(record["mid_transits"])), np.log(record["orbit"]["a"]), 0.0, 0.0)
    problem = make_problem(segments, len(wavelength), orbit_prior(star.P, star.sma, star.i), star.Ts, candidate)
    orbit, u = record["orbit"], np.array(record["limb_darkening"])
    line = np.polynomial.polynomial.polyfit((wavelength[1:] - AIRS_PIVOT) / AIRS_HALF_WIDTH, u[1:], 1)
    b = orbit["a"] * np.cos(np.radians(orbit["inclination"]))
    t0 = [record["mid_transits"][segment.visit] for segment in segments]
    drift = [true_drift(problem, n, record["drifts"][s.visit]) for n, s in enumerate(segments)]
    shared = np.concatenate([[np.log(orbit["a"]), b**2], u[0], line[:, 0], line[:, 1], t0, *drift])
    return replace(problem, prior_mean=shared), common


def true_drift(problem: Problem, index: int, drift: dict) -> np.ndarray:
    """The simulator's drift in the fit's basis, by least squares; it is a polynomial of columns, not of wavelength."""
    segment = problem.segments[index]
    trend = np.column_stack([np.ones(len(segment.time)), segment.trend])
    tau = 2 * (segment.time - segment.time[0]) / (segment.time[-1] - segment.time[0]) - 1
    powers = np.stack([tau, tau**2, tau**3], axis=1)
    if segment.instrument == FGS1.name:
        return np.linalg.lstsq(trend, powers @ np.array(drift["fgs1"]), rcond=None)[0][1:]
    archive_columns = np.linspace(1, -1, INSTRUMENTS[segment.instrument].columns)
    first, last = INSTRUMENTS[segment.instrument].crop
    x = archive_columns[first:last][::-1][segment.channels - 1]
    value = powers @ np.array(drift["airs"]) @ np.stack([np.ones_like(x), x, x**2])  # (time, wavelength)
    in_time = np.linalg.lstsq(trend, value, rcond=None)[0][1:]  # (power, wavelength)
    scaled = (segment.wavelength - AIRS_PIVOT) / AIRS_HALF_WIDTH
    orders = (problem.drift_index(index).stop - problem.drift_index(index).start) // len(in_time)
    basis = np.polynomial.legendre.legvander(scaled, orders - 1)
    return np.linalg.lstsq(basis, in_time.T, rcond=None)[0].T.ravel()


def drift_covariance(problem: Problem) -> np.ndarray:
    """Covariance of the simulator's drifts in the fit's basis, all segments: (coefficient, coefficient)."""
    blocks = []
    for index, segment in enumerate(problem.segments):
        fgs1 = segment.instrument == FGS1.name
        size = DRIFT_SIZE if fgs1 else np.outer(DRIFT_SIZE, DRIFT_COLOUR)
        units = np.eye(size.size).reshape(-1, *size.shape) * size
        columns = np.array([true_drift(problem, index, {"fgs1": unit} if fgs1 else {"airs": unit}) for unit in units])
        blocks.append(columns.T @ columns)
    return block_diag(*blocks)


def limits(problem: Problem, common: list[float], depth: np.ndarray) -> tuple:
    """Bound's sigma (wavelength,), and (depth, covariance) of two oracles: one to whom all shared parameters are known, and
    one who of the drifts knows the distribution.

    Noise common to the channels is a parameter of its own at every time with a Gaussian prior, marginalised exactly.
    """
    point = linearise(problem, depth, problem.prior_mean)
    n, q = point.g.shape
    information = np.block([[np.diag(point.h), point.g], [point.g.T, point.k]])
    pull = np.concatenate([point.pull_depth, point.pull_shared])
    for index, variance in enumerate(common):
        if variance == 0:
            continue
        segment, near = problem.segments[index], tangent(problem, index, depth, problem.prior_mean)
        by_channel = near.common_pull(segment.weight)
        coupling = np.zeros((n + q, by_channel.shape[-1]))
        coupling[segment.channels] = by_channel[:, 0]
        coupling[n + near.where] = by_channel[:, 1:].sum(axis=0)
        weighted = near.own * segment.weight[:, None]
        root = np.linalg.cholesky(np.matmul(weighted, near.own.transpose(0, 2, 1)))
        own = np.linalg.solve(root, weighted).reshape(-1, coupling.shape[1])
        within = np.diag(segment.weight.sum(axis=0) + 1 / variance) - own.T @ own
        solved = np.linalg.solve(within, np.column_stack([coupling.T, (segment.weight * near.residual).sum(axis=0)]))
        information = information - coupling @ solved[:, :-1]
        pull = pull - coupling @ solved[:, -1]
    known = np.linalg.inv(information[:n, :n])
    oracle = depth + known @ pull[:n], 0.5 * (known + known.T)
    free = np.concatenate([np.arange(n), np.arange(n + N_PHYSICAL + len(common), n + q)])
    spread = drift_covariance(problem)
    ridge = np.linalg.inv(spread + 1e-6 * np.trace(spread) / len(spread) * np.eye(len(spread)))
    informed, towards = information[np.ix_(free, free)].copy(), pull[free].copy()
    drift = problem.prior_mean[free[n:] - n]
    informed[n:, n:] += ridge - np.diag(problem.prior_sigma[free[n:] - n] ** -2)
    towards[n:] -= ridge @ drift
    inverse = np.linalg.inv(informed)
    but_drift = depth + (inverse @ towards)[:n], 0.5 * (inverse + inverse.T)[:n, :n]
    return np.sqrt(np.diag(np.linalg.inv(information))[:n]), oracle, but_drift


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
