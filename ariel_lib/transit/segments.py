"""Light curves prepared for the transit fit: one segment per instrument and visit, with relative flux, weights and regressors.

Independent of the transit model.
"""

from dataclasses import dataclass, replace

import numpy as np

from ariel_lib.calibration.binning import bin_light_curve
from ariel_lib.calibration.clipping import clip_outliers
from ariel_lib.instrument import AIRS, FGS1, INSTRUMENTS
from ariel_lib.io.light_curves import LightCurve, LightCurves
from ariel_lib.io.time_axis import require_hours

MAX_SAMPLES = 1125  # a full visit in samples of 24 s: curvature of the light curve inside one stays below 1 ppm
CLIP_SIGMA = 8.0  # deviation from the running median beyond which a binned sample is an outlier
MIN_SAMPLES = 12  # fewer usable samples do not constrain level, drift and depth
POLYNOMIALS, TREND_ORDER = 3, 15  # functions of time in a drift: Legendre polynomials of orders 1–3, then cosines
DRIFT_ORDERS = np.where(np.arange(TREND_ORDER) < POLYNOMIALS, 4, 2)  # Legendre polynomials of wavelength for each of them


@dataclass(frozen=True)
class Segment:
    """Light curves of one instrument in one visit.

    channels    (wavelength,)        index in the spectrum, 0 = FGS1
    wavelength  (wavelength,)        micron
    time        (time,)              h, mid-sample; exposure is the sample's length, h
    flux        (wavelength, time)   relative to level
    weight      (wavelength, time)   inverse variance of flux, 0 where unusable
    level       (wavelength,)        median signal, electrons per sample
    trend       (time, function)     functions of time in the drift: 3 polynomials, or these and cosines, see with_cosines
    nuisance    (time, regressor)    standardised centroid terms
    """

    instrument: str
    visit: int
    channels: np.ndarray
    wavelength: np.ndarray
    time: np.ndarray
    exposure: float
    flux: np.ndarray
    weight: np.ndarray
    level: np.ndarray
    trend: np.ndarray
    nuisance: np.ndarray


def make_segments(visits: list[LightCurves], wavelength: np.ndarray) -> list[Segment]:
    """Segments of all visits of a planet; wavelength (wavelength,) micron, FGS1 first.

    Raises ArchiveError for times that do not ascend in hours.
    Channels with fewer than MIN_SAMPLES usable samples or without signal are left out, and so are segments without channels.
    """
    segments = []
    for curves in visits:
        for instrument, curve, channels in (
            (FGS1.name, curves.fgs1, np.array([0])),
            (AIRS.name, curves.airs, np.arange(1, len(wavelength))),
        ):
            where = f"light curves of planet {curves.planet_id}, visit {curves.visit}, {instrument}"
            require_hours(curve.time, INSTRUMENTS[instrument], where)
            segment = _make_segment(instrument, curves.visit, curve, channels, wavelength[channels])
            if segment is not None:
                segments.append(segment)
    return segments


def _make_segment(
    instrument: str, visit: int, curve: LightCurve, channels: np.ndarray, wavelength: np.ndarray
) -> Segment | None:
    curve = replace(curve, centroid=_regressors(instrument, curve))
    curve = clip_outliers(bin_light_curve(curve, max(1, len(curve.time) // MAX_SAMPLES)), CLIP_SIGMA)
    n = len(curve.time)
    flux = curve.flux.reshape(n, -1).T.astype(float)
    variance = curve.variance.reshape(n, -1).T.astype(float)
    usable = (
        ~curve.mask.reshape(n, -1).T
        & np.isfinite(flux)
        & np.isfinite(variance)
        & np.isfinite(curve.centroid).all(axis=1)
    )
    level = np.array([np.median(f[u]) if u.any() else 0.0 for f, u in zip(flux, usable)])
    spread = np.array([np.median(v[u]) if u.any() else 0.0 for v, u in zip(variance, usable)])
    alive = (usable.sum(axis=1) >= MIN_SAMPLES) & (level > 0) & (spread > 0)
    if not alive.any():
        return None
    flux, usable, level, spread = flux[alive], usable[alive], level[alive], spread[alive]
    relative = np.where(usable, flux, 0.0) / level[:, None]
    return Segment(
        instrument, visit, channels[alive], wavelength[alive], curve.time, float(np.median(np.diff(curve.time))),
        relative, usable * (level**2 / spread)[:, None], level, _trend(curve.time), _standardise(curve.centroid),
    )  # fmt: skip


def _regressors(instrument: str, curve: LightCurve) -> np.ndarray:
    """Centroid regressors (time, regressor) before binning: a bin then holds the mean of x², not the square of the mean x."""
    x, y = curve.centroid.T.astype(float)
    return np.stack([x, y, x * x, x * y, y * y] if instrument == FGS1.name else [x, y], axis=1)


def _standardise(columns: np.ndarray) -> np.ndarray:
    """Columns with zero mean and unit variance; constant columns are dropped, non-finite entries count as 0."""
    columns = np.where(np.isfinite(columns), columns, 0.0)
    centred = columns - columns.mean(axis=0)
    scale = centred.std(axis=0)
    keep = scale > 0
    return centred[:, keep] / scale[keep]


def _trend(time: np.ndarray) -> np.ndarray:
    """Legendre polynomials of orders 1–3 over the span of time, (time, 3)."""
    return np.polynomial.legendre.legvander(_scaled(time), POLYNOMIALS)[:, 1:]


def _cosines(time: np.ndarray, cubic: np.ndarray) -> np.ndarray:
    """Cosines of 4 to 15 half periods in the span of time (at full length, periods of 1 to 3.8 h), (time, 12).

    Their projection on a constant and the cubic (time, 3) is taken out; mean square 1/2.
    """
    cosines = np.cos(np.pi / 2 * np.arange(POLYNOMIALS + 1, TREND_ORDER + 1) * (_scaled(time)[:, None] + 1))
    smooth = np.column_stack([np.ones(len(time)), cubic])
    cosines -= smooth @ np.linalg.lstsq(smooth, cosines, rcond=None)[0]
    return cosines / np.sqrt(2 * np.mean(cosines**2, axis=0))


def _scaled(time: np.ndarray) -> np.ndarray:
    """Time scaled to [-1, 1]."""
    return 2 * (time - time[0]) / (time[-1] - time[0]) - 1


def drift_terms(segment: Segment) -> tuple[np.ndarray, np.ndarray]:
    """Function of time and order in wavelength of each drift coefficient of a segment, (coefficient,) and (coefficient,)."""
    most = 1 if segment.instrument == FGS1.name else len(segment.channels)
    orders = np.minimum(DRIFT_ORDERS[: segment.trend.shape[1]], most)
    return np.nonzero(np.arange(DRIFT_ORDERS.max()) < orders[:, None])


def with_cosines(segment: Segment) -> Segment:
    """A segment whose drift is a cubic, with the cosines of the drift added."""
    return replace(segment, trend=np.concatenate([segment.trend, _cosines(segment.time, segment.trend)], axis=1))


def merge_channels(segment: Segment, n_bands: int) -> Segment:
    """A segment binned to at most n_bands wide bands, each the weighted mean of neighbouring channels.

    Bands are numbered as channels: 0 for FGS1, 1 … n_bands for AIRS.
    """
    groups = np.array_split(np.arange(len(segment.channels)), min(n_bands, len(segment.channels)))
    weight = np.stack([segment.weight[g].sum(axis=0) for g in groups])
    flux = np.stack([(segment.weight[g] * segment.flux[g]).sum(axis=0) for g in groups])
    flux = np.divide(flux, weight, out=np.zeros_like(flux), where=weight > 0)
    first = 0 if segment.instrument == FGS1.name else 1
    return replace(
        segment,
        channels=first + np.arange(len(groups)),
        wavelength=np.array([np.average(segment.wavelength[g], weights=segment.weight[g].sum(axis=1)) for g in groups]),
        flux=flux,
        weight=weight,
        level=np.array([segment.level[g].sum() for g in groups]),
    )
