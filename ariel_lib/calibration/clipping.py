"""Clipping of outliers in time in extracted light curves."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat

import numpy as np

from ariel_lib.calibration.kernel import running_median
from ariel_lib.calibration.scatter import MAD_TO_SIGMA
from ariel_lib.io.light_curves import LightCurve
from ariel_lib.io.signal import decoding_threads

BLOCKS = 8  # of wavelengths, processed in parallel; small blocks stay in the processor's cache
WINDOW = 11  # samples of the running median


def clip_outliers(curve: LightCurve, sigma: float) -> LightCurve:
    """Mask samples further than sigma standard deviations from the running median, and samples that are not finite.

    The running median follows monotonic stretches, so that ingress and egress leave no residual. The standard deviation is that
    of the residuals (from the median absolute deviation) or the propagated one, whichever is larger: noise above photon noise,
    such as jitter, is not clipped.
    """
    flux, variance = (values.reshape(len(curve.time), -1) for values in (curve.flux, curve.variance))
    blocks = min(BLOCKS, flux.shape[1])
    with ThreadPoolExecutor(decoding_threads()) as pool:
        parts = pool.map(_outliers, np.array_split(flux, blocks, 1), np.array_split(variance, blocks, 1), repeat(sigma))
        return replace(curve, mask=curve.mask | np.concatenate(list(parts), 1).reshape(curve.flux.shape))


def _outliers(flux: np.ndarray, variance: np.ndarray, sigma: float) -> np.ndarray:
    """Outliers of a block of wavelengths: bool (time, wavelength)."""
    flux = np.ascontiguousarray(flux)
    finite = np.isfinite(flux)
    distance = np.abs(_residual(flux, finite))
    scale = MAD_TO_SIGMA * _median(distance)
    return ~finite | (distance > sigma * np.maximum(scale, np.sqrt(variance)))


def _residual(flux: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """flux (time, wavelength) minus its running median; non-finite samples are replaced by the median of their series."""
    if not finite.all():  # running_median requires finite samples
        centre = [np.median(series[ok]) if ok.any() else 0.0 for series, ok in zip(flux.T, finite.T)]
        flux = np.where(finite, flux, centre)
    return flux - running_median(flux, WINDOW)


def _median(values: np.ndarray) -> np.ndarray:
    """Median along the first axis of finite values (time, series); eight times faster than np.median, without its check for NaN."""
    series = values.T.copy()  # partitioned in place; of one series ascontiguousarray would be a view
    half = series.shape[1] // 2
    series.partition(half, axis=1)
    upper = series[:, half]
    return upper if series.shape[1] % 2 else 0.5 * (series[:, :half].max(axis=1) + upper)
