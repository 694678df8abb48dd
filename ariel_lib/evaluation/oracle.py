"""Reference answers for simulated planets, whose nuisance parameters are known, and the Cramér–Rao bound (Rao 1945, Cramér 1946).

Gaussian posteriors at the true parameters, linearised as in transit.fit. Needs the simulator's truth.json and, where light has
systematics, systematics.json. The answers differ in the nuisance parameters that are fixed at their true values and in the priors of
the others:

oracle            orbit, limb darkening, baseline and noise all fixed
oracle_but_drift  drifts free, under their true distribution; the others fixed
ideal_fit         all parameters of the fit free: drifts, and the catalogue's errors of the orbits, under their true
                  distributions; limb darkening under the fit's own prior. The limit of a fit with a Gaussian spectral prior

The true distribution of drifts is the second moment, over the visits of the split, of the true baselines in the functions of the
fit's drift; what these functions do not span counts as noise common to the wavelengths. Limb darkening by other laws is replaced
by the closest quadratic; the depth's bias by unocculted spots is not known to any answer.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ariel_lib.instrument import AIRS, FGS1, INSTRUMENTS
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurves, load_light_curves
from ariel_lib.priors.gaussian import fit_prior
from ariel_lib.simulator import optics
from ariel_lib.simulator.dataset import TRUTH_FILE
from ariel_lib.simulator.light_curve import Drift, airs_drift, fgs1_drift
from ariel_lib.simulator.systematics.planets import read_record, redraw
from ariel_lib.simulator.visit import INTEGRATION_TIMES
from ariel_lib.transit.estimate import make_problem
from ariel_lib.transit.fit import linearise
from ariel_lib.transit.limb_darkening import AIRS_HALF_WIDTH, AIRS_PIVOT
from ariel_lib.transit.orbit import orbit_prior
from ariel_lib.transit.physical_priors import catalogue_priors
from ariel_lib.transit.result import LOG_A_KIND, drift_kinds
from ariel_lib.transit.search import Candidate
from ariel_lib.transit.segments import Segment, drift_terms, make_segments, with_cosines
from ariel_lib.transit.tangent import B_SQUARED, LOG_A, N_PHYSICAL, Problem, tangent

ORACLES = ("oracle", "oracle_but_drift", "ideal_fit")
NEGLIGIBLE = 1e-12  # mean square of a relative flux, (1 ppm)²: less than photon noise leaves in white light


@dataclass(frozen=True)
class Truth:
    """What the simulator recorded of a split.

    planets     planet id → its record in truth.json
    recorded    content of systematics.json, without planets for a nominal data set
    """

    planets: dict[str, dict]
    recorded: dict

    @classmethod
    def read(cls, root: Path | str, split: str) -> "Truth":
        """Records of a split; no planets for a data set that is not simulated."""
        return cls(read_truth(root, split), read_record(Path(root)))

    def segments(self, visits: list[LightCurves], wavelength: np.ndarray) -> list[Segment]:
        """Segments as the fit prepares them, with the cosines of the drift where light has systematics."""
        segments = make_segments(visits, wavelength)
        return [with_cosines(segment) for segment in segments] if self.recorded["planets"] else segments

    def baseline(self, planet: str, visit: int, segment: Segment) -> np.ndarray:
        """The baseline of a visit on the times and channels of a segment, less 1, (time, wavelength)."""
        recorded, time = self.planets[planet]["drifts"][visit], segment.time
        drift = Drift(np.array(recorded["fgs1"]), np.array(recorded["airs"]))
        tau = 2 * (time - time[0]) / (time[-1] - time[0]) - 1
        if segment.instrument == FGS1.name:
            factor = fgs1_drift(drift, tau)
        else:
            factor = airs_drift(drift, tau, np.linspace(1, -1, AIRS.columns)[slice(*AIRS.crop)][::-1][segment.channels - 1])
        if self.recorded["planets"]:
            drawn, _ = redraw(self.recorded, planet, visit, dict.fromkeys(INSTRUMENTS, time))
            factor = factor * drawn.factor(segment.instrument)[:, segment.channels - (segment.instrument == AIRS.name)]
        return factor - 1


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
    prior, found = fit_prior(labels, dataset.wavelengths), {name: ([], []) for name in ORACLES}
    truth = Truth.read(dataset.root, dataset.split)
    nuisances = read_nuisances(dataset, truth)
    for planet in dataset.planets:
        _, measured = limits(true_problem(dataset, truth, planet), nuisances)
        for name, (depth, covariance) in measured.items():
            posterior = prior.posterior(depth, covariance)
            found[name][0].append(np.maximum(posterior.mean, 0.0))
            found[name][1].append(posterior.sigma)
    return {name: (np.array(mean), np.array(sigma)) for name, (mean, sigma) in found.items()}


@dataclass(frozen=True)
class Nuisances:
    """Distribution of the nuisance parameters of a simulated split.

    drift      (kind, kind) second moments of a visit's drift coefficients, by transit.result.drift_kinds
    remainder  instrument name → mean square of white light that the functions of the drift do not span
    orbit      (2,) mean squares of the catalogue's errors in ln(a/Rs) and b², over the variances of the fit's prior
    """

    drift: np.ndarray
    remainder: dict[str, float]
    orbit: np.ndarray


def read_nuisances(dataset: Dataset, truth: Truth) -> Nuisances:
    """Drifts of a split, and the catalogue's errors of its planets with an orbit in the star table.

    The first planet's light curves give the time axis of all.
    """
    template = truth.segments(_light_curves(dataset, dataset.planets[0])[:1], dataset.wavelengths)
    drifts, remainders = [], {segment.instrument: [] for segment in template}
    for planet, record in truth.planets.items():
        for visit in range(len(record["drifts"])):
            coefficients = np.zeros(LOG_A_KIND)
            for segment in template:
                coefficients[drift_kinds(segment)], remainder = in_drift_functions(segment, truth.baseline(planet, visit, segment))
                share = segment.weight.sum(axis=1) / segment.weight.sum()
                remainders[segment.instrument].append(np.mean((remainder @ share) ** 2))
            drifts.append(coefficients)
    errors = []
    for planet, record in truth.planets.items():
        star, orbit = dataset.find_star(planet)[0], record["orbit"]
        if not has_orbit(star):
            continue
        prior = orbit_prior(star.P, star.sma, star.i)
        true = np.log(orbit["a"]), (orbit["a"] * np.cos(np.radians(orbit["inclination"]))) ** 2
        errors.append([(value - mean) / sigma for value, (mean, sigma) in zip(true, (prior.log_a, prior.b_squared))])
    moments = np.array(drifts).T @ np.array(drifts) / len(drifts)
    return Nuisances(moments, {name: float(np.mean(part)) for name, part in remainders.items()}, np.mean(np.square(errors), axis=0))


def has_orbit(star: Star | None) -> bool:
    """Whether the star table gives period, a/Rs and inclination."""
    return star is not None and not {"P", "sma", "i"} & set(star.missing)


def in_drift_functions(segment: Segment, baseline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A baseline (time, wavelength) in the functions of a segment's drift, by least squares: coefficients (coefficient,) and remainder.

    A constant of each wavelength belongs to its level, and is in neither.
    """
    trend = np.column_stack([np.ones(len(segment.time)), segment.trend])
    level, *in_time = np.linalg.lstsq(trend, baseline, rcond=None)[0]
    power, order = drift_terms(segment)
    basis = np.polynomial.legendre.legvander((segment.wavelength - AIRS_PIVOT) / AIRS_HALF_WIDTH, order.max())
    coefficients, spanned = np.zeros(len(power)), level + np.zeros_like(baseline)
    for p, of_wavelength in enumerate(in_time):
        here = basis[:, order[power == p]]
        coefficients[power == p] = np.linalg.lstsq(here, of_wavelength, rcond=None)[0]
        spanned += np.outer(segment.trend[:, p], here @ coefficients[power == p])
    return coefficients, baseline - spanned


@dataclass(frozen=True)
class TrueProblem:
    """The transit fit's problem at the truth: the simulator's noise, and priors centred on the true parameters.

    depth           (wavelength,) the true spectrum
    catalogue_mean  (shared,) the prior mean that the catalogue alone gives
    common          for each segment, the variance of the noise common to its channels
    remainder       for each segment, (time, wavelength) of the baseline that the functions of the drift do not span
    """

    problem: Problem
    depth: np.ndarray
    catalogue_mean: np.ndarray
    common: tuple[float, ...]
    remainder: tuple[np.ndarray, ...]

    def without_remainder(self) -> "TrueProblem":
        """The same with light whose baseline is spanned by the functions of the drift."""
        segments = [replace(s, flux=s.flux / (1 + left.T)) for s, left in zip(self.problem.segments, self.remainder)]
        return replace(self, problem=replace(self.problem, segments=tuple(segments)))

    def with_noise(self, variances: dict[str, float]) -> "TrueProblem":
        """The same with further noise common to the channels, by instrument name. Of a single channel it adds to its own."""
        segments, common = [], []
        for segment, before in zip(self.problem.segments, self.common):
            variance, weight = variances[segment.instrument], segment.weight
            if segment.instrument == FGS1.name:
                segment = replace(segment, weight=np.divide(weight, 1 + weight * variance, where=weight > 0, out=0 * weight))
                variance = 0.0
            segments.append(segment)
            common.append(before + variance)
        return replace(self, problem=replace(self.problem, segments=tuple(segments)), common=tuple(common))

    def normal_equations(self) -> tuple[np.ndarray, np.ndarray]:
        """Information (parameter, parameter) and right-hand side (parameter,), depths first, at the true parameters.

        Noise common to the channels is a free parameter at every time with a Gaussian prior, marginalised exactly.
        """
        point = linearise(self.problem, self.depth, self.problem.prior_mean)
        n, q = point.coupling.shape
        information = np.block([[np.diag(point.depth_precision), point.coupling], [point.coupling.T, point.shared_precision]])
        right = np.concatenate([point.depth_rhs, point.shared_rhs])
        for index, variance in enumerate(self.common):
            if variance == 0:
                continue
            segment, near = self.problem.segments[index], tangent(self.problem, index, self.depth, self.problem.prior_mean)
            coupling = np.zeros((n + q, len(segment.time)))
            coupling[segment.channels], coupling[n + near.where] = near.common_rhs(segment.weight)
            weighted = near.linear_basis * segment.weight[:, None]
            root = np.linalg.cholesky(np.matmul(weighted, near.linear_basis.transpose(0, 2, 1)))
            own = np.linalg.solve(root, weighted).reshape(-1, coupling.shape[1])
            within = np.diag(segment.weight.sum(axis=0) + 1 / variance) - own.T @ own
            solved = np.linalg.solve(within, np.column_stack([coupling.T, (segment.weight * near.residual).sum(axis=0)]))
            information = information - coupling @ solved[:, :-1]
            right = right - coupling @ solved[:, -1]
        return information, right


def true_problem(dataset: Dataset, truth: Truth, planet: str) -> TrueProblem:
    """The problem of a planet of a simulated split; damaged light curves are left out. Raises KeyError for an unknown planet."""
    record, wavelength = truth.planets[planet], dataset.wavelengths
    segments = truth.segments(_light_curves(dataset, planet), wavelength)
    candidate = Candidate(dict(enumerate(record["mid_transits"])), np.log(record["orbit"]["a"]), 0.0, 0.0)
    problem = make_problem(segments, len(wavelength), catalogue_priors(dataset.star(planet)), candidate)
    orbit, u = record["orbit"], np.array(record["limb_darkening"])
    line = np.polynomial.polynomial.polyfit((wavelength[1:] - AIRS_PIVOT) / AIRS_HALF_WIDTH, u[1:], 1)
    b = orbit["a"] * np.cos(np.radians(orbit["inclination"]))
    t0 = [record["mid_transits"][segment.visit] for segment in segments]
    drift, remainder = zip(*(in_drift_functions(s, truth.baseline(planet, s.visit, s)) for s in segments))
    shared = np.concatenate([[np.log(orbit["a"]), b**2], u[0], line[:, 0], line[:, 1], t0, *drift])
    at_truth, none = replace(problem, prior_mean=shared), (0.0,) * len(segments)
    true = TrueProblem(at_truth, np.array(record["depth"]), problem.prior_mean, none, remainder)
    return true.with_noise({segment.instrument: _gain_noise(segment) for segment in segments})


def _gain_noise(segment: Segment) -> float:
    """Variance of a segment's samples by the simulator's noise of the gain."""
    instrument = INSTRUMENTS[segment.instrument]
    first, second = INTEGRATION_TIMES[instrument.name]
    scatter = optics.GAIN_NOISE[instrument.name] * np.hypot(first, second) / (second - first)
    return scatter**2 * instrument.sample_time / 3600 / segment.exposure


def _light_curves(dataset: Dataset, planet: str) -> list[LightCurves]:
    paths, _ = dataset.find_light_curves(planet, dataset.light_curve_visits[planet])
    return [load_light_curves(path) for path in paths]


def limits(true: TrueProblem, nuisances: Nuisances) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The Cramér–Rao sigma (wavelength,), and the depth (wavelength,) and covariance of each of ORACLES."""
    depth, problem = true.depth, true.problem
    n, segments = len(depth), problem.segments
    information, right = true.without_remainder().normal_equations()
    bound = np.sqrt(np.diag(np.linalg.inv(information))[:n])
    found = {"oracle": _depth_of(information, right, np.arange(n), depth)}
    if max(nuisances.remainder.values()) > NEGLIGIBLE:
        information, right = true.with_noise(nuisances.remainder).normal_equations()
    physical, drift = slice(n, n + N_PHYSICAL), slice(n + N_PHYSICAL + len(segments), len(right))
    precision, towards = problem.prior_sigma**-2, true.catalogue_mean - problem.prior_mean
    sharper = precision.copy()
    sharper[[LOG_A, B_SQUARED]] /= nuisances.orbit
    information[n:, n:] += np.diag(sharper - precision)
    right[physical] += (sharper * towards)[:N_PHYSICAL]
    kind = np.concatenate([drift_kinds(segment) for segment in segments])
    visit = np.repeat([segment.visit for segment in segments], [len(drift_kinds(segment)) for segment in segments])
    spread = nuisances.drift[np.ix_(kind, kind)] * (visit[:, None] == visit)
    ridge = np.linalg.inv(spread + 1e-6 * np.trace(spread) / len(spread) * np.eye(len(spread)))
    information[drift, drift] += ridge - np.diag(precision[drift.start - n :])
    right[drift] -= ridge @ problem.prior_mean[drift.start - n :]
    free = {"oracle_but_drift": np.r_[:n, drift], "ideal_fit": np.arange(len(right))}
    return bound, found | {name: _depth_of(information, right, rows, depth) for name, rows in free.items()}


def _depth_of(information: np.ndarray, right: np.ndarray, free: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior depth (wavelength,) and covariance with the parameters `free`, depths first, free and the others fixed."""
    inverse, n = np.linalg.inv(information[np.ix_(free, free)]), len(depth)
    return depth + (inverse @ right[free])[:n], 0.5 * (inverse + inverse.T)[:n, :n]
