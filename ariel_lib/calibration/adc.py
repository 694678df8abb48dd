"""Analogue-to-digital conversion inverted: counts to electrons, with the read noise variance."""

import numpy as np

from ariel_lib.calibration.frames import Frames
from ariel_lib.instrument import FULL_SCALE
from ariel_lib.io.layout import Converter


def to_electrons(counts: np.ndarray, converter: Converter, read_noise: np.ndarray) -> Frames:
    """Electrons = counts / gain + offset. Rounding down lowers every read by half a count on average, which CDS cancels.

    counts      (time, row, column)  uint16; a count at full scale is saturated and masked
    read_noise  (row, column)        electrons per read; the variance is its square plus that of rounding, (1/gain)² / 12
    """
    signal = counts / converter.gain + converter.offset
    variance = read_noise**2 + converter.gain**-2 / 12
    return Frames(signal, np.zeros_like(signal), np.broadcast_to(variance, signal.shape), counts == FULL_SCALE)
