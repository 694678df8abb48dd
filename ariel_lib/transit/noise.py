"""Noise in excess of the propagated variances, estimated from the residuals of a fit.

Each channel has its own excess variance. Noise common to all channels is estimated in white light: a white component (gain,
jitter) and a red one, an Ornstein–Uhlenbeck process. Both come from the Whittle (1953) likelihood of the power spectrum of the
white residuals, corrected for the power that the fit has absorbed and averaged over trial correlation times; they enter the depth
covariance through the fit's linear response (red noise in transit fits: Pont, Zucker & Queloz 2006, MNRAS 373, 231).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import dct
from scipy.linalg import toeplitz

from ariel_lib.transit.segments import CLIP_SIGMA, POLYNOMIALS, Segment

SMALLEST_EXCESS = 0.5  # lower limit on a channel's ratio of residual to propagated variance
EXCESS_STRENGTH = 100  # weight of the segment's median excess, in samples, when a channel's excess is shrunk towards it
CORRELATION_TIMES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # trial values, in transit durations
RED_SHARES = np.concatenate([[0.0], np.logspace(-3, 1.5, 37)])  # trial variances of the red component over the white one
PURELY_WHITE = 0.8  # prior probability of no red component; the rest is divided evenly among the trials
SURE = 0.95  # posterior probability of a red component above which it is flagged
MIN_REMAINING_POWER = 0.2  # modes of which the fit leaves a smaller share are not used
RANK = 1e-3  # singular values below this share of the largest are not counted as absorbed


@dataclass(frozen=True)
class CommonNoise:
    """Noise of one segment's white light in units of its propagated variance; posterior means over all trials.

    white                  variance of the white component, 1 where the channels' independent noise explains all of it
    red_noise              (lag,)  autocovariance of the red component
    red_noise_probability  posterior probability that a red component exists
    """

    white: float
    red_noise: np.ndarray
    red_noise_probability: float

    def covariance(self, variance: np.ndarray) -> np.ndarray:
        """Covariance (time, time) of the noise common to all channels; variance (time,): propagated, of the white light."""
        kernel, root = self.red_noise.copy(), np.sqrt(variance)
        kernel[0] += max(self.white - 1, 0.0)
        return toeplitz(kernel) * root[:, None] * root


def reweight(segment: Segment, residual: np.ndarray) -> Segment:
    """Segment with samples beyond 8 sigma given zero weight and the weights divided by each channel's excess variance.

    residual (wavelength, time) of the fit, relative flux.
    """
    excess = _excess(segment, residual)
    outlier = segment.weight * residual**2 > CLIP_SIGMA**2 * excess[:, None]
    kept = replace(segment, weight=np.where(outlier, 0.0, segment.weight))
    return replace(kept, weight=kept.weight / _excess(kept, residual)[:, None])


def _excess(segment: Segment, residual: np.ndarray) -> np.ndarray:
    """Residual over propagated variance of each channel, (wavelength,), shrunk towards the segment's median."""
    samples = np.count_nonzero(segment.weight, axis=1)
    freedom = np.maximum(samples - 2 - segment.nuisance.shape[1], 1)
    excess = (segment.weight * residual**2).sum(axis=1) / freedom
    shrunk = (samples * excess + EXCESS_STRENGTH * np.median(excess)) / (samples + EXCESS_STRENGTH)
    return np.maximum(shrunk, SMALLEST_EXCESS)


def white_light(segment: Segment, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean residual over the channels and its propagated variance, (time,); 0 and 0 where no channel is usable."""
    total = segment.weight.sum(axis=0)
    share = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    return share * (segment.weight * residual).sum(axis=0), share


def absorbed(segment: Segment, variance: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Orthonormal basis (direction, time) of the whitened white light curves that the fit absorbs.

    It spans level, cubic drift, regressors and the response (wavelength, time) of the depths to flux common to all channels; what the
    cosines of the drift take up has a prior of its own. variance (time,) of the white light.
    """
    root = np.sqrt(variance)
    whiten = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
    baseline = np.concatenate([np.ones((1, len(root))), segment.trend.T[:POLYNOMIALS], segment.nuisance.T]) * whiten
    scaled = response * root
    size, mixed = np.linalg.eigh(scaled @ scaled.T)
    scaled = mixed[:, size > RANK**2 * size[-1]].T @ scaled if size[-1] > 0 else scaled[:0]
    rows = np.concatenate([baseline, scaled])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    _, size, directions = np.linalg.svd(rows, full_matrices=False)
    return directions[size > RANK * size[0]]


def fit_common_noise(segment: Segment, residual: np.ndarray, response: np.ndarray, duration: float) -> CommonNoise:
    """White and red noise common to all channels of a segment.

    residual (wavelength, time) of the fit; response (wavelength, time) of the depths to common flux; duration of the transit, h.
    """
    white, variance = white_light(segment, residual)
    used = variance > 0
    whitened = np.divide(white, np.sqrt(variance), out=np.zeros_like(white), where=used)
    remaining = 1 - (dct(absorbed(segment, variance, response), norm="ortho", axis=1) ** 2).sum(axis=0)
    mode = np.arange(len(white))
    keep = (remaining > MIN_REMAINING_POWER) & (mode > 0)
    power = dct(whitened, norm="ortho")[keep] ** 2 / remaining[keep] * len(white) / max(used.sum(), 1)
    correlation_time = np.maximum(np.array(CORRELATION_TIMES) * duration / segment.exposure, 1.0)[:, None, None]  # samples
    decay = np.exp(-1 / correlation_time)
    frequency = np.pi * mode[keep] / len(white)
    spectrum = (1 - decay**2) / (1 - 2 * decay * np.cos(frequency) + decay**2)  # (correlation time, 1, mode)
    shape = 1 + RED_SHARES[:, None] * spectrum
    level = np.mean(power / shape, axis=-1)  # (correlation time, share), its maximum-likelihood value
    misfit = keep.sum() * np.log(level) + np.log(shape).sum(axis=-1)
    prior = np.full(level.shape, (1 - PURELY_WHITE) / (level.size - len(CORRELATION_TIMES)))
    prior[:, 0] = PURELY_WHITE / len(CORRELATION_TIMES)
    posterior = prior * np.exp(-0.5 * (misfit - misfit.min()))
    posterior /= posterior.sum()
    red_noise = np.exp(-np.arange(len(white)) / correlation_time[:, 0]).T @ (posterior * level * RED_SHARES).sum(axis=1)
    return CommonNoise(float(np.sum(posterior * level)), red_noise, float(1 - posterior[:, 0].sum()))
