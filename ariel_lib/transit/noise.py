"""What residuals say about noise that the propagated variances leave out.

Each channel has an excess of its own. What all channels share is seen in white light: a part without memory (gain,
jitter) and a part with one, an Ornstein–Uhlenbeck process; both are found in the power spectrum of the white residuals
(Whittle 1953), corrected for what the fit has absorbed and averaged over all trial memories, and enter the depths through the fit's linear
response (Pont, Zucker & Queloz 2006 state the problem). Knows segments and residuals; no orbit, no spectrum.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import dct
from scipy.linalg import toeplitz

from ariel_lib.transit.segments import CLIP_SIGMA, Segment

SMALLEST_EXCESS = 0.5  # variance ratio: propagated variances are not taken to be wrong by more than this on the low side
EXCESS_STRENGTH = 100  # samples that the segment's median excess counts for beside a channel's own
MEMORIES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # trial correlation times, in transit durations
RED_SHARES = np.concatenate([[0.0], np.logspace(-3, 1.5, 37)])  # trial variances of the red part over the white part
PURELY_WHITE = 0.8  # prior probability that no part has a memory; the rest is shared out over the trials
SURE = 0.95  # posterior probability of a memory from which it is reported
SEEN = 0.2  # modes of which the fit has left less than this are not used
RANK = 1e-3  # of the largest: weaker directions are not counted as absorbed


@dataclass(frozen=True)
class CommonNoise:
    """White residuals of one segment, in units of their propagated variance; expected values over all trials.

    white     variance of the part without memory, 1 when the channels' own noise explains everything
    red_noise (lag,) autocovariance of the part with memory
    red_noise_probability    probability that there is such a part
    """

    white: float
    red_noise: np.ndarray
    red_noise_probability: float

    def covariance(self, variance: np.ndarray) -> np.ndarray:
        """Of the noise that all channels share, (time, time); variance (time,) propagated, of the white light."""
        kernel, root = self.red_noise.copy(), np.sqrt(variance)
        kernel[0] += max(self.white - 1, 0.0)
        return toeplitz(kernel) * root[:, None] * root


def reweight(segment: Segment, residual: np.ndarray) -> Segment:
    """Drop samples beyond 8 sigma and divide the weights by each channel's excess variance."""
    excess = _excess(segment, residual)
    outlier = segment.weight * residual**2 > CLIP_SIGMA**2 * excess[:, None]
    kept = replace(segment, weight=np.where(outlier, 0.0, segment.weight))
    return replace(kept, weight=kept.weight / _excess(kept, residual)[:, None])


def _excess(segment: Segment, residual: np.ndarray) -> np.ndarray:
    """Residual over propagated variance of each channel, (wavelength,), drawn to the segment's median."""
    samples = np.count_nonzero(segment.weight, axis=1)
    freedom = np.maximum(samples - 2 - segment.nuisance.shape[1], 1)
    own = (segment.weight * residual**2).sum(axis=1) / freedom
    shrunk = (samples * own + EXCESS_STRENGTH * np.median(own)) / (samples + EXCESS_STRENGTH)
    return np.maximum(shrunk, SMALLEST_EXCESS)


def white_light(segment: Segment, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean residual over the channels and its propagated variance, (time,); 0 and 0 where no channel is usable."""
    total = segment.weight.sum(axis=0)
    share = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    return share * (segment.weight * residual).sum(axis=0), share


def absorbed(segment: Segment, variance: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Orthonormal directions (direction, time) of the whitened white light that the fit follows.

    Level, drift, regressors, and everything through which the depths answer: response (wavelength, time).
    """
    root = np.sqrt(variance)
    whiten = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
    own = np.concatenate([np.ones((1, len(root))), segment.trend.T, segment.nuisance.T]) * whiten
    answers = response * root
    size, mixed = np.linalg.eigh(answers @ answers.T)
    answers = mixed[:, size > RANK**2 * size[-1]].T @ answers if size[-1] > 0 else answers[:0]
    rows = np.concatenate([own, answers])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    _, size, directions = np.linalg.svd(rows, full_matrices=False)
    return directions[size > RANK * size[0]]


def fit_common_noise(segment: Segment, residual: np.ndarray, response: np.ndarray, duration: float) -> CommonNoise:
    """residual (wavelength, time); response as in absorbed; duration of the transit, h."""
    white, variance = white_light(segment, residual)
    used = variance > 0
    whitened = np.divide(white, np.sqrt(variance), out=np.zeros_like(white), where=used)
    seen = 1 - (dct(absorbed(segment, variance, response), norm="ortho", axis=1) ** 2).sum(axis=0)
    mode = np.arange(len(white))
    keep = (seen > SEEN) & (mode > 0)
    power = dct(whitened, norm="ortho")[keep] ** 2 / seen[keep] * len(white) / max(used.sum(), 1)
    memory = np.maximum(np.array(MEMORIES) * duration / segment.exposure, 1.0)[:, None, None]
    decay = np.exp(-1 / memory)
    frequency = np.pi * mode[keep] / len(white)
    spectrum = (1 - decay**2) / (1 - 2 * decay * np.cos(frequency) + decay**2)  # (memory, 1, mode)
    shape = 1 + RED_SHARES[:, None] * spectrum
    level = np.mean(power / shape, axis=-1)  # (memory, share)
    misfit = keep.sum() * np.log(level) + np.log(shape).sum(axis=-1)
    prior = np.full(level.shape, (1 - PURELY_WHITE) / (level.size - len(MEMORIES)))
    prior[:, 0] = PURELY_WHITE / len(MEMORIES)
    chance = prior * np.exp(-0.5 * (misfit - misfit.min()))
    chance /= chance.sum()
    red = np.exp(-np.arange(len(white)) / memory[:, 0]).T @ (chance * level * RED_SHARES).sum(axis=1)
    return CommonNoise(float(np.sum(chance * level)), red, float(1 - chance[:, 0].sum()))
