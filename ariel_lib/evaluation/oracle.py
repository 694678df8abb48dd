"""Reference answers for simulated planets, whose nuisance parameters are known, and the Cramér–Rao bound (Rao 1945, Cramér 1946).

Gaussian posteriors at the true parameters, linearised as in transit.fit. Needs the simulator's truth.json. The answers differ
in the nuisance parameters that are fixed at their true values and in the priors of the others:

oracle            orbit, limb darkening, drift and noise all fixed
oracle_but_drift  drifts free, under their true distribution; the others fixed
ideal_fit         all parameters of the fit free: drifts, and the catalogue's errors of the orbits, under their true
                  distributions; limb darkening under the fit's own prior. The limit of a fit with a Gaussian spectral prior
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.linalg import block_diag

from ariel_lib.instrument import FGS1, INSTRUMENTS
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurves, load_light_curves
from ariel_lib.priors.gaussian import fit_prior
from ariel_lib.simulator import optics
from ariel_lib.simulator.dataset import TRUTH_FILE
from ariel_lib.simulator.visit import INTEGRATION_TIMES
from ariel_lib.transit.estimate import make_problem
from ariel_lib.transit.fit import linearise
from ariel_lib.transit.limb_darkening import AIRS_HALF_WIDTH, AIRS_PIVOT
from ariel_lib.transit.orbit import orbit_prior
from ariel_lib.transit.physical_priors import catalogue_priors
from ariel_lib.transit.search import Candidate
from ariel_lib.transit.segments import make_segments
from ariel_lib.transit.tangent import B_SQUARED, LOG_A, N_PHYSICAL, Problem, tangent

ORACLES = ("oracle", "oracle_but_drift", "ideal_fit")


def read_truth(root: Path | str, split: str) -> dict[str, dict]:
    """The simulator's record of each planet of a split, by planet id; empty for a data set that is not simulated."""
    path = Path(root) / TRUTH_FILE
    records = json.loads(path.read_text(encoding="utf-8"))["planets"] if path.is_file() else {}
    return {planet: record for planet, record in records.items() if record["split"] == split}


def oracle_answers(dataset: Dataset, labels: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and sigma (planet, wavelength) of each of ORACLES for the planets of a simulated data set, in their order.

    labels  (planet, wavelength): the Gaussian spectral prior is fitted to them

    Damaged light curves are left out, as in the fit. Raises KeyError for a planet that truth.json does not list.
    """
    truth, wavelength = read_truth(dataset.root, dataset.split), dataset.wavelengths
    nuisances = read_nuisances(dataset, truth)
    prior, found = fit_prior(labels, wavelength), {name: ([], []) for name in ORACLES}
    for planet in dataset.planets:
        paths, _ = dataset.find_light_curves(planet, dataset.light_curve_visits[planet])
        visits = [load_light_curves(path) for path in paths]
        problem, catalogue_mean, common = true_problem(visits, dataset.star(planet), wavelength, truth[planet])
        _, measured = limits(problem, catalogue_mean, common, np.array(truth[planet]["depth"]), nuisances)
        for name, (depth, covariance) in measured.items():
            posterior = prior.posterior(depth, covariance)
            found[name][0].append(np.maximum(posterior.mean, 0.0))
            found[name][1].append(posterior.sigma)
    return {name: (np.array(mean), np.array(sigma)) for name, (mean, sigma) in found.items()}


@dataclass(frozen=True)
class Nuisances:
    """Distribution of the nuisance parameters of a simulated split.

    drifts  coefficients of every visit, as in truth.json
    orbit   (2,) mean squares of the catalogue's errors in ln(a/Rs) and b², over the variances of the fit's prior
    """

    drifts: list[dict]
    orbit: np.ndarray


def read_nuisances(dataset: Dataset, truth: dict[str, dict]) -> Nuisances:
    """Drifts and catalogue errors of a split, of the planets with an orbit in its star table; truth as from read_truth."""
    errors = []
    for planet, record in truth.items():
        star, orbit = dataset.find_star(planet)[0], record["orbit"]
        if not has_orbit(star):
            continue
        prior = orbit_prior(star.P, star.sma, star.i)
        true = np.log(orbit["a"]), (orbit["a"] * np.cos(np.radians(orbit["inclination"]))) ** 2
        errors.append([(value - mean) / sigma for value, (mean, sigma) in zip(true, (prior.log_a, prior.b_squared))])
    return Nuisances([drift for record in truth.values() for drift in record["drifts"]], np.mean(np.square(errors), axis=0))


def has_orbit(star: Star | None) -> bool:
    """Whether the star table gives period, a/Rs and inclination."""
    return star is not None and not {"P", "sma", "i"} & set(star.missing)


def true_problem(
    visits: list[LightCurves], star: Star, wavelength: np.ndarray, record: dict
) -> tuple[Problem, np.ndarray, list[float]]:
    """The transit fit's problem at the truth: the simulator's noise, and priors centred on the true parameters.

    Returns the problem, the prior mean that the catalogue alone gives, (shared,), and for each segment the variance of the
    noise common to its channels.
    """
    segments, common = [], []
    for segment in make_segments(visits, wavelength):
        instrument = INSTRUMENTS[segment.instrument]
        first, second = INTEGRATION_TIMES[instrument.name]
        scatter = optics.GAIN_NOISE[instrument.name] * np.hypot(first, second) / (second - first)
        variance = scatter**2 * instrument.sample_time / 3600 / segment.exposure
        if instrument is FGS1:  # a single channel: the common noise adds to its own
            weight = segment.weight
            segment = replace(segment, weight=np.divide(weight, 1 + weight * variance, where=weight > 0, out=0 * weight))
            variance = 0.0
        segments.append(segment)
        common.append(variance)
    candidate = Candidate(dict(enumerate(record["mid_transits"])), np.log(record["orbit"]["a"]), 0.0, 0.0)
    problem = make_problem(segments, len(wavelength), catalogue_priors(star), candidate)
    orbit, u = record["orbit"], np.array(record["limb_darkening"])
    line = np.polynomial.polynomial.polyfit((wavelength[1:] - AIRS_PIVOT) / AIRS_HALF_WIDTH, u[1:], 1)
    b = orbit["a"] * np.cos(np.radians(orbit["inclination"]))
    t0 = [record["mid_transits"][segment.visit] for segment in segments]
    drift = [true_drift(problem, n, record["drifts"][s.visit]) for n, s in enumerate(segments)]
    shared = np.concatenate([[np.log(orbit["a"]), b**2], u[0], line[:, 0], line[:, 1], t0, *drift])
    return replace(problem, prior_mean=shared), problem.prior_mean, common


def true_drift(problem: Problem, index: int, drift: dict) -> np.ndarray:
    """The simulator's drift of one segment in the fit's basis, (coefficient,), by least squares.

    The simulator's drift is a polynomial in detector column, the fit's one in wavelength.
    """
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


def drift_covariance(problem: Problem, drifts: Sequence[dict]) -> np.ndarray:
    """Second moments of the simulator's drifts in the fit's basis, (coefficient, coefficient)."""
    blocks = []
    for index, segment in enumerate(problem.segments):
        kind = "fgs1" if segment.instrument == FGS1.name else "airs"
        drawn = np.array([drift[kind] for drift in drifts])
        units = np.eye(drawn[0].size).reshape(-1, *drawn.shape[1:])
        basis = np.array([true_drift(problem, index, {kind: unit}) for unit in units]).T
        flat = drawn.reshape(len(drawn), -1)
        blocks.append(basis @ (flat.T @ flat / len(flat)) @ basis.T)
    return block_diag(*blocks)


def limits(
    problem: Problem, catalogue_mean: np.ndarray, common: Sequence[float], depth: np.ndarray, nuisances: Nuisances
) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The Cramér–Rao sigma (wavelength,), and the depth (wavelength,) and covariance of each of ORACLES.

    problem, catalogue_mean, common  as true_problem gives them
    depth                            (wavelength,) the true spectrum
    nuisances                        distribution of the free parameters

    Noise common to the channels is a free parameter at every time with a Gaussian prior, marginalised exactly.
    """
    point = linearise(problem, depth, problem.prior_mean)
    n, q = point.coupling.shape
    information = np.block([[np.diag(point.depth_precision), point.coupling], [point.coupling.T, point.shared_precision]])
    pull = np.concatenate([point.depth_rhs, point.shared_rhs])
    for index, variance in enumerate(common):
        if variance == 0:
            continue
        segment, near = problem.segments[index], tangent(problem, index, depth, problem.prior_mean)
        coupling = np.zeros((n + q, len(segment.time)))
        coupling[segment.channels], coupling[n + near.where] = near.common_rhs(segment.weight)
        weighted = near.linear_basis * segment.weight[:, None]
        root = np.linalg.cholesky(np.matmul(weighted, near.linear_basis.transpose(0, 2, 1)))
        own = np.linalg.solve(root, weighted).reshape(-1, coupling.shape[1])
        within = np.diag(segment.weight.sum(axis=0) + 1 / variance) - own.T @ own
        solved = np.linalg.solve(within, np.column_stack([coupling.T, (segment.weight * near.residual).sum(axis=0)]))
        information = information - coupling @ solved[:, :-1]
        pull = pull - coupling @ solved[:, -1]
    bound = np.sqrt(np.diag(np.linalg.inv(information))[:n])
    physical, drift = slice(n, n + N_PHYSICAL), slice(n + N_PHYSICAL + len(common), n + q)
    precision, towards = problem.prior_sigma**-2, catalogue_mean - problem.prior_mean
    sharper = precision.copy()
    sharper[[LOG_A, B_SQUARED]] /= nuisances.orbit
    information[n:, n:] += np.diag(sharper - precision)
    pull[physical] += (sharper * towards)[:N_PHYSICAL]
    spread = drift_covariance(problem, nuisances.drifts)
    ridge = np.linalg.inv(spread + 1e-6 * np.trace(spread) / len(spread) * np.eye(len(spread)))
    information[drift, drift] += ridge - np.diag(precision[drift.start - n :])
    pull[drift] -= ridge @ problem.prior_mean[drift.start - n :]
    free = {"oracle": np.arange(n), "oracle_but_drift": np.r_[:n, drift], "ideal_fit": np.arange(n + q)}
    return bound, {name: _depth_of(information, pull, free[name], depth) for name in ORACLES}


def _depth_of(information: np.ndarray, pull: np.ndarray, free: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior depth (wavelength,) and covariance with the parameters `free`, depths first, free and the others fixed."""
    inverse, n = np.linalg.inv(information[np.ix_(free, free)]), len(depth)
    return depth + (inverse @ pull[free])[:n], 0.5 * (inverse + inverse.T)[:n, :n]
