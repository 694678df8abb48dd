"""Outliers in time of an extracted light curve."""

from dataclasses import replace

import numpy as np

from ariel_lib.calibration.kernel import running_median
from ariel_lib.calibration.light_curves import LightCurve

WINDOW = 11  # samples of the running median
MAD_TO_SIGMA = 1.4826  # of a Gaussian


def clip_outliers(curve: LightCurve, sigma: float) -> LightCurve:
    """Mask samples further than `sigma` from the running median of their neighbours, and those that are no number.

    The median of a monotonic stretch is its middle, so ingress and egress leave no residual however steep they are. The
    scale is the scatter of the residuals (median absolute deviation), or the propagated sigma where that is larger:
    jitter that exceeds photon noise is not an outlier.
    """
    flux = curve.flux.reshape(len(curve.time), -1)
    finite = np.isfinite(flux)
    residual = _residual(flux, finite)
    scale = MAD_TO_SIGMA * np.median(np.abs(residual), axis=0)
    limit = sigma * np.maximum(scale, np.sqrt(curve.variance).reshape(flux.shape))
    return replace(curve, mask=curve.mask | (~finite | (np.abs(residual) > limit)).reshape(curve.flux.shape))


def _residual(flux: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """flux (time, wavelength) less its running median; what is no number stands aside as its series' median."""
    if not finite.all():  # running_median orders its samples, which NaN has no place among
        centre = [np.median(series[ok]) if ok.any() else 0.0 for series, ok in zip(flux.T, finite.T)]
        flux = np.where(finite, flux, centre)
    return flux - running_median(flux, WINDOW)
