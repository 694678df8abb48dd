"""Scatter that a minority of outliers cannot move: the median absolute deviation, scaled to a Gaussian's standard deviation."""

import numpy as np

MAD_TO_SIGMA = 1.4826  # 1 / Φ⁻¹(3/4) of a Gaussian


def robust_scatter(values: np.ndarray, centre: np.ndarray | float = 0.0) -> np.ndarray:
    """Standard deviation about `centre` along the first axis of values (time, …), NaN left out."""
    return MAD_TO_SIGMA * np.nanmedian(np.abs(values - centre), axis=0)
