"""Thermal charge of the detector."""

from dataclasses import replace

import numpy as np

from ariel_lib.calibration.frames import Frames


def subtract_dark(frames: Frames, dark_rate: np.ndarray, integration_time: np.ndarray) -> Frames:
    """Remove thermal charge: S − D·t. The map is taken as noiseless; the charge's own Poisson noise stays.

    frames            (time, row, column)  electrons
    dark_rate         (row, column)        electrons / s
    integration_time  (time,)              s since reset
    """
    return replace(frames, signal=frames.signal - dark_rate * integration_time[:, None, None])
