"""Frames: a block of detector images with their variances and mask. Each calibration step takes one and returns another.

The variances of Poisson noise and of read noise are propagated separately.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frames:
    """A block of reads, or of CDS samples after differencing. All arrays (time, row, column), float64.

    signal            electrons
    variance_poisson  electrons²; of single reads: the measured charge since reset, which noise can make negative
    variance_read     electrons²
    mask              bool, True where the pixel is unusable at that time
    """

    signal: np.ndarray
    variance_poisson: np.ndarray
    variance_read: np.ndarray
    mask: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """Total variance, electrons²."""
        return self.variance_poisson + self.variance_read

    def __len__(self) -> int:
        return len(self.signal)

    def samples(self, which: slice | np.ndarray) -> "Frames":
        """Samples selected along time."""
        return Frames(self.signal[which], self.variance_poisson[which], self.variance_read[which], self.mask[which])
