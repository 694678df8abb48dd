"""Bump detection in the residuals of a coarse transit fit (FGS1 and a few AIRS bands), and the depth bias of each bump.

Independent of labels, of the symbolic rules and of submissions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurves
from ariel_lib.io.storage import StorageError
from ariel_lib.transit.bumps.bump import Bump, bump_shape, find_bump
from ariel_lib.transit.bumps.search import Band
from ariel_lib.transit.estimate import make_problem, starting_point
from ariel_lib.transit.fit import DEPTH_PRIOR, Solution, common_response, solve
from ariel_lib.transit.physical_priors import catalogue_priors
from ariel_lib.transit.result import DepthEstimate, load_estimate
from ariel_lib.transit.search import Candidate, find_transit
from ariel_lib.transit.segments import MIN_SAMPLES, Segment, make_segments, merge_channels
from ariel_lib.transit.tangent import LOG_A, Problem, tangent

AIRS_BANDS = 6
TOLERATED_ERRORS = 2.0  # standard errors of the coarse fit within which a spectrum counts as free of the bump's bias
SAMPLES_A_BIN = 3  # samples of 24 s per bin; the shortest bump spans several bins


@dataclass(frozen=True)
class BumpDetection:
    """The strongest bump of one visit and its effect on the depths.

    depth_bias  (wavelength,)          depth that the bump adds where it is not separated from the transit
    depth       (wavelength,)          of the coarse transit fit of all visits, bumps not removed
    root        (wavelength, channel)  square root of the covariance of depth: root · rootᵀ
    """

    visit: int
    bump: Bump
    depth_bias: np.ndarray
    depth: np.ndarray
    root: np.ndarray

    def followed(self, mean: np.ndarray, sigma: np.ndarray, depth_bias: np.ndarray) -> float:
        """Fraction of depth_bias (wavelength,) present in a spectrum mean ± sigma (wavelength,), relative to the coarse fit.

        Zero within TOLERATED_ERRORS standard errors of that fit.
        """
        weight = depth_bias / sigma**2
        weight /= weight @ depth_bias
        share, error = weight @ (mean - self.depth + depth_bias), np.linalg.norm(weight @ self.root)
        return float(np.sign(share) * max(abs(share) - TOLERATED_ERRORS * error, 0.0))


def detect_bumps(
    visits: Sequence[LightCurves], star: Star | None, wavelength: np.ndarray, candidate: Candidate | None = None
) -> list[BumpDetection]:
    """The strongest bump of each visit, significant or not (see Bump.exists).

    wavelength (wavelength,) micron, FGS1 first; candidate: approximate transit, or None; visits that it
    lacks are searched.
    """
    fitted = fit_bands(visits, star, wavelength, candidate)
    if fitted is None:
        return []
    problem, fit = fitted
    basis = np.stack([_on_grid(problem, column, wavelength) for column in np.eye(problem.n_channels)], axis=1)
    depth, root = basis @ fit.depth, basis @ np.linalg.cholesky(fit.covariances()[0])
    found = []
    for visit in sorted({segment.visit for segment in problem.segments}):
        bump = find_bump(*light_near_fit(problem, fit, visit), problem.duration)
        if bump is not None:
            found.append(BumpDetection(visit, bump, basis @ _depth_bias_by_band(problem, fit, visit, bump), depth, root))
    return found


def fit_bands(
    visits: Sequence[LightCurves], star: Star | None, wavelength: np.ndarray, candidate: Candidate | None = None
) -> tuple[Problem, Solution] | None:
    """Transit fit of FGS1 and a few AIRS bands in whose residuals bumps are searched; None without usable samples."""
    segments = make_segments(list(visits), wavelength)
    bands = [coarsen(merge_channels(segment, AIRS_BANDS), SAMPLES_A_BIN) for segment in segments]
    if not bands:
        return None
    priors = catalogue_priors(star)
    if candidate is None or not {band.visit for band in bands} <= set(candidate.t0):
        white = [coarsen(merge_channels(band, 1), SAMPLES_A_BIN) for band in bands]  # sufficient for a starting point
        candidate = find_transit(
            white, priors.orbit.period, priors.orbit.log_a[0], priors.orbit.b_squared[0], t0={} if candidate is None else candidate.t0
        )
    problem = make_problem(bands, 1 + AIRS_BANDS, priors, candidate)
    return problem, solve(problem, np.full(1 + AIRS_BANDS, candidate.depth), starting_point(problem, candidate), steps=20)


def coarsen(segment: Segment, width: int) -> Segment:
    """Segment binned by `width` samples; an incomplete last bin is dropped. Unchanged if fewer than MIN_SAMPLES would remain."""
    n = len(segment.time) // width
    if n < MIN_SAMPLES:
        return segment

    def mean(columns: np.ndarray) -> np.ndarray:
        return columns[: n * width].reshape(n, width, *columns.shape[1:]).mean(axis=1)

    parts = segment.weight[:, : n * width].reshape(-1, n, width)
    weight = parts.sum(axis=-1)
    total = (parts * segment.flux[:, : n * width].reshape(-1, n, width)).sum(axis=-1)
    return replace(
        segment, time=mean(segment.time), exposure=width * segment.exposure, weight=weight, trend=mean(segment.trend),
        nuisance=mean(segment.nuisance), flux=np.divide(total, weight, out=np.zeros_like(total), where=weight > 0),
    )  # fmt: skip


def bump_depth_bias(
    estimate: DepthEstimate, visits: Sequence[LightCurves], star: Star | None, wavelength: np.ndarray
) -> np.ndarray:
    """Depth added by achromatic bumps in a planet's light curves, (wavelength,); zero if none is detected."""
    return total_depth_bias(detect_bumps(visits, star, wavelength, _candidate(estimate)), len(wavelength))


def total_depth_bias(found: Sequence[BumpDetection], n_wavelengths: int) -> np.ndarray:
    """Sum of the depth biases of the achromatic bumps among found, (wavelength,)."""
    return sum((detection.depth_bias for detection in found if detection.bump.achromatic), np.zeros(n_wavelengths))


def known_candidate(path: Path) -> Candidate | None:
    """Transit candidate from the saved estimate at path, or None without one: the transit is then searched."""
    try:
        return _candidate(load_estimate(path))
    except StorageError:
        return None


def _candidate(estimate: DepthEstimate) -> Candidate:
    t0 = {curve.visit: curve.t0 for curve in estimate.white}
    return Candidate(t0, float(estimate.orbit[LOG_A]), float(np.median(estimate.depth)), np.inf)


def light_near_fit(problem: Problem, fit: Solution, visit: int) -> tuple[list[Band], np.ndarray]:
    """Residuals and design matrices of the bands of one visit, and the prior precision (parameter,) of all fitted parameters.

    Parameters: depths, shared parameters (orbit, limb darkening, t0, drift), then level and regressors of each band.
    """
    indices = _segments_of(problem, visit)
    near = [tangent(problem, n, fit.depth, fit.shared) for n in indices]
    n_linear = sum(t.linear_basis.shape[0] * t.linear_basis.shape[1] for t in near)
    start = problem.n_channels + len(fit.shared)
    precision = np.concatenate([np.full(problem.n_channels, DEPTH_PRIOR[1] ** -2), 1 / problem.prior_sigma**2, np.zeros(n_linear)])
    bands = []
    for index, t in zip(indices, near):
        segment = problem.segments[index]
        derivatives = t.derivatives()
        for n, lam in enumerate(segment.wavelength):
            design = np.zeros((len(precision), len(segment.time)))
            by_parameter = t.expand[n].T @ derivatives[n]
            design[segment.channels[n]] = by_parameter[0]
            design[problem.n_channels + t.where] = by_parameter[1:]
            design[start : start + t.linear_basis.shape[1]] = t.linear_basis[n]
            start += t.linear_basis.shape[1]
            bands.append(Band(float(lam), segment.time, t.residual[n], segment.weight[n], t.transit_model[n], design))
    return bands, precision


def _segments_of(problem: Problem, visit: int) -> list[int]:
    return [n for n, segment in enumerate(problem.segments) if segment.visit == visit]


def _depth_bias_by_band(problem: Problem, fit: Solution, visit: int, bump: Bump) -> np.ndarray:
    """Depth added by a bump that the fit does not model, (channel,), from the fit's linear response to common flux."""
    by_band = np.zeros(problem.n_channels)
    for n in _segments_of(problem, visit):
        by_band += common_response(problem, fit, n)[0] @ (bump.amplitude * bump_shape(bump, problem.segments[n].time))
    return by_band


def _on_grid(problem: Problem, by_band: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
    """Interpolate values (channel,) of FGS1 and the AIRS bands to (wavelength,), linearly between the bands' centres."""
    centres = {int(c): lam for s in problem.segments for c, lam in zip(s.channels, s.wavelength)}
    airs = sorted(c for c in centres if c > 0)
    grid = np.full(len(wavelength), by_band[0])
    if airs:
        grid[1:] = np.interp(wavelength[1:], [centres[c] for c in airs], by_band[airs])
    return grid
