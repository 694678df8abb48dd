"""Frames: a block of detector images on its way from counts to light curves. Every step takes one and returns another.

Two variances travel beside the signal and are kept apart: Poisson noise of the charge, and noise of the reading.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frames:
    """A block of reads, or of CDS samples once reads are differenced. All arrays (time, row, column), float64.

    signal            electrons
    variance_poisson  electrons²; of single reads: the charge gathered since reset, noisy and so at times negative
    variance_read     electrons²
    mask              bool, True where the pixel is unusable at that time
    """

    signal: np.ndarray
    variance_poisson: np.ndarray
    variance_read: np.ndarray
    mask: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        return self.variance_poisson + self.variance_read

    def __len__(self) -> int:
        return len(self.signal)

    def samples(self, which: slice | np.ndarray) -> "Frames":
        """The chosen times of the block."""
        return Frames(self.signal[which], self.variance_poisson[which], self.variance_read[which], self.mask[which])
