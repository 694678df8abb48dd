"""Gauss–Newton fit of all depths, orbit, limb darkening, drift and levels together; its model is in tangent.py.

Each depth belongs to one channel and all other parameters are shared, so the normal matrix is an arrow: a diagonal of depths, a
small dense block of shared parameters, and the coupling between them. The depth covariance is then diagonal plus low rank.
"""

from dataclasses import dataclass, replace

import numpy as np

from ariel_lib.transit.tangent import B_SQUARED, Problem, tangent

DEPTH_PRIOR = (0.0147, 0.05)  # mean of the 2025 labels, five times their spread


@dataclass(frozen=True)
class Solution:
    """Parameters of the fit and the normal equations linearised there; objective is χ² plus the priors' penalty.

    depth, shared          (wavelength,), (parameter,)  parameters
    depth_precision, coupling, shared_precision         blocks (wavelength,), (wavelength, parameter), (parameter, parameter) of
                                                        the normal matrix, priors included
    depth_rhs, shared_rhs  (wavelength,), (parameter,)  right-hand sides
    model, transit_model (without regressors), residual: one (wavelength, time) array per segment
    """

    depth: np.ndarray
    shared: np.ndarray
    objective: float
    depth_precision: np.ndarray
    coupling: np.ndarray
    shared_precision: np.ndarray
    depth_rhs: np.ndarray
    shared_rhs: np.ndarray
    model: tuple[np.ndarray, ...]
    transit_model: tuple[np.ndarray, ...]
    residual: tuple[np.ndarray, ...]
    converged: bool = False

    def step(self) -> tuple[np.ndarray, np.ndarray]:
        """Gauss–Newton step of (depth, shared). b² = 0 is held fixed where the step would make it negative."""
        left = self.coupling / self.depth_precision[:, None]
        schur, right = self.shared_precision - self.coupling.T @ left, self.shared_rhs - left.T @ self.depth_rhs
        step_shared = np.linalg.solve(schur, right)
        if self.shared[B_SQUARED] == 0 and step_shared[B_SQUARED] < 0:
            free = np.arange(len(right)) != B_SQUARED
            step_shared = np.zeros(len(right))
            step_shared[free] = np.linalg.solve(schur[np.ix_(free, free)], right[free])
        return (self.depth_rhs - self.coupling @ step_shared) / self.depth_precision, step_shared

    def solve(self, on_depth: np.ndarray, on_shared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Solve the normal equations for right-hand sides (wavelength, n) and (parameter, n); solutions of the same shapes."""
        left = self.coupling / self.depth_precision[:, None]
        shared = np.linalg.solve(self.shared_precision - self.coupling.T @ left, on_shared - left.T @ on_depth)
        return (on_depth - self.coupling @ shared) / self.depth_precision[:, None], shared

    def covariances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Posterior covariances of (depth, depth), (depth, shared) and (shared, shared), two axes each."""
        left, shared = self.coupling / self.depth_precision[:, None], self.shared_covariance()
        cross = -left @ shared
        return np.diag(1 / self.depth_precision) - cross @ left.T, cross, shared

    def shared_covariance(self) -> np.ndarray:
        """Covariance (parameter, parameter) of the shared parameters, depths marginalised."""
        return np.linalg.inv(self.shared_precision - self.coupling.T @ (self.coupling / self.depth_precision[:, None]))


def solve(
    problem: Problem, depth: np.ndarray, shared: np.ndarray, *, steps: int = 12, tolerance: float = 0.01
) -> Solution:
    """Gauss–Newton with step halving from (depth, shared); converged when the objective decreases by less than tolerance."""
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
    problem: Problem, spectrum: np.ndarray, shared: np.ndarray, *, steps: int = 6, tolerance: float = 0.1
) -> tuple[Solution, np.ndarray, np.ndarray]:
    """Fit many noisy channels; returns the last point of linearisation and the fitted depth and shared parameters.

    spectrum (wavelength,): a smooth spectrum at which depths are linearised; shared (parameter,): a good starting point.

    Linearised at its own noisy depth, each channel's stated error would correlate with its fluctuation, and averages weighted by
    the covariance would be biased low (Peelle's puzzle; D'Agostini 1994, NIM A 346, 306). Flux is nearly linear in depth, so the
    smooth spectrum costs no accuracy. Converged when no shared parameter moves by more than tolerance standard deviations.
    """
    for _ in range(steps):
        point = linearise(problem, spectrum, shared)
        step_depth, step_shared = point.step()
        shared = shared + step_shared
        shared[B_SQUARED] = max(shared[B_SQUARED], 0.0)
        if np.max((shared - point.shared) ** 2 / np.diag(point.shared_covariance())) < tolerance**2:
            return replace(point, converged=True), spectrum + step_depth, shared
    return point, spectrum + step_depth, shared


def _shorten(problem: Problem, start: Solution, tolerance: float) -> Solution | None:
    """Solution after the first of 1, 1/2, 1/4, … of the Gauss–Newton step that does not raise the objective, or None."""
    step_depth, step_shared = start.step()
    for halvings in range(7):
        shared = start.shared + step_shared / 2**halvings
        shared[B_SQUARED] = max(shared[B_SQUARED], 0.0)
        trial = linearise(problem, start.depth + step_depth / 2**halvings, shared)
        if trial.objective <= start.objective + tolerance:
            return trial
    return None


def linearise(problem: Problem, depth: np.ndarray, shared: np.ndarray) -> Solution:
    """Model, residuals and normal equations at depth (wavelength,) and shared (parameter,)."""
    n, q = problem.n_channels, len(shared)
    precision = 1 / problem.prior_sigma**2
    offset = problem.prior_mean - shared
    depth_precision = np.full(n, DEPTH_PRIOR[1] ** -2)
    depth_rhs = depth_precision * (DEPTH_PRIOR[0] - depth)
    objective = float(np.sum(precision * offset**2) + np.sum(depth_rhs**2 / depth_precision))
    coupling, shared_precision, shared_rhs = np.zeros((n, q)), np.diag(precision), precision * offset
    models, transit_models, residuals = [], [], []
    for index, segment in enumerate(problem.segments):
        near = tangent(problem, index, depth, shared)
        gram, right = near.normal_equations(segment.weight)
        where = near.where
        depth_precision[segment.channels] += gram[:, 0, 0]
        depth_rhs[segment.channels] += right[:, 0]
        coupling[np.ix_(segment.channels, where)] += gram[:, 0, 1:]
        shared_precision[np.ix_(where, where)] += gram[:, 1:, 1:].sum(axis=0)
        shared_rhs[where] += right[:, 1:].sum(axis=0)
        objective += float(np.sum(segment.weight * near.residual**2))
        models.append(segment.flux - near.residual)
        transit_models.append(near.transit_model)
        residuals.append(near.residual)
    return Solution(
        depth, shared, objective, depth_precision, coupling, shared_precision, depth_rhs, shared_rhs,
        tuple(models), tuple(transit_models), tuple(residuals),
    )  # fmt: skip


def common_response(problem: Problem, solution: Solution, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Derivative of depth (wavelength, time) and shared (parameter, time) with respect to flux common to all channels of a segment.

    It propagates noise common to all channels of segment number index into the fitted parameters.
    """
    segment, near = problem.segments[index], tangent(problem, index, solution.depth, solution.shared)
    on_depth = np.zeros((problem.n_channels, len(segment.time)))
    on_shared = np.zeros((len(solution.shared), len(segment.time)))
    on_depth[segment.channels], on_shared[near.where] = near.common_rhs(segment.weight)
    return solution.solve(on_depth, on_shared)
