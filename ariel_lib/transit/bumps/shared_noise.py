"""White and red noise common to several bands of a visit, as cosines of time with prior variances.

A stationary process on a visit of length L is Σ a_k cos(πkt/L) with Var(a_k) = 2 S(k/2L) / L. Red noise is an
Ornstein–Uhlenbeck process, common to all bands or to one instrument; its variance and correlation time are averaged over
trial values, weighted by their evidence. Independent of bumps and transits.
"""

from collections.abc import Sequence

import numpy as np

CORRELATION_TIMES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # trial values, in transit durations
SHARES = np.logspace(-2, 1.5, 8)  # trial variances of the process over the variance of a sample of white light
PURELY_WHITE = 0.8  # prior probability of no red noise; the rest is divided evenly among the trials


def cosines(time: np.ndarray, first: float, last: float, n_modes: int) -> np.ndarray:
    """cos(πkt/L), k = 1 … n_modes, at time (time,) of a visit from first to last, (mode, time)."""
    return np.cos(np.pi * np.arange(1, n_modes + 1)[:, None] * (time - first) / (last - first))


def white_variance(residuals: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> tuple[float, np.ndarray]:
    """White noise of bands with common sampling, from differences of neighbouring samples (insensitive to bumps and drifts).

    residuals, weights: one (time,) array per band. Returns the variance per sample common to all bands, and the ratio (band,),
    at least 1, of each band's independent variance to 1/weight.
    """
    used = np.all([w > 0 for w in weights], axis=0)
    both = used[1:] & used[:-1]
    steps = np.stack([np.diff(r)[both] for r in residuals]) / np.sqrt(2)
    if steps.shape[1] < 2:
        return 0.0, np.ones(len(residuals))
    precision = np.array([np.median(w[used]) for w in weights])
    total, pair_weight = steps @ steps.T / steps.shape[1], np.triu(np.outer(precision, precision), 1)
    shared = max(float((pair_weight * total).sum() / pair_weight.sum()), 0.0) if len(residuals) > 1 else 0.0
    return shared, np.maximum((np.diag(total) - shared) * precision, 1.0)


def weigh_processes(
    right: np.ndarray, gram: np.ndarray, duration: float, span: float, sample_variance: np.ndarray
) -> tuple[np.ndarray, float]:
    """Posterior mean variance (process, mode) of each cosine, and the log evidence relative to no red noise.

    right            (process, mode)                 scalar products of modes and whitened residuals
    gram             (process, mode, process, mode)  of modes with one another; fitted parameters projected out of both
    sample_variance  (process,)                      of one sample of the white light of each process
    duration, span   of the transit and the visit, h
    """
    n_processes, n_modes = right.shape
    correlation_time = duration * np.array(CORRELATION_TIMES)[:, None]
    shape = 4 * correlation_time / span / (1 + (np.pi * np.arange(1, n_modes + 1) * correlation_time / span) ** 2)
    trials = (SHARES[:, None, None] * shape).reshape(-1, n_modes)  # of one process, in units of its white variance
    evidence = np.stack([
        _log_evidence(np.sqrt(trials * sample_variance[n]), right[n], gram[n, :, n]) for n in range(n_processes)
    ])  # fmt: skip
    prior = (1 - PURELY_WHITE) / evidence.size
    top = max(evidence.max(), 0.0)
    posterior = prior * np.exp(evidence - top)
    total = posterior.sum() + PURELY_WHITE * np.exp(-top)
    return (posterior / total) @ trials * sample_variance[:, None], float(top + np.log(total))


def _log_evidence(root: np.ndarray, right: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Log evidence of each trial relative to no red noise, (trial,); root (trial, mode): standard deviations of the modes."""
    factor = np.linalg.cholesky(np.eye(len(right)) + root[:, :, None] * gram * root[:, None, :])
    solved = np.linalg.solve(factor, (root * right)[..., None])[..., 0]
    return 0.5 * (solved**2).sum(axis=1) - np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
