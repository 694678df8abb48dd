"""The analogue-to-digital converter undone: counts to electrons. The first place where a read gets its noise."""

import numpy as np

from ariel_lib.calibration.frames import Frames
from ariel_lib.instrument import FULL_SCALE
from ariel_lib.io.layout import Converter


def to_electrons(counts: np.ndarray, converter: Converter, read_noise: np.ndarray) -> Frames:
    """Counts / gain + offset. The converter's floor lowers every read by half a count, which CDS cancels.

    counts      (time, row, column)  uint16; a count at full scale is saturated and masked
    read_noise  (row, column)        electrons a read; its square plus that of rounding, (1/gain)² / 12, is the variance
    """
    signal = counts / converter.gain + converter.offset
    variance = read_noise**2 + converter.gain**-2 / 12
    return Frames(signal, np.zeros_like(signal), np.broadcast_to(variance, signal.shape), counts == FULL_SCALE)
