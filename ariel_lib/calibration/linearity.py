"""Correction of detector non-linearity by the polynomial of linear_corr, six ascending powers per pixel."""

import numpy as np

from ariel_lib.calibration.frames import Frames


def correct_linearity(frames: Frames, coefficients: np.ndarray) -> Frames:
    """True charge Q = Σ cₙ Sⁿ. Read noise is scaled by dQ/dS; the Poisson variance is Q.

    frames        (time, row, column)     electrons as detected
    coefficients  (order, row, column)    ascending powers
    """
    charge, slope = evaluate(coefficients, frames.signal)
    return Frames(charge, charge, frames.variance_read * slope**2, frames.mask)


def evaluate(coefficients: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Polynomial and its derivative by Horner's rule, in the shape of signal (time, row, column); coefficients (order, row, column)."""
    value = np.broadcast_to(coefficients[-1], signal.shape)
    slope = np.zeros_like(signal)
    for coefficient in coefficients[-2::-1]:
        slope = slope * signal + value
        value = value * signal + coefficient
    return value, slope
