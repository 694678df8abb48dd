"""Dark current."""

from dataclasses import replace

import numpy as np

from ariel_lib.calibration.frames import Frames


def subtract_dark(frames: Frames, dark_rate: np.ndarray, integration_time: np.ndarray) -> Frames:
    """Subtract dark charge: S − D·t. The dark map is taken as noiseless; the Poisson noise of the dark charge remains.

    frames            (time, row, column)  electrons
    dark_rate         (row, column)        electrons / s
    integration_time  (time,)              s since reset
    """
    return replace(frames, signal=frames.signal - dark_rate * integration_time[:, None, None])
