"""Bad pixels: dead, without a usable flat, frequently saturated, or unstable in time.

Hot pixels are kept: their dark current is stable and subtracted, and its Poisson noise lowers their weight.
"""

from dataclasses import dataclass

import numpy as np

from ariel_lib.calibration.frames import Frames
from ariel_lib.io.layout import CalibrationMaps

MIN_FLAT = 0.25  # flats of live pixels are 0.93 to 1.07, of dead ones -0.05 to 0.06 (planets 342072318 and 9000001)
MAX_SATURATED = 0.01  # fraction of samples; rarer saturation masks only the samples concerned
UNSTABLE = 5.0  # ratio of the scatter in time to that expected from noise and pointing
STEP_LIMIT = 30.0  # standard deviations at which a step between samples is clipped


@dataclass(frozen=True)
class PixelStatistics:
    """Statistics of a stream of CDS samples for each pixel; all but count are (row, column).

    count     number of samples
    mean      electrons
    variance  propagated, electrons²
    scatter   variance in time from successive differences, insensitive to a transit, electrons²
    masked    number of masked samples
    """

    count: int
    mean: np.ndarray
    variance: np.ndarray
    scatter: np.ndarray
    masked: np.ndarray


@dataclass(frozen=True)
class PixelSums:
    """Running sums from which PixelStatistics are computed; all but count and last are (row, column).

    count             number of samples
    signal, variance  sums over the unmasked samples, electrons and electrons²
    steps             sum of squared differences between successive unmasked samples, electrons²
    pairs             number of these differences
    masked            number of masked samples
    last              the last sample of the stream
    """

    count: int
    signal: np.ndarray
    variance: np.ndarray
    steps: np.ndarray
    pairs: np.ndarray
    masked: np.ndarray
    last: Frames

    def statistics(self) -> PixelStatistics:
        """Means and scatter from the sums."""
        samples = np.maximum(self.count - self.masked, 1)
        scatter = self.steps / (2 * np.maximum(self.pairs, 1))
        return PixelStatistics(self.count, self.signal / samples, self.variance / samples, scatter, self.masked)


def add_samples(sums: PixelSums | None, frames: Frames) -> PixelSums:
    """Add a block of at least one CDS sample to the sums; sums None starts them."""
    good = ~frames.mask
    start = [] if sums is None else [sums.last]
    steps, pairs = _squared_steps(*(
        np.concatenate([getattr(part, name) for part in (*start, frames)]) for name in ("signal", "variance", "mask")
    ))  # fmt: skip
    block = PixelSums(
        len(frames),
        np.where(good, frames.signal, 0).sum(0),
        np.where(good, frames.variance, 0).sum(0),
        steps,
        pairs,
        frames.mask.sum(0),
        frames.samples(slice(-1, None)),
    )
    if sums is None:
        return block
    added = {
        name: getattr(sums, name) + getattr(block, name) for name in ("count", "signal", "variance", "steps", "pairs", "masked")
    }
    return PixelSums(**added, last=block.last)


def _squared_steps(signal: np.ndarray, variance: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ (Sᵢ₊₁ − Sᵢ)² over time and the number of its terms, those without a masked sample.

    Each step is clipped at STEP_LIMIT sigma so that one outlier does not make a pixel unstable.
    """
    limit, good = STEP_LIMIT**2 * (variance[1:] + variance[:-1]), ~(mask[1:] | mask[:-1])
    return np.where(good, np.minimum(np.diff(signal, axis=0) ** 2, limit), 0).sum(0), good.sum(0)


def unusable_pixels(maps: CalibrationMaps) -> np.ndarray:
    """Pixels marked dead, with a flat below MIN_FLAT, or with non-finite maps: bool (row, column)."""
    finite = np.isfinite(maps.dark) & np.isfinite(maps.read_noise) & np.isfinite(maps.linearity).all(0)
    return maps.dead | ~(maps.flat > MIN_FLAT) | ~finite


def neutralise(maps: CalibrationMaps, bad: np.ndarray) -> CalibrationMaps:
    """Maps with neutral values at bad pixels (row, column), so that these stay finite; their weight is 0."""
    identity = np.zeros(maps.linearity.shape)
    identity[1] = 1
    return CalibrationMaps(
        np.where(bad, 0, maps.dark), np.where(bad, 1, maps.flat), np.where(bad, 0, maps.read_noise), maps.dead,
        np.where(bad, identity, maps.linearity),
    )  # fmt: skip


def unstable_pixels(pixels: PixelStatistics, unusable: np.ndarray) -> np.ndarray:
    """Pixels that are frequently saturated or whose scatter far exceeds propagated noise and jitter: bool (row, column).

    A pointing offset δ changes the image by S ≈ M − δ·∇M, which adds jitter²·|∇M|² to the variance of pixels on the trace. The
    jitter is estimated as the median over the pixels with the steepest gradients.

    pixels    statistics of CDS samples
    unusable  (row, column)  pixels already known as bad, left out
    """
    saturated = pixels.masked > MAX_SATURATED * pixels.count
    if pixels.count < 2:
        return saturated & ~unusable
    slope = sum(gradient**2 for gradient in np.gradient(pixels.mean))
    steep = ~unusable & (slope > pixels.variance)
    excess = (pixels.scatter[steep] - pixels.variance[steep]) / slope[steep]
    jitter = max(np.median(excess), 0.0) if steep.any() else 0.0
    expected = pixels.variance + jitter * slope
    # The relative uncertainty of a variance from n samples is √(2/n): the limit is raised accordingly.
    limit = UNSTABLE**2 * (1 + 5 * np.sqrt(2 / (pixels.count - 1)))
    return (saturated | (pixels.scatter > limit * expected)) & ~unusable
