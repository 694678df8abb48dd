"""Flat field."""

import numpy as np

from ariel_lib.calibration.frames import Frames


def divide_flat(frames: Frames, flat: np.ndarray, bad: np.ndarray) -> Frames:
    """Divide by the flat field: S / f, variances / f². Bad pixels are masked and not divided, as their flat may be zero.

    frames  (time, row, column)  electrons
    flat    (row, column)        relative response
    bad     (row, column)        True where the flat must not be used
    """
    response = np.where(bad, 1.0, flat)
    return Frames(
        frames.signal / response,
        frames.variance_poisson / response**2,
        frames.variance_read / response**2,
        frames.mask | bad,
    )
