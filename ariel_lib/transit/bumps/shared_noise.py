"""Noise that the bands of a visit share, with a memory or without one: cosines of time with a prior variance each.

A stationary process on a visit of length L is Σ a_k cos(πkt/L) with Var(a_k) = 2 S(k/2L) / L. With a memory it is an
Ornstein–Uhlenbeck process; how strong and how long is found from the light itself, averaged over all trials by their
marginal likelihood, and it may be common to all bands or to one instrument alone. Knows no bump and no transit.
"""

from collections.abc import Sequence

import numpy as np

MEMORIES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # trial correlation times, in transit durations
SHARES = np.logspace(-2, 1.5, 8)  # trial variances of the process over the variance of white light, a sample
PURELY_WHITE = 0.8  # prior probability that nothing has a memory; the rest is shared out over the trials


def cosines(time: np.ndarray, first: float, last: float, n_modes: int) -> np.ndarray:
    """cos(πkt/L) for k = 1 … n_modes on the visit from first to last, (mode, time)."""
    return np.cos(np.pi * np.arange(1, n_modes + 1)[:, None] * (time - first) / (last - first))


def white_variance(residuals: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> tuple[float, np.ndarray]:
    """Of bands sampled together: the variance a sample that all share (gain), and the excess of each band's own over 1/weight.

    From differences of neighbours, which a bump or a drift hardly touches. Excess (band,), at least 1.
    """
    used = np.all([w > 0 for w in weights], axis=0)
    both = used[1:] & used[:-1]
    steps = np.stack([np.diff(r)[both] for r in residuals]) / np.sqrt(2)
    if steps.shape[1] < 2:
        return 0.0, np.ones(len(residuals))
    precision = np.array([np.median(w[used]) for w in weights])
    total, trust = steps @ steps.T / steps.shape[1], np.triu(np.outer(precision, precision), 1)
    shared = max(float((trust * total).sum() / trust.sum()), 0.0) if len(residuals) > 1 else 0.0
    return shared, np.maximum((np.diag(total) - shared) * precision, 1.0)


def weigh_processes(
    pull: np.ndarray, gram: np.ndarray, duration: float, span: float, sample_variance: np.ndarray
) -> tuple[np.ndarray, float]:
    """Expected variance (family, mode) of every cosine, and ln of the marginal likelihood over that of no memory at all.

    pull (family, mode) and gram (family, mode, family, mode): overlaps of the modes with the white residuals and with one
    another, all that is followed taken out; sample_variance (family,) of white light a sample; duration, span h.
    """
    n_families, n_modes = pull.shape
    memory = duration * np.array(MEMORIES)[:, None]
    shape = 4 * memory / span / (1 + (np.pi * np.arange(1, n_modes + 1) * memory / span) ** 2)
    trials = (SHARES[:, None, None] * shape).reshape(-1, n_modes)  # of one family, in its white variance
    evidence = np.stack([
        _evidence(np.sqrt(trials * sample_variance[n]), pull[n], gram[n, :, n]) for n in range(n_families)
    ])  # fmt: skip
    prior = (1 - PURELY_WHITE) / evidence.size
    top = max(evidence.max(), 0.0)
    chance = prior * np.exp(evidence - top)
    total = chance.sum() + PURELY_WHITE * np.exp(-top)
    return (chance / total) @ trials * sample_variance[:, None], float(top + np.log(total))


def _evidence(root: np.ndarray, pull: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """ln of the likelihood under standard deviations root (trial, mode) over that under none, (trial,)."""
    factor = np.linalg.cholesky(np.eye(len(pull)) + root[:, :, None] * gram * root[:, None, :])
    solved = np.linalg.solve(factor, (root * pull)[..., None])[..., 0]
    return 0.5 * (solved**2).sum(axis=1) - np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
