"""Pixels that must not be used: dead, without a usable flat, saturated for good, or unstable in time.

Hot pixels are kept: their dark is stable and removed, its Poisson noise already lowers their weight.
"""

from dataclasses import dataclass

import numpy as np

from ariel_lib.calibration.frames import Frames
from ariel_lib.io.layout import CalibrationMaps

MIN_FLAT = 0.25  # flats of live pixels are 0.93 to 1.07, of dead ones -0.05 to 0.06 (342072318 and 9000001)
MAX_SATURATED = 0.01  # fraction of samples; a rarer saturation masks its own samples only
UNSTABLE = 5.0  # scatter in time over what noise and pointing explain
STEP_LIMIT = 30.0  # standard deviations


@dataclass(frozen=True)
class PixelStatistics:
    """Pixel by pixel what a stream of CDS samples was like: all but `count` are (row, column).

    mean, variance  electrons, and electrons² as propagated
    scatter         variance in time, electrons², from successive differences, which a transit hardly touches
    masked          number of samples masked
    """

    count: int
    mean: np.ndarray
    variance: np.ndarray
    scatter: np.ndarray
    masked: np.ndarray


@dataclass(frozen=True)
class PixelSums:
    """Statistics in the making: all but `count` and `last` are (row, column).

    signal, variance  sums over the unmasked samples, electrons and electrons²
    steps             sum of squared differences between successive unmasked samples, electrons²
    masked            number of samples masked
    last              the last sample of the stream
    """

    count: int
    signal: np.ndarray
    variance: np.ndarray
    steps: np.ndarray
    masked: np.ndarray
    last: Frames

    def statistics(self) -> PixelStatistics:
        samples = np.maximum(self.count - self.masked, 1)
        steps = 2 * max(self.count - 1, 1)
        return PixelStatistics(self.count, self.signal / samples, self.variance / samples, self.steps / steps, self.masked)


def add_samples(sums: PixelSums | None, frames: Frames) -> PixelSums:
    """The sums with another block of CDS samples (at least one) added; None starts them."""
    good = ~frames.mask
    start = [] if sums is None else [sums.last]
    steps = _squared_steps(*(
        np.concatenate([getattr(part, name) for part in (*start, frames)]) for name in ("signal", "variance", "mask")
    ))  # fmt: skip
    block = PixelSums(
        len(frames),
        np.where(good, frames.signal, 0).sum(0),
        np.where(good, frames.variance, 0).sum(0),
        steps,
        frames.mask.sum(0),
        frames.samples(slice(-1, None)),
    )
    if sums is None:
        return block
    added = {
        name: getattr(sums, name) + getattr(block, name) for name in ("count", "signal", "variance", "steps", "masked")
    }
    return PixelSums(**added, last=block.last)


def _squared_steps(signal: np.ndarray, variance: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Σ (Sᵢ₊₁ − Sᵢ)², no single step counting for more than STEP_LIMIT sigma: one outlier must not condemn a pixel."""
    limit = STEP_LIMIT**2 * (variance[1:] + variance[:-1])
    return np.where(mask[1:] | mask[:-1], 0, np.minimum(np.diff(signal, axis=0) ** 2, limit)).sum(0)


def unusable_pixels(maps: CalibrationMaps) -> np.ndarray:
    """Dead by the map, with a flat near or below zero, or with a map that is not a number: bool (row, column)."""
    finite = np.isfinite(maps.dark) & np.isfinite(maps.read_noise) & np.isfinite(maps.linearity).all(0)
    return maps.dead | ~(maps.flat > MIN_FLAT) | ~finite


def neutralise(maps: CalibrationMaps, bad: np.ndarray) -> CalibrationMaps:
    """Maps that leave bad pixels as they are, so that their weight of 0 never meets a NaN or an overflow."""
    identity = np.zeros(maps.linearity.shape)
    identity[1] = 1
    return CalibrationMaps(
        np.where(bad, 0, maps.dark), np.where(bad, 1, maps.flat), np.where(bad, 0, maps.read_noise), maps.dead,
        np.where(bad, identity, maps.linearity),
    )  # fmt: skip


def unstable_pixels(pixels: PixelStatistics, unusable: np.ndarray) -> np.ndarray:
    """Saturated too often, or scattering in time far above propagated noise and pointing jitter: bool (row, column).

    Pointing moves light over the gradient of the image, S ≈ M − δ·∇M, so that pixels on the trace scatter by
    jitter²·|∇M|² more. The jitter is the median over the pixels on the steepest slopes, which no single pixel can move.

    pixels    of CDS samples
    unusable  (row, column)  pixels already known as bad, left out of the jitter
    """
    saturated = pixels.masked > MAX_SATURATED * pixels.count
    if pixels.count < 2:
        return saturated & ~unusable
    slope = sum(gradient**2 for gradient in np.gradient(pixels.mean))
    steep = ~unusable & (slope > pixels.variance)
    excess = (pixels.scatter[steep] - pixels.variance[steep]) / slope[steep]
    jitter = max(np.median(excess), 0.0) if steep.any() else 0.0
    expected = pixels.variance + jitter * slope
    # A scatter from n samples is itself uncertain by √(2/n): short runs get room for it.
    limit = UNSTABLE**2 * (1 + 5 * np.sqrt(2 / (pixels.count - 1)))
    return (saturated | (pixels.scatter > limit * expected)) & ~unusable
