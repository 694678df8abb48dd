"""Gauss–Newton on everything at once: depths, orbit, limb darkening, drift, levels.

Model of segment s and channel λ:  F = T(t; k²_λ, u_λ, orbit) · [S_λ (1 + Σ_jm q_jm P_j(t) P_m(λ)) + Σ_i e_λi n_i(t)].
S and e are linear and belong to one channel: they are solved exactly for every trial (variable projection, Golub & Pereyra
1973). Depths belong to one channel each, the rest is shared, so the normal matrix is an arrow: a diagonal of depths, a
small block of shared parameters, and what couples them. Its inverse is the depth covariance, diagonal plus low rank.
"""

from dataclasses import dataclass, replace

import numpy as np

from ariel_lib.instrument import AIRS, FGS1
from ariel_lib.transit.limb_darkening import AIRS_HALF_WIDTH, AIRS_PIVOT, airs_coefficients
from ariel_lib.transit.occultation import transit_flux
from ariel_lib.transit.orbit import separation
from ariel_lib.transit.segments import DRIFT_ORDERS, TREND_ORDER, Segment

PART_OF_DURATION = 0.004  # of the transit: longest sub-exposure; curvature inside one stays below 1 ppm of flux
DRIFT_PRIOR = 0.05  # relative: far above any drift of a photometer, keeps the solve regular where the data are silent
DEPTH_PRIOR = (0.0147, 0.05)  # mean of the 2025 labels; five times their spread
SMALLEST_DEPTH = 1e-5  # below it the model goes on as a straight line, so that noise may carry a depth below zero
LOG_A, B_SQUARED, FGS1_U, AIRS_U = 0, 1, slice(2, 4), slice(4, 8)
N_PHYSICAL = 8


@dataclass(frozen=True)
class Problem:
    """Segments and priors; period and expected transit duration in h.

    shared = (log_a, b², FGS1 u ×2, AIRS u ×4, t0 of each segment, drift of each segment).
    """

    segments: tuple[Segment, ...]
    n_channels: int
    period: float
    duration: float
    prior_mean: np.ndarray
    prior_sigma: np.ndarray

    def t0_index(self, segment: int) -> int:
        return N_PHYSICAL + segment

    def drift_index(self, segment: int) -> slice:
        sizes = [TREND_ORDER * drift_orders(s) for s in self.segments]
        first = N_PHYSICAL + len(self.segments) + sum(sizes[:segment])
        return slice(first, first + sizes[segment])


@dataclass(frozen=True)
class Solution:
    """A point of the fit: depth (wavelength,), shared (parameter,), and the normal equations there, in arrow form.

    h (wavelength,) depth precision, g (wavelength, parameter) coupling, k (parameter, parameter) shared precision,
    pull_depth and pull_shared the right-hand sides; model, smooth (the model without centroid terms) and residual are
    one (wavelength, time) array a segment.
    """

    depth: np.ndarray
    shared: np.ndarray
    objective: float
    h: np.ndarray
    g: np.ndarray
    k: np.ndarray
    pull_depth: np.ndarray
    pull_shared: np.ndarray
    model: tuple[np.ndarray, ...]
    transit_model: tuple[np.ndarray, ...]
    residual: tuple[np.ndarray, ...]
    converged: bool = False

    def step(self) -> tuple[np.ndarray, np.ndarray]:
        """The Gauss–Newton step of (depth, shared); b² stays where it is when it stands at zero and would leave the sky."""
        left = self.g / self.h[:, None]
        schur, pull = self.k - self.g.T @ left, self.pull_shared - left.T @ self.pull_depth
        step_shared = np.linalg.solve(schur, pull)
        if self.shared[B_SQUARED] == 0 and step_shared[B_SQUARED] < 0:
            free = np.arange(len(pull)) != B_SQUARED
            step_shared = np.zeros(len(pull))
            step_shared[free] = np.linalg.solve(schur[np.ix_(free, free)], pull[free])
        return (self.pull_depth - self.g @ step_shared) / self.h, step_shared

    def solve(self, on_depth: np.ndarray, on_shared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Depths (wavelength, …) and shared parameters (parameter, …) that answer right-hand sides of the same shapes."""
        left = self.g / self.h[:, None]
        shared = np.linalg.solve(self.k - self.g.T @ left, on_shared - left.T @ on_depth)
        return (on_depth - self.g @ shared) / self.h[:, None], shared

    def covariances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the depths (wavelength, wavelength), of depths and shared parameters (wavelength, parameter), of the latter."""
        left, shared = self.g / self.h[:, None], self.shared_covariance()
        coupling = -left @ shared
        return np.diag(1 / self.h) - coupling @ left.T, coupling, shared

    def shared_covariance(self) -> np.ndarray:
        """Covariance (parameter, parameter) of the shared parameters with the depths marginalised."""
        return np.linalg.inv(self.k - self.g.T @ (self.g / self.h[:, None]))


def drift_orders(segment: Segment) -> int:
    return 1 if segment.instrument == FGS1.name else min(DRIFT_ORDERS, len(segment.channels))


def solve(
    problem: Problem, depth: np.ndarray, shared: np.ndarray, *, steps: int = 12, tolerance: float = 0.01
) -> Solution:
    """Gauss–Newton from a start, the step halved while the objective rises; converged when it falls by less than tolerance."""
    solution = linearise(problem, depth, shared)
    for _ in range(steps):
        trial = _shorten(problem, solution, tolerance)
        if trial is None:
            break
        gain, solution = solution.objective - trial.objective, trial
        if gain < tolerance:
            return replace(solution, converged=True)
    return solution


def solve_channels(
    problem: Problem, smooth: np.ndarray, shared: np.ndarray, *, steps: int = 6, tolerance: float = 0.1
) -> tuple[Solution, np.ndarray, np.ndarray]:
    """Many noisy channels from a good start of the shared parameters: the point of the last step, depth, shared.

    Depths are linearised at a smooth spectrum and not at their own noisy values: sensitivities taken from noisy depths
    would tie every channel's stated error to its own fluctuation, and whoever averages channels by their covariance would
    favour the low ones (Peelle's puzzle; D'Agostini 1994, NIM A 346, 306). A flux is nearly linear in its depth, so
    nothing is lost. Converged when no shared parameter moves by more than tolerance, in its standard deviations.
    """
    for _ in range(steps):
        point = linearise(problem, smooth, shared)
        step_depth, step_shared = point.step()
        shared = shared + step_shared
        shared[B_SQUARED] = max(shared[B_SQUARED], 0.0)
        if np.max((shared - point.shared) ** 2 / np.diag(point.shared_covariance())) < tolerance**2:
            return replace(point, converged=True), smooth + step_depth, shared
    return point, smooth + step_depth, shared


def _shorten(problem: Problem, start: Solution, tolerance: float) -> Solution | None:
    """The first of the step, its half, its quarter … that does not raise the objective; None when none does."""
    step_depth, step_shared = start.step()
    for halvings in range(7):
        shared = start.shared + step_shared / 2**halvings
        shared[B_SQUARED] = max(shared[B_SQUARED], 0.0)
        trial = linearise(problem, start.depth + step_depth / 2**halvings, shared)
        if trial.objective <= start.objective + tolerance:
            return trial
    return None


def linearise(problem: Problem, depth: np.ndarray, shared: np.ndarray) -> Solution:
    """Model, residuals and normal equations at (depth, shared). Pure."""
    n, q = problem.n_channels, len(shared)
    precision = 1 / problem.prior_sigma**2
    offset = problem.prior_mean - shared
    h = np.full(n, DEPTH_PRIOR[1] ** -2)
    pull_depth = h * (DEPTH_PRIOR[0] - depth)
    objective = float(np.sum(precision * offset**2) + np.sum(pull_depth**2 / h))
    g, k, pull_shared = np.zeros((n, q)), np.diag(precision), precision * offset
    models, smooth, residuals = [], [], []
    for index, segment in enumerate(problem.segments):
        near = tangent(problem, index, depth, shared)
        gram, right = near.normal_equations(segment.weight)
        where = near.where
        h[segment.channels] += gram[:, 0, 0]
        pull_depth[segment.channels] += right[:, 0]
        g[np.ix_(segment.channels, where)] += gram[:, 0, 1:]
        k[np.ix_(where, where)] += gram[:, 1:, 1:].sum(axis=0)
        pull_shared[where] += right[:, 1:].sum(axis=0)
        objective += float(np.sum(segment.weight * near.residual**2))
        models.append(segment.flux - near.residual)
        smooth.append(near.transit_model)
        residuals.append(near.residual)
    return Solution(
        depth, shared, objective, h, g, k, pull_depth, pull_shared, tuple(models), tuple(smooth), tuple(residuals)
    )


def common_response(problem: Problem, solution: Solution, index: int) -> tuple[np.ndarray, np.ndarray]:
    """∂(depth, shared)/∂(flux that segment `index` gains in all its channels at one time), (wavelength | parameter, time).

    How an error common to all wavelengths enters the parameters of the fit.
    """
    segment, near = problem.segments[index], tangent(problem, index, solution.depth, solution.shared)
    pull = near.common_pull(segment.weight)  # (wavelength, 1 + parameter, time)
    on_depth = np.zeros((problem.n_channels, pull.shape[-1]))
    on_depth[segment.channels] = pull[:, 0]
    on_shared = np.zeros((len(solution.shared), pull.shape[-1]))
    on_shared[near.where] = pull[:, 1:].sum(axis=0)
    return solution.solve(on_depth, on_shared)


@dataclass(frozen=True)
class Tangent:
    """The model of one segment near a point: its residual and its derivatives, few columns in time for many parameters.

    linear_basis (wavelength, own, time)     what is linear and belongs to one channel: level and regressors
    columns   (wavelength, column, time)  ∂model/∂(depth; log_a, b², t0; u1, u2; drift of each power of time)
    expand    (wavelength, column, 1 + parameter)  those derivatives to depth and shared parameters: u and drift are
              polynomials in wavelength
    where     (parameter,)                places of the shared parameters
    """

    linear_basis: np.ndarray
    columns: np.ndarray
    expand: np.ndarray
    where: np.ndarray
    residual: np.ndarray
    transit_model: np.ndarray

    def normal_equations(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(wavelength, p, p) and (wavelength, p) in depth and shared parameters, own columns projected out."""
        n, root = self.linear_basis.shape[1], np.sqrt(weight)[:, None]
        both = np.concatenate([self.linear_basis, self.columns, self.residual[:, None]], axis=1) * root
        gram = np.matmul(both, both.transpose(0, 2, 1))
        left = np.linalg.solve(gram[:, :n, :n], gram[:, :n, n:])
        reduced = gram[:, n:, n:] - np.matmul(gram[:, n:, :n], left)
        to_parameters = self.expand.transpose(0, 2, 1)
        inner, right = reduced[:, :-1, :-1], reduced[:, :-1, -1:]
        return np.matmul(np.matmul(to_parameters, inner), self.expand), np.matmul(to_parameters, right)[..., 0]

    def common_pull(self, weight: np.ndarray) -> np.ndarray:
        """(wavelength, 1 + parameter, time): right-hand sides for a unit of flux in every channel at one time."""
        weighted = self.linear_basis * weight[:, None]
        gram = np.matmul(weighted, self.linear_basis.transpose(0, 2, 1))
        cross = np.matmul(self.columns, weighted.transpose(0, 2, 1))
        free = self.columns - np.matmul(cross, np.linalg.solve(gram, self.linear_basis))
        return np.matmul(self.expand.transpose(0, 2, 1), free * weight[:, None])


def tangent(problem: Problem, index: int, depth: np.ndarray, shared: np.ndarray) -> Tangent:
    """Segment `index` near (depth, shared), its own coefficients at their best."""
    segment = problem.segments[index]
    transit = _transit(problem, index, depth[segment.channels], shared)
    drift = _drift(problem, index, shared)
    own = np.concatenate([drift[:, None], np.broadcast_to(segment.nuisance.T, (len(drift), *segment.nuisance.T.shape))], 1)
    own *= transit.flux[:, None]
    coefficients = _solve_own(segment, own)
    gain = coefficients[:, :1] * drift + coefficients[:, 1:] @ segment.nuisance.T
    smooth = own[:, 0] * coefficients[:, :1]
    model = np.matmul(coefficients[:, None], own)[:, 0]
    by_power = (coefficients[:, :1] * transit.flux)[:, None] * segment.trend.T
    columns = np.concatenate([gain[:, None] * transit.derivatives, by_power], axis=1)
    return Tangent(own, columns, *_expansion(problem, index), segment.flux - model, smooth)


def _expansion(problem: Problem, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Tangent.expand and where."""
    segment = problem.segments[index]
    fgs1 = segment.instrument == FGS1.name
    n, u = len(segment.channels), FGS1_U if fgs1 else AIRS_U
    scaled = (segment.wavelength - AIRS_PIVOT) / AIRS_HALF_WIDTH
    in_u = np.ones((n, 1)) if fgs1 else np.stack([np.ones(n), scaled], axis=1)
    in_drift = _drift_basis(segment)
    blocks = [np.ones((n, 1))] * 4 + [in_u] * 2 + [in_drift] * TREND_ORDER
    expand = np.zeros((n, len(blocks), sum(block.shape[1] for block in blocks)))
    place = 0
    for column, block in enumerate(blocks):
        expand[:, column, place : place + block.shape[1]] = block
        place += block.shape[1]
    drift = range(*problem.drift_index(index).indices(len(problem.prior_mean)))
    return expand, np.array([LOG_A, B_SQUARED, problem.t0_index(index), *range(u.start, u.stop), *drift])


@dataclass(frozen=True)
class _Transit:
    """flux (wavelength, time) and its derivatives (wavelength, 6, time): depth; log_a, b², t0; u1, u2."""

    flux: np.ndarray
    derivatives: np.ndarray


def _transit(problem: Problem, index: int, depth: np.ndarray, shared: np.ndarray) -> _Transit:
    segment = problem.segments[index]
    n_parts = max(1, int(np.ceil(segment.exposure / (PART_OF_DURATION * problem.duration))))
    parts = (np.arange(n_parts) + 0.5) / n_parts - 0.5
    times = segment.time[:, None] + parts * segment.exposure
    z, dz = separation(times, shared[problem.t0_index(index)], problem.period, shared[LOG_A], shared[B_SQUARED])
    if segment.instrument == AIRS.name:
        u1, u2, _ = airs_coefficients(shared[AIRS_U], segment.wavelength)
    else:
        u1, u2 = (np.full(len(depth), u) for u in shared[FGS1_U])
    k = np.sqrt(np.maximum(depth, SMALLEST_DEPTH))
    flux, d_k, d_u, d_orbit = transit_flux(z, k, u1, u2, dz)
    d_depth = d_k / (2 * k[:, None])
    derivatives = np.concatenate([d_depth[:, None], d_orbit, d_u], axis=1)
    return _Transit(flux + d_depth * (depth - k**2)[:, None], derivatives)


def _drift_basis(segment: Segment) -> np.ndarray:
    """(wavelength, order): Legendre polynomials of wavelength that each power of the drift may follow."""
    x = (segment.wavelength - AIRS_PIVOT) / AIRS_HALF_WIDTH
    return np.polynomial.legendre.legvander(x, drift_orders(segment) - 1)


def _drift(problem: Problem, index: int, shared: np.ndarray) -> np.ndarray:
    segment = problem.segments[index]
    coefficients = shared[problem.drift_index(index)].reshape(TREND_ORDER, -1)
    return 1 + _drift_basis(segment) @ coefficients.T @ segment.trend.T


def _solve_own(segment: Segment, own: np.ndarray) -> np.ndarray:
    """Level and regressors' coefficients of every channel, (wavelength, own): weighted least squares."""
    weighted = own * segment.weight[:, None]
    gram = np.matmul(weighted, own.transpose(0, 2, 1))
    return np.linalg.solve(gram, np.matmul(weighted, segment.flux[..., None]))[..., 0]
