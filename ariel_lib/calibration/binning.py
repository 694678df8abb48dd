"""Light curves at a coarser cadence."""

import numpy as np

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.light_curves import LightCurve


def bin_light_curve(curve: LightCurve, width: int) -> LightCurve:
    """Means over `width` successive samples, blind to masked ones; a last bin that is not full is dropped.

    Flux stays electrons a sample; variances of a mean of n samples are their sum over n². A bin without a usable sample
    is masked and keeps the plain mean. Time, centroid and background are means over all samples of the bin.
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
