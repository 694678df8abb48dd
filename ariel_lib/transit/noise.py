"""What residuals say about noise that the propagated variances leave out.

Each channel has an excess of its own. What all channels share is seen in white light: a part without memory (gain,
jitter) and a part with one, an Ornstein–Uhlenbeck process; both are found in the power spectrum of the white residuals
(Whittle 1953) with the modes that the fit has absorbed given less weight, and enter the depths through the fit's linear
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
RED_GAIN = 6.0  # fall of −2 ln L that the red part must bring: one white series in fifty passes by chance
SEEN = 0.2  # modes of which the fit has left less than this are not used
RANK = 1e-3  # of the largest: weaker directions are not counted as absorbed


@dataclass(frozen=True)
class CommonNoise:
    """White residuals of one segment, in units of their propagated variance: variance = white + red.

    white     1 when the channels' own noise explains everything
    red       variance of the part with memory, 0 where none is seen
    memory    its correlation time, samples
    """

    white: float
    red: float
    memory: float

    def covariance(self, variance: np.ndarray) -> np.ndarray:
        """Of the noise that all channels share, (time, time); variance (time,) propagated, of the white light."""
        n, root = len(variance), np.sqrt(variance)
        kernel = self.red * np.exp(-np.arange(n) / max(self.memory, 1e-6))
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
    level = np.mean(power / shape, axis=-1)
    misfit = keep.sum() * np.log(level) + np.log(shape).sum(axis=-1)
    best = np.unravel_index(np.argmin(misfit), misfit.shape)
    if misfit[0, 0] - misfit[best] < RED_GAIN:
        return CommonNoise(float(level[0, 0]), 0.0, 1.0)
    return CommonNoise(float(level[best]), float(level[best] * RED_SHARES[best[1]]), float(memory[best[0], 0, 0]))
