"""Binning of light curves in time."""

import numpy as np

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.light_curves import LightCurve


def bin_light_curve(curve: LightCurve, width: int) -> LightCurve:
    """Mean over width successive samples, masked ones excluded; an incomplete last bin is dropped.

    Flux remains in electrons per sample; the variance of a mean of n samples is their sum over n². A bin without a usable
    sample is masked and holds the mean of all. Time, centroid and background are means over all samples of a bin.

    Raises SpectraMindError if width exceeds the number of samples.
    """
    if width == 1:
        return curve
    bins = len(curve.time) // width
    if bins == 0:
        raise SpectraMindError(f"bin width: expected at most the {len(curve.time)} samples of the light curve, found {width}")

    def folded(values: np.ndarray) -> np.ndarray:
        return values[: bins * width].reshape(bins, width, *values.shape[1:])

    mask = folded(curve.mask)
    empty = mask.all(1)
    use = ~mask | empty[:, None]
    count = use.sum(1)

    def mean(values: np.ndarray, divisor: np.ndarray) -> np.ndarray:
        return np.where(use, folded(values), 0).sum(1, dtype=float) / divisor

    return LightCurve(
        folded(curve.time).mean(1),
        mean(curve.flux, count),
        mean(curve.variance_poisson, count**2),
        mean(curve.variance_read, count**2),
        folded(curve.centroid).mean(1),
        folded(curve.background).mean(1),
        empty,
    )
