"""Quantities fixed for a visit before its samples are reduced: maps, times, bad pixels, background and extraction weights."""

from dataclasses import dataclass

import numpy as np

from ariel_lib.calibration.background import BackgroundPlan, background_columns, background_pixels, plan_background
from ariel_lib.calibration.bad_pixels import PixelStatistics, neutralise, unstable_pixels, unusable_pixels
from ariel_lib.calibration.extraction import ExtractionPlan, aperture, plan_extraction
from ariel_lib.instrument import Instrument
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import CalibrationMaps, Converter

PLAN_SAMPLES = 1024  # samples, spread over the visit, for the detection of bad pixels and the extraction weights


@dataclass(frozen=True)
class Detector:
    """One instrument in one visit: converter, calibration maps, bad pixels and times.

    maps              neutral values at bad pixels
    bad               (row, column)  pixels with unusable maps
    read_times        (time,)        h, time stamp of each read
    integration_time  (time,)        s since reset
    """

    instrument: Instrument
    converter: Converter
    maps: CalibrationMaps
    bad: np.ndarray
    read_times: np.ndarray
    integration_time: np.ndarray


@dataclass(frozen=True)
class Plan:
    """Estimators of background and flux for a visit. bad: (row, column), True also for pixels that are not used."""

    bad: np.ndarray
    background: BackgroundPlan
    extraction: ExtractionPlan


def open_detector(
    archive: Archive, split: str, planet_id: str, visit: int, instrument: Instrument, n_reads: int
) -> Detector:
    """Read converter, maps and times of one instrument in one visit of n_reads reads."""
    maps = archive.calibration_maps(split, planet_id, visit, instrument)
    bad = unusable_pixels(maps)
    times = archive.read_times(instrument, n_reads)
    return Detector(instrument, archive.converter(split, planet_id, instrument), neutralise(maps, bad), bad, *times)


def pixels_in_use(instrument: Instrument) -> np.ndarray:
    """Pixels used by calibration, aperture and background; no others are read: bool (row, column)."""
    return aperture(instrument) | background_pixels(instrument)


def plan_step(n_samples: int) -> int:
    """Stride of the samples from which the plan is made."""
    return max(1, n_samples // PLAN_SAMPLES)


def plan_visit(pixels: PixelStatistics, detector: Detector) -> Plan:
    """Bad pixels, background estimator and extraction weights from pixel statistics of the visit.

    pixels: statistics of CDS samples; those of unused pixels are ignored.
    """
    instrument = detector.instrument
    columns = (slice(None), background_columns(instrument))
    bad = ~pixels_in_use(instrument) | detector.bad
    mean, variance, scatter, masked = (
        np.where(bad, 0, values) for values in (pixels.mean, pixels.variance, pixels.scatter, pixels.masked)
    )
    # Only the used columns: the image is set to 0 beyond them, which would give spurious gradients.
    used = PixelStatistics(pixels.count, mean[columns], variance[columns], scatter[columns], masked[columns])
    bad[columns] |= unstable_pixels(used, bad[columns])
    background = plan_background(variance, bad, instrument)
    level = np.tensordot(background.weights, mean, 2) @ background.basis
    return Plan(bad, background, plan_extraction(mean - level, variance, bad, instrument))
