"""Pixel response."""

import numpy as np

from ariel_lib.calibration.frames import Frames


def divide_flat(frames: Frames, flat: np.ndarray, bad: np.ndarray) -> Frames:
    """S / f, variances / f². Bad pixels keep their undivided signal: they are masked and their flat may be zero.

    frames  (time, row, column)  electrons
    flat    (row, column)        response relative to 1
    bad     (row, column)        True where the flat must not be used
    """
    response = np.where(bad, 1.0, flat)
    return Frames(
        frames.signal / response,
        frames.variance_poisson / response**2,
        frames.variance_read / response**2,
        frames.mask | bad,
    )
