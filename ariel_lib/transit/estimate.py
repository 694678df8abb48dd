"""The transit fit of a planet: from its light curves to transit depths with their full covariance.

Steps: transit search; fit of a few wide bands, where events are detected; fit of all wavelengths; estimate of the noise in
excess of the propagated variances, which is added to the covariance. No spectral prior is used.
"""

from dataclasses import replace

import numpy as np

from ariel_lib.errors import ArchiveError
from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurves
from ariel_lib.transit.events import find_event, with_event
from ariel_lib.transit.fit import Solution, common_response, linearise, solve, solve_channels
from ariel_lib.transit.noise import SURE, CommonNoise, fit_common_noise, reweight, white_light
from ariel_lib.transit.orbit import transit_duration
from ariel_lib.transit.physical_priors import PhysicalPriors, catalogue_priors, is_eccentric, lacks_orbit
from ariel_lib.transit.quality import is_detected
from ariel_lib.transit.result import B_SQUARED_KIND, LOG_A_KIND, DepthEstimate, Flag, WhiteCurve, drift_kinds
from ariel_lib.transit.search import LARGEST_START, TEMPLATE_K, Candidate, allowed_stretches, find_transit
from ariel_lib.transit.segments import POLYNOMIALS, Segment, drift_terms, make_segments, merge_channels, with_cosines
from ariel_lib.transit.tangent import B_SQUARED, DRIFT_PRIOR, LOG_A, N_PHYSICAL, Problem

N_BANDS = 8
MOST_EVENTS = 3  # per segment


def estimate_depths(
    visits: list[LightCurves], star: Star | None, wavelength: np.ndarray, priors: PhysicalPriors | None = None
) -> DepthEstimate:
    """Fit all visits of one planet together, on a circular orbit.

    visits      at least one
    star        None where the data set lists none (2024); an eccentric orbit in the star table is flagged
    wavelength  (wavelength,)  micron, FGS1 first
    priors      of orbit, limb darkening and mid-transit times; default: catalogue_priors(star)

    Raises ArchiveError if no visit has a usable channel.
    """
    segments = make_segments(visits, wavelength)
    if not segments:
        raise ArchiveError(
            f"light curves of planet {visits[0].planet_id}", "usable samples", "none: every channel is masked or dark"
        )
    priors = priors or catalogue_priors(star)
    white = [merge_channels(segment, 1) for segment in segments]
    candidate = find_transit(
        white, priors.orbit.period, priors.orbit.log_a[0], priors.orbit.b_squared[0],
        stretches=allowed_stretches(priors.orbit.log_a[1]), t0={visit: mean for visit, (mean, _) in priors.t0.items()},
    )  # fmt: skip
    segments, bands, events = _solve_bands(segments, priors, candidate)
    segments = [with_cosines(segment) for segment in segments]
    problem = make_problem(segments, len(wavelength), priors, candidate)
    spectrum = _smooth_spectrum(bands, segments, len(wavelength))
    _, depth, shared, cubic = _solve_drift(problem, spectrum, bands[1].shared)
    fit = linearise(problem, depth, shared)
    problem = replace(problem, segments=tuple(reweight(s, r) for s, r in zip(problem.segments, fit.residual)))
    point, depth, shared, _ = _solve_drift(problem, spectrum, cubic)
    flags = (*events, Flag.ECCENTRIC) if is_eccentric(star) else events
    if lacks_orbit(star) and priors.orbit == catalogue_priors(star).orbit:
        flags = (*flags, Flag.ORBIT_UNKNOWN)
    result = replace(fit, depth=depth, shared=shared)
    return _summarise(visits[0].planet_id, segments, problem, point, result, flags, listed=priors.is_catalogue)


def make_problem(segments: list[Segment], n_channels: int, priors: PhysicalPriors, candidate: Candidate) -> Problem:
    """Set up a fit: priors of the shared parameters, mid-transit times without a prior from the transit candidate."""
    prior, (u_mean, u_sigma) = priors.orbit, priors.limb_darkening
    window = max(s.time[-1] - s.time[0] for s in segments)
    t0 = np.array([priors.t0.get(s.visit, (candidate.t0[s.visit], window)) for s in segments])
    drift = np.concatenate([DRIFT_PRIOR[drift_terms(s)[0]] for s in segments])
    mean = np.concatenate([[prior.log_a[0], prior.b_squared[0]], u_mean, t0[:, 0], np.zeros_like(drift)])
    sigma = np.concatenate([[prior.log_a[1], prior.b_squared[1]], u_sigma, t0[:, 1], drift])
    duration = transit_duration(prior.period, candidate.log_a, min(prior.b_squared[0], LARGEST_START), TEMPLATE_K)
    return Problem(tuple(segments), n_channels, prior.period, duration, mean, sigma)


def starting_point(problem: Problem, candidate: Candidate) -> np.ndarray:
    """Shared parameters (parameter,) that a fit starts from: the prior mean, with the candidate's a/Rs, on an orbit that transits."""
    start = problem.prior_mean.copy()
    start[LOG_A], start[B_SQUARED] = candidate.log_a, min(start[B_SQUARED], LARGEST_START)
    return start


def _solve_drift(problem: Problem, spectrum: np.ndarray, start: np.ndarray) -> tuple[Solution, np.ndarray, np.ndarray, np.ndarray]:
    """Fit all channels with a cubic drift, from start (parameter of that fit,), then take one Gauss–Newton step with the cosines.

    Returns the last point of linearisation, the depths and shared parameters of the step, and those of the cubic fit. Cosines resemble
    a transit: in a nonlinear fit they lead some orbits astray. With one step the result is linear in them, and conditioned on a
    population without cosines it equals the cubic fit.
    """
    power = np.concatenate([drift_terms(segment)[0] for segment in problem.segments])
    kept = np.r_[np.ones(N_PHYSICAL + len(problem.segments), bool), power < POLYNOMIALS]
    segments = tuple(replace(segment, trend=segment.trend[:, :POLYNOMIALS]) for segment in problem.segments)
    cubic = replace(problem, segments=segments, prior_mean=problem.prior_mean[kept], prior_sigma=problem.prior_sigma[kept])
    before, _, solved = solve_channels(cubic, spectrum, start)
    shared = problem.prior_mean.copy()
    shared[kept] = solved
    point, depth, shared = solve_channels(problem, spectrum, shared, steps=1)
    return replace(point, converged=before.converged), depth, shared, solved


def _solve_bands(
    segments: list[Segment], priors: PhysicalPriors, candidate: Candidate
) -> tuple[list[Segment], tuple[list[Segment], Solution], tuple[str, ...]]:
    """Fit a few wide bands, repeatedly while events are found in the residuals.

    Returns the segments with the events as regressors, the bands and their solution, and the kinds of event.
    """
    kinds: list[str] = []
    for left in reversed(range(1 + MOST_EVENTS)):
        bands = [merge_channels(segment, N_BANDS) for segment in segments]
        problem = make_problem(bands, 1 + N_BANDS, priors, candidate)
        solution = solve(problem, np.full(1 + N_BANDS, candidate.depth), starting_point(problem, candidate), steps=20)
        if not left:
            break
        found = [
            find_event(band, solution.residual[n], common_response(problem, solution, n)[0], solution.shared[problem.t0_index(n)],
                       _duration(problem, solution))
            for n, band in enumerate(bands)
        ]  # fmt: skip
        if not any(found):
            break
        kinds += [event.kind for event in found if event]
        segments = [with_event(segment, event) if event else segment for segment, event in zip(segments, found)]
    return segments, (bands, solution), tuple(dict.fromkeys(kinds))


def _smooth_spectrum(bands: tuple[list[Segment], Solution], segments: list[Segment], n_channels: int) -> np.ndarray:
    """Spectrum at which the full fit is linearised, (wavelength,): the depth of each channel's band, shrunk towards the mean.

    The shrinkage follows from the share of noise in the scatter of the bands (James & Stein 1961).
    """
    depth, precision = bands[1].depth, bands[1].depth_precision
    mean = np.average(depth, weights=precision)
    variance = max(float(np.average((depth - mean) ** 2, weights=precision)) - (len(depth) - 1) / precision.sum(), 0.0)
    shrunk = mean + (depth - mean) * variance / (variance + 1 / precision)
    spectrum = np.full(n_channels, mean)
    for band, segment in zip(bands[0], segments):
        nearest = np.argmin(np.abs(segment.wavelength[:, None] - band.wavelength), axis=1)
        spectrum[segment.channels] = shrunk[band.channels[nearest]]
    return spectrum


def _summarise(
    planet_id: str, segments: list[Segment], problem: Problem, point: Solution, fit: Solution, flags: tuple[str, ...], *, listed: bool
) -> DepthEstimate:
    """Covariances, noise, white light curves and flags of a finished fit.

    segments: before reweighting; point: linearisation from which the covariance follows; fit: fitted parameters and residuals;
    flags: those known before; listed: whether the orbit prior is from the star table and the orbit thus among the nuisance parameters.
    """
    (covariance, coupling, shared), white = point.covariances(), []
    for index, segment in enumerate(problem.segments):
        on_depth, on_shared = common_response(problem, point, index)
        noise = fit_common_noise(segment, fit.residual[index], on_depth, _duration(problem, fit))
        common = noise.covariance(white_light(segment, fit.residual[index])[1])
        covariance += on_depth @ common @ on_depth.T
        coupling += on_depth @ common @ on_shared.T
        shared += on_shared @ common @ on_shared.T
        white.append(_white_curve(problem, fit, index, noise))
    level, excess = np.zeros(problem.n_channels), np.ones(problem.n_channels)
    for before, after in zip(segments, problem.segments):
        level[after.channels] = after.level / (after.exposure * 3600)
        excess[after.channels] = before.weight.max(axis=1) / after.weight.max(axis=1)
    n_physical = N_PHYSICAL + len(segments)
    drift = np.arange(n_physical, len(fit.shared))
    kinds = [drift_kinds(segment) for segment in segments]
    nuisance, kind = np.r_[drift, LOG_A, B_SQUARED], np.r_[*kinds, LOG_A_KIND, B_SQUARED_KIND]
    if not listed:
        nuisance, kind = nuisance[:-2], kind[:-2]
    unit = problem.prior_sigma[nuisance]
    # Detection is judged with the cosines as fitted; the population shows how large they can be.
    cosines = drift[np.concatenate([drift_terms(s)[0] for s in segments]) >= POLYNOMIALS]
    certain = covariance - coupling[:, cosines] @ np.linalg.solve(shared[np.ix_(cosines, cosines)], coupling[:, cosines].T)
    flags += _flags(problem, fit, certain, level, excess, white, converged=point.converged)
    return DepthEstimate(
        planet_id, fit.depth, covariance, np.sqrt(1 / point.depth_precision), level, excess,
        fit.shared[:N_PHYSICAL], (fit.shared - problem.prior_mean)[nuisance] / unit,
        shared[np.ix_(nuisance, nuisance)] / np.outer(unit, unit), coupling[:, nuisance] / unit, kind,
        tuple(white), flags, shared[:n_physical, :n_physical], coupling[:, :n_physical],
    )  # fmt: skip


def _duration(problem: Problem, solution: Solution) -> float:
    """Transit duration of a solution, h; the expected one where its discs never overlap."""
    k = float(np.sqrt(max(np.average(solution.depth, weights=solution.depth_precision), 0.0)))
    return transit_duration(problem.period, solution.shared[LOG_A], solution.shared[B_SQUARED], k) or problem.duration


def _white_curve(problem: Problem, solution: Solution, index: int, noise: CommonNoise) -> WhiteCurve:
    """White light curve of segment number index: means over the channels, weighted by their inverse variances."""
    segment, model = problem.segments[index], solution.model[index]
    share = segment.weight.sum(axis=1) / segment.weight.sum()
    # A masked sample is replaced by the model, so that it does not shift the mean.
    flux = share @ np.where(segment.weight > 0, segment.flux, model)
    sigma = 1 / np.sqrt(np.median(segment.weight.sum(axis=0)))
    return WhiteCurve(
        segment.instrument, segment.visit, segment.time, flux, share @ model, share @ solution.transit_model[index],
        float(sigma), float(share @ segment.level), float(solution.shared[problem.t0_index(index)]), _duration(problem, solution),
        noise.white, float(noise.red_noise[0]), noise.red_noise_probability,
    )  # fmt: skip


def _flags(problem, solution, covariance, level, excess, white, *, converged: bool) -> tuple[Flag, ...]:
    """Flags of a fit, events excepted."""
    flags = []
    mean_depth = np.average(solution.depth, weights=solution.depth_precision)
    if not is_detected(solution.depth, covariance, solution.depth_precision**-0.5):
        flags.append(Flag.NO_TRANSIT)
    half = _duration(problem, solution) / 2
    for index, segment in enumerate(problem.segments):
        t0 = solution.shared[problem.t0_index(index)]
        if t0 - half < segment.time[0] or t0 + half > segment.time[-1]:
            flags.append(Flag.PARTIAL_TRANSIT)
            break
    if np.sqrt(solution.shared[B_SQUARED]) > 1 - np.sqrt(max(mean_depth, 0.0)):
        flags.append(Flag.GRAZING)
    if np.median(excess) > 2 or excess[0] > 4:
        flags.append(Flag.EXCESS_NOISE)
    if (level == 0).any():
        flags.append(Flag.MISSING_CHANNELS)
    if any(curve.red_noise_probability > SURE for curve in white):
        flags.append(Flag.RED_NOISE)
    if not converged:
        flags.append(Flag.NOT_CONVERGED)
    return tuple(flags)
