"""Background: one level per sample, smooth over the columns, estimated from the pixels beside the trace.

Most of the signal in these pixels is from the star's diffraction wings (all but about 2 electrons per sample on planet
9000001, whose first row is vignetted). Subtracting it is harmless while the level follows the star in time: the same small
fraction is removed from every sample. The level is therefore measured for each sample and smoothed only over 1/200 of the
visit, short compared to an ingress; unsmoothed, its noise, common to all wavelengths, would dominate on a faint star.
"""

from dataclasses import dataclass, replace

import numpy as np

from ariel_lib.calibration.extraction import ExtractionPlan
from ariel_lib.calibration.frames import Frames
from ariel_lib.errors import SpectraMindError
from ariel_lib.instrument import Instrument
from ariel_lib.io.light_curves import LightCurve

DEGREE = 2  # of the polynomial over the columns of a spectrometer; the level of a photometer is a constant
SMOOTHED_FRACTION = 200  # the running mean spans 1/200 of the visit
MIN_WINDOW = 5  # samples


@dataclass(frozen=True)
class BackgroundPlan:
    """Linear estimator of the background level, fixed for the visit: coefficients(t) = Σ weights · S(t).

    weights     (term, row, column)
    basis       (term, column)  Legendre polynomials over the extracted columns: level(column) = coefficients · basis
    covariance  (term, term)    of the coefficients of one sample, electrons²
    """

    weights: np.ndarray
    basis: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True)
class Background:
    """Time series of the background level.

    coefficients  (time, term)        electrons per pixel and sample
    covariance    (time, term, term)  electrons²
    mask          (time,)             True where no level could be measured
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    mask: np.ndarray


def background_columns(instrument: Instrument) -> slice:
    """Columns in which the background is measured: those of the spectrum, or all columns of a photometer."""
    return slice(*(instrument.crop or (0, instrument.columns)))


def background_pixels(instrument: Instrument) -> np.ndarray:
    """Pixels above and below the extraction aperture, from which the background is measured: bool (row, column)."""
    pixels = np.zeros((instrument.rows, instrument.columns), bool)
    for rows in instrument.background_rows:
        pixels[slice(*rows), background_columns(instrument)] = True
    return pixels


def plan_background(variance: np.ndarray, bad: np.ndarray, instrument: Instrument) -> BackgroundPlan:
    """Background estimator by least squares over the good pixels of the background rows.

    variance  (row, column)  electrons², of one sample
    bad       (row, column)  True where a pixel must not be used

    Raises SpectraMindError if no background pixel is good.
    """
    columns = background_columns(instrument)
    degree = 0 if instrument.crop is None else DEGREE
    basis = np.zeros((degree + 1, instrument.columns))
    across = np.linspace(-1, 1, columns.stop - columns.start)
    basis[:, columns] = np.polynomial.legendre.legvander(across, degree).T
    beside = background_pixels(instrument) & ~bad
    if not beside.any():
        raise SpectraMindError(f"{instrument.name}: expected good pixels in rows {instrument.background_rows}, found none")
    design = np.broadcast_to(basis[:, None, :], (degree + 1, *bad.shape))[:, beside]
    weights = np.zeros((degree + 1, *bad.shape))
    weights[:, beside] = np.linalg.pinv(design).T
    covariance = (weights * np.where(beside, variance, 0)).reshape(degree + 1, -1) @ weights.reshape(degree + 1, -1).T
    return BackgroundPlan(weights, basis, covariance)


def measure_background(frames: Frames, plan: BackgroundPlan) -> Background:
    """Background level of every CDS sample; samples in which one of the pixels used is masked are masked."""
    used = plan.weights.any(axis=0)
    coefficients = frames.signal[:, used] @ plan.weights[:, used].T
    covariance = np.broadcast_to(plan.covariance, (len(frames), *plan.covariance.shape))
    return Background(coefficients, covariance, frames.mask[:, used].any(1))


def smooth_background(background: Background) -> Background:
    """Running mean over 1/200 of the visit (at least 5 samples), shorter at the ends, over unmasked samples."""
    n = len(background.mask)
    half = max(MIN_WINDOW, n // SMOOTHED_FRACTION) // 2
    good = ~background.mask
    count = _running_sum(good.astype(float), half)
    empty = count == 0
    share = np.where(empty, 1, count)
    total = _running_sum(np.where(good[:, None], background.coefficients, 0), half)
    covariance = _running_sum(background.covariance * good[:, None, None], half)
    return Background(total / share[:, None], covariance / (share**2)[:, None, None], empty)


def subtract_background(
    curve: LightCurve, background: Background, plan: BackgroundPlan, extraction: ExtractionPlan
) -> LightCurve:
    """Subtract the background from an extracted light curve: Σ w (S − B) = Σ w S − B Σ w, as B is the same in every row.

    The variance of the level, mostly read noise, is added to variance_read.
    """
    wavelengths = extraction.instrument.n_wavelengths
    basis = np.ones((1, 1)) if wavelengths == 1 else extraction.to_wavelengths(plan.basis)
    footprint = extraction.to_wavelengths(extraction.weights.sum(0)[None])[0]
    terms = (basis[:, None] * basis).reshape(-1, wavelengths)
    kind, shape = curve.flux.dtype, curve.flux.shape  # float32 from the compiled kernel
    level = background.coefficients.astype(kind) @ basis.astype(kind)
    variance = background.covariance.reshape(len(background.mask), -1).astype(kind) @ terms.astype(kind)
    footprint = footprint.astype(kind)
    mask = curve.mask | (background.mask if wavelengths == 1 else background.mask[:, None])
    return replace(
        curve,
        flux=curve.flux - (footprint * level).reshape(shape),
        variance_read=curve.variance_read + (footprint**2 * variance).reshape(shape),
        background=level.mean(1),
        mask=mask,
    )


def _running_sum(values: np.ndarray, half: int) -> np.ndarray:
    """Running sum over 2·half + 1 samples along the first axis, over fewer at the ends."""
    n = len(values)
    total = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    here = np.arange(n)
    return total[np.minimum(here + half + 1, n)] - total[np.maximum(here - half, 0)]
