"""Images to light: a linear estimator whose weights are fixed for the visit, so that it cannot add noise of its own.

Horne (1986, PASP 98, 609), Eq. 8: f = Σ (P S / V) / Σ (P² / V), profile P and variance V from the mean sample.
Where Poisson noise dominates V ∝ P and this is nearly a plain sum. Bad pixels have weight 0; because P is normalised
over all rows, bad ones included, a column that lost a pixel keeps its flux scale. Pointing jitter δ adds δ ∂M/∂row to
all pixels at once, which Horne leaves out: here V is the covariance V + jitter² ∂M ∂Mᵀ, without which a column with a
dead pixel in its core scatters by up to 1.4 times its sigma (planet 9000001).
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from ariel_lib.calibration.frames import Frames
from ariel_lib.errors import SpectraMindError
from ariel_lib.instrument import Instrument
from ariel_lib.io.light_curves import LightCurve

POINTING = 0.1  # pixel rms allowed for: FGS1 moves by 0.11 on planet 342072318; AIRS by 0.013, and 0.1 costs it no light
MIN_LIGHT = 0.2  # a column whose good pixels hold less of its light is masked
FILL_REACH = 4  # columns on either side from which a bad pixel's share of the light is taken


@dataclass(frozen=True)
class ExtractionPlan:
    """What to multiply each CDS sample with, for one instrument and one visit. Detector order throughout.

    weights           (row, column)     flux = Σ_row weights · S; zero outside the trace and for bad pixels
    centroid_weights  (3, row, column)  estimators of brightness (1 for the mean image), and of brightness times the
                                        shift along rows and along columns, pixels
    usable            (column,)         False where too little light is left
    """

    instrument: Instrument
    weights: np.ndarray
    centroid_weights: np.ndarray
    usable: np.ndarray

    def to_wavelengths(self, columns: np.ndarray) -> np.ndarray:
        """(…, column) in detector order to (…, wavelength): crop, and reverse so that wavelengths ascend."""
        if self.instrument.crop is None:
            return columns.sum(-1, keepdims=True)
        first, last = self.instrument.crop
        return columns[..., first:last][..., ::-1]


def plan_extraction(mean: np.ndarray, variance: np.ndarray, bad: np.ndarray, instrument: Instrument) -> ExtractionPlan:
    """Optimal weights and centroid estimators from the visit's mean sample.

    mean      (row, column)  electrons, flat-fielded, background subtracted
    variance  (row, column)  electrons², of one sample
    bad       (row, column)  True where a pixel must not be used; its mean and variance are ignored
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
    """Light, its variances and the centroid of every CDS sample; the level of `background` is not known here and 0.

    A sample in which a used pixel is masked is masked in its column: fixed weights cannot do without it.

    time  (time,)  h, middle of each sample
    """
    weights, used = plan.weights, plan.weights != 0
    flux = plan.to_wavelengths(np.einsum("trc,rc->tc", frames.signal, weights))
    poisson = plan.to_wavelengths(np.einsum("trc,rc->tc", frames.variance_poisson, weights**2))
    read = plan.to_wavelengths(np.einsum("trc,rc->tc", frames.variance_read, weights**2))
    mask = plan.to_wavelengths((frames.mask & used).any(1)) > 0
    if plan.instrument.crop is not None:
        mask = mask | ~plan.to_wavelengths(plan.usable)
    brightness, *shifts = np.einsum("trc,krc->kt", frames.signal, plan.centroid_weights)
    dark = brightness <= 0  # no star in this sample: nowhere to point at
    centroid = np.stack(shifts, 1) / np.where(dark, 1, brightness)[:, None]
    mask = mask | dark[:, None]
    if plan.instrument.crop is None:
        flux, poisson, read, mask = flux[:, 0], poisson[:, 0], read[:, 0], mask[:, 0]
    return LightCurve(time, flux, poisson, read, centroid, np.zeros(len(frames)), mask)


def aperture_box(instrument: Instrument) -> tuple[slice, slice]:
    """Rows and columns whose light is extracted: trace rows of the cropped columns; of a photometer a square."""
    return slice(*instrument.trace_rows), slice(*(instrument.crop or instrument.trace_rows))


def aperture(instrument: Instrument) -> np.ndarray:
    """Pixels whose light is extracted: bool (row, column)."""
    inside = np.zeros((instrument.rows, instrument.columns), bool)
    inside[aperture_box(instrument)] = True
    return inside


def fill_bad(mean: np.ndarray, bad: np.ndarray, instrument: Instrument) -> np.ndarray:
    """The mean image with bad pixels replaced by what the image around them suggests: (row, column).

    Spectrum: the pixel's share of the trace changes slowly along the columns, so the median share of its neighbours in
    the same row times what the column's good pixels hold. Photometer: the mean of the good pixels that touch it.
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
    """w = C⁻¹P / PᵀC⁻¹P with C = V + jitter² Σ ∂M ∂Mᵀ, each column of a spectrum by itself: (row, column).

    Solved as least squares of brightness and shifts, the shifts under a prior of width jitter, which is the same thing.
    """
    model = np.stack([profile, *slopes])
    group = "" if instrument.crop is None else "c"
    normal = np.einsum(f"krc,lrc,rc->{group}kl", model, model, inverse_variance)
    normal = normal + np.diag([0.0] + [POINTING**-2] * len(slopes))
    solution = np.linalg.pinv(normal, hermitian=True)[..., 0, :]
    return np.einsum(f"krc,{group}k->rc", model, solution) * inverse_variance


def _centroid_weights(image: np.ndarray, slopes: list[np.ndarray], inverse_variance: np.ndarray) -> np.ndarray:
    """Least squares of S ≈ a·M − a·δ_row ∂M/∂row − a·δ_column ∂M/∂column + b on each sample: (3, row, column).

    Projection on the gradients has the least noise of all linear estimators; first moments take theirs from the wings.
    Fitting M and a constant beside them makes the shifts blind to the transit and to the background.
    """
    model = np.stack([image, -slopes[0], -slopes[1], np.ones_like(image)]).reshape(4, -1)
    weighted = model * inverse_variance.ravel()
    return (np.linalg.pinv(weighted @ model.T, hermitian=True) @ weighted)[:3].reshape(3, *image.shape)


def _slope(image: np.ndarray, axis: int, instrument: Instrument) -> np.ndarray:
    """Derivative along rows (axis 0) or columns: of a spline, as differences are too shallow for so narrow a trace.

    The spline ends where the aperture does: beyond it the image is 0, a cliff that is not the star's.
    """
    inside = aperture_box(instrument)
    light = image[inside]
    pixels = np.arange(light.shape[axis])
    slope = np.zeros_like(image)
    slope[inside] = CubicSpline(pixels, light, axis=axis)(pixels, 1)
    return slope
