"""Optimal extraction of light curves with weights that are fixed for the visit.

Horne (1986, PASP 98, 609), Eq. 8: f = Σ (P S / V) / Σ (P² / V), profile P and variance V from the mean sample. Where Poisson
noise dominates, V ∝ P and this is nearly a plain sum. Bad pixels have weight 0; since P is normalised over all rows, bad ones
included, a column with a bad pixel keeps its flux scale. Pointing jitter δ, not in Horne's formula, adds δ ∂M/∂row to all
pixels: V becomes V + jitter² ∂M ∂Mᵀ, without which the scatter of a column with a dead pixel in its core is up to 1.4 times
its stated sigma (planet 9000001).
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from ariel_lib.calibration.frames import Frames
from ariel_lib.errors import SpectraMindError
from ariel_lib.instrument import Instrument
from ariel_lib.io.light_curves import LightCurve

POINTING = 0.1  # assumed rms jitter, pixel: FGS1 0.11 on planet 342072318; AIRS 0.013, where 0.1 loses no signal
MIN_LIGHT = 0.2  # columns whose good pixels contain a smaller fraction of the light are masked
FILL_REACH = 4  # columns on either side from which the profile at a bad pixel is interpolated


@dataclass(frozen=True)
class ExtractionPlan:
    """Linear estimators of flux and centroid from a CDS sample, for one instrument and visit, in detector order.

    weights           (row, column)     flux = Σ_row weights · S; zero outside the trace and for bad pixels
    centroid_weights  (3, row, column)  estimators of brightness relative to the mean image, and of brightness times the
                                        shift along rows and along columns, pixels
    usable            (column,)         False where the good pixels contain too little light
    """

    instrument: Instrument
    weights: np.ndarray
    centroid_weights: np.ndarray
    usable: np.ndarray

    def to_wavelengths(self, columns: np.ndarray) -> np.ndarray:
        """Reorder (…, column) in detector order to (…, wavelength): cropped, and reversed so that wavelengths ascend.

        For a photometer the sum over all columns, (…, 1).
        """
        if self.instrument.crop is None:
            return columns.sum(-1, keepdims=True)
        first, last = self.instrument.crop
        return columns[..., first:last][..., ::-1]


def plan_extraction(mean: np.ndarray, variance: np.ndarray, bad: np.ndarray, instrument: Instrument) -> ExtractionPlan:
    """Optimal extraction weights and centroid estimators from the mean sample of a visit.

    mean      (row, column)  electrons, flat-fielded, background subtracted
    variance  (row, column)  electrons², of one sample
    bad       (row, column)  True where a pixel must not be used; its mean and variance are ignored

    Raises SpectraMindError if no column has starlight.
    """
    inside = aperture(instrument)
    image = np.where(inside, fill_bad(mean, bad, instrument), 0)
    light = np.maximum(image, 0)
    good = inside & ~bad
    total = light.sum() if instrument.crop is None else light.sum(0)
    profile = light / np.where(total > 0, total, 1)
    kept = np.where(good, profile, 0).sum(None if instrument.crop is None else 0)
    usable = np.broadcast_to((total > 0) & (kept > MIN_LIGHT), instrument.columns)
    if not usable.any():
        raise SpectraMindError(f"{instrument.name}: expected starlight in rows {instrument.trace_rows}, found none")
    inverse = np.divide(1, variance, out=np.zeros_like(mean, float), where=good & usable)
    slopes = [_slope(image, axis, instrument) for axis in (0, 1)]
    weights = _optimal_weights(profile, slopes[:1] if instrument.crop else slopes, inverse, instrument)
    return ExtractionPlan(instrument, weights, _centroid_weights(image, slopes, inverse), usable)


def extract(frames: Frames, plan: ExtractionPlan, time: np.ndarray) -> LightCurve:
    """Flux, its variances and the centroid of every CDS sample; the background of the light curve is set to 0.

    Where a used pixel is masked, the sample is masked in that column, since the weights are fixed.

    time  (time,)  h, mid-sample
    """
    weights, used = plan.weights, plan.weights != 0
    flux = plan.to_wavelengths(np.einsum("trc,rc->tc", frames.signal, weights))
    poisson = plan.to_wavelengths(np.einsum("trc,rc->tc", frames.variance_poisson, weights**2))
    read = plan.to_wavelengths(np.einsum("trc,rc->tc", frames.variance_read, weights**2))
    mask = plan.to_wavelengths((frames.mask & used).any(1)) > 0
    if plan.instrument.crop is not None:
        mask = mask | ~plan.to_wavelengths(plan.usable)
    brightness, *shifts = np.einsum("trc,krc->kt", frames.signal, plan.centroid_weights)
    dark = brightness <= 0  # no star in this sample: the centroid is undefined
    centroid = np.stack(shifts, 1) / np.where(dark, 1, brightness)[:, None]
    mask = mask | dark[:, None]
    if plan.instrument.crop is None:
        flux, poisson, read, mask = flux[:, 0], poisson[:, 0], read[:, 0], mask[:, 0]
    return LightCurve(time, flux, poisson, read, centroid, np.zeros(len(frames)), mask)


def aperture_box(instrument: Instrument) -> tuple[slice, slice]:
    """Rows and columns of the extraction aperture: trace rows of the cropped columns; a square for a photometer."""
    return slice(*instrument.trace_rows), slice(*(instrument.crop or instrument.trace_rows))


def aperture(instrument: Instrument) -> np.ndarray:
    """Pixels of the extraction aperture: bool (row, column)."""
    inside = np.zeros((instrument.rows, instrument.columns), bool)
    inside[aperture_box(instrument)] = True
    return inside


def fill_bad(mean: np.ndarray, bad: np.ndarray, instrument: Instrument) -> np.ndarray:
    """Mean image with bad pixels in the aperture interpolated: (row, column).

    Spectrometer: the profile changes slowly along the columns; the median ratio to the column's good pixels, over neighbours in
    the same row, times the sum of the column's good pixels. Photometer: the median of the good adjacent pixels.
    """
    filled = np.where(bad, 0.0, mean)
    rows = slice(*instrument.trace_rows)
    for row, column in np.argwhere(bad & aperture(instrument)):
        if instrument.crop is None:
            near = np.s_[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            values = mean[near][~bad[near]]
        else:
            good = np.flatnonzero(~bad[rows, column]) + rows.start
            span = np.arange(max(column - FILL_REACH, 0), min(column + FILL_REACH + 1, instrument.columns))
            span = span[~bad[row, span] & ~bad[np.ix_(good, span)].any(0)]
            reference = mean[np.ix_(good, span)].sum(0)
            lit = reference > 0
            values = mean[row, span[lit]] / reference[lit] * mean[good, column].sum()
        filled[row, column] = np.median(values) if len(values) else 0.0
    return filled


def _optimal_weights(
    profile: np.ndarray, slopes: list[np.ndarray], inverse_variance: np.ndarray, instrument: Instrument
) -> np.ndarray:
    """Weights w = C⁻¹P / PᵀC⁻¹P with C = V + jitter² Σ ∂M ∂Mᵀ, independently for each column of a spectrum: (row, column).

    Computed as the equivalent least-squares fit of brightness and shifts, with a prior of width jitter on the shifts.
    """
    model = np.stack([profile, *slopes])
    group = "" if instrument.crop is None else "c"
    normal = np.einsum(f"krc,lrc,rc->{group}kl", model, model, inverse_variance)
    normal = normal + np.diag([0.0] + [POINTING**-2] * len(slopes))
    solution = np.linalg.pinv(normal, hermitian=True)[..., 0, :]
    return np.einsum(f"krc,{group}k->rc", model, solution) * inverse_variance


def _centroid_weights(image: np.ndarray, slopes: list[np.ndarray], inverse_variance: np.ndarray) -> np.ndarray:
    """Estimators (3, row, column) of a, a·δ_row and a·δ_column in S ≈ a·M − a·δ_row ∂M/∂row − a·δ_column ∂M/∂column + b.

    Weighted least squares has the smallest variance of all linear estimators; first moments are dominated by noise in the wings.
    With M and a constant in the fit, the shifts are insensitive to transit and background.
    """
    model = np.stack([image, -slopes[0], -slopes[1], np.ones_like(image)]).reshape(4, -1)
    weighted = model * inverse_variance.ravel()
    return (np.linalg.pinv(weighted @ model.T, hermitian=True) @ weighted)[:3].reshape(3, *image.shape)


def _slope(image: np.ndarray, axis: int, instrument: Instrument) -> np.ndarray:
    """Derivative of the image along rows (axis 0) or columns (axis 1) from a cubic spline within the aperture.

    Finite differences underestimate the gradient of so narrow a trace; outside the aperture the image is set to 0.
    """
    inside = aperture_box(instrument)
    light = image[inside]
    pixels = np.arange(light.shape[axis])
    slope = np.zeros_like(image)
    slope[inside] = CubicSpline(pixels, light, axis=axis)(pixels, 1)
    return slope
