"""What is fixed for a visit before its samples are reduced: maps, times, bad pixels, background and extraction."""

from dataclasses import dataclass

import numpy as np

from ariel_lib.calibration.background import BackgroundPlan, background_columns, background_pixels, plan_background
from ariel_lib.calibration.bad_pixels import PixelStatistics, neutralise, unstable_pixels, unusable_pixels
from ariel_lib.calibration.extraction import ExtractionPlan, aperture, plan_extraction
from ariel_lib.instrument import Instrument
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import CalibrationMaps, Converter

PLAN_SAMPLES = 1024  # samples, spread over the visit, from which bad pixels are found and the extraction is planned


@dataclass(frozen=True)
class Detector:
    """What one instrument's reads need in one visit: maps (neutral where bad), read times (h), integrations (s)."""

    instrument: Instrument
    converter: Converter
    maps: CalibrationMaps
    bad: np.ndarray
    read_times: np.ndarray
    integration_time: np.ndarray


@dataclass(frozen=True)
class Plan:
    """How the visit's samples become light. bad: (row, column), True also for pixels that are not in use."""

    bad: np.ndarray
    background: BackgroundPlan
    extraction: ExtractionPlan


def open_detector(
    archive: Archive, split: str, planet_id: str, visit: int, instrument: Instrument, n_reads: int
) -> Detector:
    """Converter, maps and times of one instrument in one visit."""
    maps = archive.calibration_maps(split, planet_id, visit, instrument)
    bad = unusable_pixels(maps)
    times = archive.read_times(instrument, n_reads)
    return Detector(instrument, archive.converter(split, planet_id, instrument), neutralise(maps, bad), bad, *times)


def pixels_in_use(instrument: Instrument) -> np.ndarray:
    """Pixels that calibration looks at, the only ones worth reading: bool (row, column)."""
    return aperture(instrument) | background_pixels(instrument)


def plan_step(n_samples: int) -> int:
    """Every which sample is looked at for the plan."""
    return max(1, n_samples // PLAN_SAMPLES)


def plan_visit(pixels: PixelStatistics, detector: Detector) -> Plan:
    """Bad pixels, background and extraction from the statistics of the visit's samples.

    pixels  those not in use are not looked at
    """
    instrument = detector.instrument
    columns = (slice(None), background_columns(instrument))
    bad = ~pixels_in_use(instrument) | detector.bad
    mean, variance, scatter, masked = (
        np.where(bad, 0, values) for values in (pixels.mean, pixels.variance, pixels.scatter, pixels.masked)
    )
    # Unstable pixels are sought within the columns in use: beyond them the image would end in a cliff.
    seen = PixelStatistics(pixels.count, mean[columns], variance[columns], scatter[columns], masked[columns])
    bad[columns] |= unstable_pixels(seen, bad[columns])
    background = plan_background(variance, bad, instrument)
    level = np.tensordot(background.weights, mean, 2) @ background.basis
    return Plan(bad, background, plan_extraction(mean - level, variance, bad, instrument))
