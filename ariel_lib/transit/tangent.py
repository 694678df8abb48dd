"""The linearised model of a fit: light curves at given depths and shared parameters, and their derivatives.

Model of segment s and channel λ:  F = T(t; k²_λ, u_λ, orbit) · [S_λ (1 + Σ_jm q_jm f_j(t) P_m(λ)) + Σ_i e_λi n_i(t)].
S and e are linear and specific to a channel; they are eliminated by variable projection (Golub & Pereyra 1973).
"""

from dataclasses import dataclass

import numpy as np

from ariel_lib.instrument import AIRS, FGS1
from ariel_lib.transit.limb_darkening import AIRS_HALF_WIDTH, AIRS_PIVOT, airs_coefficients
from ariel_lib.transit.occultation import transit_flux
from ariel_lib.transit.orbit import separation
from ariel_lib.transit.segments import DRIFT_ORDERS, POLYNOMIALS, TREND_ORDER, Segment, drift_terms

PART_OF_DURATION = 0.004  # longest sub-exposure, in transit durations; curvature within one stays below 1 ppm of flux
# Prior sigma of a drift coefficient by function of time, relative flux. Cubic: wide, regularises what the data do not constrain.
# Cosines: a smooth drift, 18 ppm rms in all, until the population of fits shows what drifts there are.
DRIFT_PRIOR = np.where(np.arange(TREND_ORDER) < POLYNOMIALS, 0.05, 3e-4 / np.arange(1, TREND_ORDER + 1) ** 2)
SMALLEST_DEPTH = 1e-5  # the flux is extrapolated linearly below this depth, so that noise can give negative depths
LOG_A, B_SQUARED, FGS1_U, AIRS_U = 0, 1, slice(2, 4), slice(4, 8)  # indices of the shared parameters
N_PHYSICAL = 8  # orbit and limb darkening, first among the shared parameters


@dataclass(frozen=True)
class Problem:
    """Data and priors of a fit: segments, orbital period and expected transit duration in h, prior of the shared parameters.

    Shared parameters: (log_a, b², FGS1 u ×2, AIRS u ×4, t0 of each segment, drift coefficients of each segment).
    """

    segments: tuple[Segment, ...]
    n_channels: int
    period: float
    duration: float
    prior_mean: np.ndarray
    prior_sigma: np.ndarray

    def t0_index(self, segment: int) -> int:
        """Index of a segment's mid-transit time among the shared parameters."""
        return N_PHYSICAL + segment

    def drift_index(self, segment: int) -> slice:
        """Indices of a segment's drift coefficients among the shared parameters."""
        sizes = [len(drift_terms(s)[0]) for s in self.segments]
        first = N_PHYSICAL + len(self.segments) + sum(sizes[:segment])
        return slice(first, first + sizes[segment])


@dataclass(frozen=True)
class Tangent:
    """Linearised model of one segment; derivatives share few time series among many parameters.

    linear_basis   (wavelength, basis, time)            level and regressors of each channel, solved exactly
    columns        (wavelength, column, time)           ∂model/∂(depth; log_a, b², t0; u1, u2)
    brightness     (wavelength, time)                   ∂model/∂drift, times trend (time, function)
    expand         (wavelength, column, 1 + parameter)  from columns, then functions of trend, to depth and shared parameters: limb
                                                        darkening and drift are polynomials in wavelength
    where          (parameter,)                         indices among the shared parameters
    residual, transit_model  (wavelength, time)
    """

    linear_basis: np.ndarray
    columns: np.ndarray
    brightness: np.ndarray
    trend: np.ndarray
    expand: np.ndarray
    where: np.ndarray
    residual: np.ndarray
    transit_model: np.ndarray

    def derivatives(self) -> np.ndarray:
        """∂model/∂(depth; log_a, b², t0; u1, u2; functions of the drift), (wavelength, column, time); `expand` leads to the parameters."""
        return np.concatenate([self.columns, self.brightness[:, None] * self.trend.T], axis=1)

    def normal_equations(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normal matrices (wavelength, p, p) and right-hand sides (wavelength, p), linear_basis projected out."""
        n, root = self.linear_basis.shape[1], np.sqrt(weight)[:, None]
        series = np.concatenate([self.linear_basis, self.residual[:, None], self.columns], axis=1) * root
        gram = _gram(series, self.brightness * root[:, 0], self.trend)
        left = np.linalg.solve(gram[:, :n, :n], gram[:, :n, n:])
        reduced = gram[:, n:, n:] - np.matmul(gram[:, n:, :n], left)
        to_parameters = self.expand.transpose(0, 2, 1)
        inner, right = reduced[:, 1:, 1:], reduced[:, 1:, :1]
        return np.matmul(np.matmul(to_parameters, inner), self.expand), np.matmul(to_parameters, right)[..., 0]

    def common_rhs(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Right-hand sides (wavelength, time) and, summed over wavelengths, (parameter, time) for unit flux in all channels at one time."""
        weighted = self.linear_basis * weight[:, None]
        gram = np.matmul(weighted, self.linear_basis.transpose(0, 2, 1))
        derivatives = self.derivatives()
        cross = np.matmul(derivatives, weighted.transpose(0, 2, 1))
        free = (derivatives - np.matmul(cross, np.linalg.solve(gram, self.linear_basis))) * weight[:, None]
        return free[:, 0], np.tensordot(self.expand[:, :, 1:], free, ([0, 1], [0, 1]))


def _gram(series: np.ndarray, factor: np.ndarray, functions: np.ndarray) -> np.ndarray:
    """Gram matrices (wavelength, n + m, n + m) of time series (wavelength, n, time) and of factor (wavelength, time) × functions (time, m).

    The products of functions are common to all wavelengths, so that their part is one matrix product.
    """
    n, m = series.shape[1], functions.shape[1]
    gram = np.empty((len(series), n + m, n + m))
    gram[:, :n, :n] = np.matmul(series, series.transpose(0, 2, 1))
    gram[:, :n, n:] = (series * factor[:, None]) @ functions
    gram[:, n:, :n] = gram[:, :n, n:].transpose(0, 2, 1)
    first, second = np.triu_indices(m)
    pairs = factor**2 @ (functions[:, first] * functions[:, second])
    gram[:, n + first, n + second] = gram[:, n + second, n + first] = pairs
    return gram


def tangent(problem: Problem, index: int, depth: np.ndarray, shared: np.ndarray) -> Tangent:
    """Linearise the model of segment number index at (depth, shared), levels and regressors' coefficients at their optimum."""
    segment = problem.segments[index]
    transit = _transit(problem, index, depth[segment.channels], shared)
    drift = _drift(problem, index, shared)
    basis = np.concatenate([drift[:, None], np.broadcast_to(segment.nuisance.T, (len(drift), *segment.nuisance.T.shape))], 1)
    basis *= transit.flux[:, None]
    coefficients = _solve_linear(segment, basis)
    gain = coefficients[:, :1] * drift + coefficients[:, 1:] @ segment.nuisance.T
    transit_model = basis[:, 0] * coefficients[:, :1]
    model = np.matmul(coefficients[:, None], basis)[:, 0]
    return Tangent(
        basis, gain[:, None] * transit.derivatives, coefficients[:, :1] * transit.flux, segment.trend, *_expansion(problem, index),
        segment.flux - model, transit_model,
    )  # fmt: skip


def _expansion(problem: Problem, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Tangent.expand and Tangent.where of a segment."""
    segment = problem.segments[index]
    fgs1 = segment.instrument == FGS1.name
    n, u = len(segment.channels), FGS1_U if fgs1 else AIRS_U
    scaled = (segment.wavelength - AIRS_PIVOT) / AIRS_HALF_WIDTH
    in_u = np.ones((n, 1)) if fgs1 else np.stack([np.ones(n), scaled], axis=1)
    in_drift = _drift_basis(segment)
    power, order = drift_terms(segment)
    blocks = [np.ones((n, 1))] * 4 + [in_u] * 2 + [in_drift[:, order[power == p]] for p in range(segment.trend.shape[1])]
    expand = np.zeros((n, len(blocks), sum(block.shape[1] for block in blocks)))
    place = 0
    for column, block in enumerate(blocks):
        expand[:, column, place : place + block.shape[1]] = block
        place += block.shape[1]
    drift = range(*problem.drift_index(index).indices(len(problem.prior_mean)))
    return expand, np.array([LOG_A, B_SQUARED, problem.t0_index(index), *range(u.start, u.stop), *drift])


@dataclass(frozen=True)
class _Transit:
    """Transit light curves: flux (wavelength, time) and derivatives (wavelength, 6, time) by depth; log_a, b², t0; u1, u2."""

    flux: np.ndarray
    derivatives: np.ndarray


def _transit(problem: Problem, index: int, depth: np.ndarray, shared: np.ndarray) -> _Transit:
    """Transit light curves of a segment averaged over each exposure; depth (wavelength,) of its channels."""
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
    """Legendre polynomials (wavelength, order) in which each function of time of the drift is expanded."""
    x = (segment.wavelength - AIRS_PIVOT) / AIRS_HALF_WIDTH
    return np.polynomial.legendre.legvander(x, DRIFT_ORDERS.max() - 1)


def _drift(problem: Problem, index: int, shared: np.ndarray) -> np.ndarray:
    """Baseline factor 1 + drift of a segment, (wavelength, time)."""
    segment = problem.segments[index]
    coefficients = np.zeros((segment.trend.shape[1], DRIFT_ORDERS.max()))
    coefficients[drift_terms(segment)] = shared[problem.drift_index(index)]
    return 1 + _drift_basis(segment) @ coefficients.T @ segment.trend.T


def _solve_linear(segment: Segment, basis: np.ndarray) -> np.ndarray:
    """Coefficients (wavelength, basis) of basis (wavelength, basis, time) in every channel by weighted least squares."""
    weighted = basis * segment.weight[:, None]
    gram = np.matmul(weighted, basis.transpose(0, 2, 1))
    return np.linalg.solve(gram, np.matmul(weighted, segment.flux[..., None]))[..., 0]
