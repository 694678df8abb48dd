"""Outliers in time of an extracted light curve."""

from dataclasses import replace

import numpy as np

from ariel_lib.calibration.kernel import running_median
from ariel_lib.calibration.light_curves import LightCurve

WINDOW = 11  # samples of the running median
MAD_TO_SIGMA = 1.4826  # of a Gaussian


def clip_outliers(curve: LightCurve, sigma: float) -> LightCurve:
    """Mask samples further than `sigma` from the running median of their neighbours.

    The median of a monotonic stretch is its middle, so ingress and egress leave no residual however steep they are. The
    scale is the scatter of the residuals (median absolute deviation), or the propagated sigma where that is larger:
    jitter that exceeds photon noise is not an outlier.
    """
    flux = curve.flux.reshape(len(curve.time), -1)
    residual = flux - running_median(flux, WINDOW)
    scale = MAD_TO_SIGMA * np.median(np.abs(residual), axis=0)
    limit = sigma * np.maximum(scale, np.sqrt(curve.variance).reshape(flux.shape))
    return replace(curve, mask=curve.mask | (np.abs(residual) > limit).reshape(curve.flux.shape))
