"""The calibration pipeline: one visit from raw reads to light curves, in two passes over blocks of reads.

The first pass finds bad pixels and determines the extraction weights from samples spread over the visit, the second reduces
every sample; the whole visit is never held in memory. This is the reference implementation; fused.py is the fast equivalent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np

from ariel_lib.calibration.adc import to_electrons
from ariel_lib.calibration.background import Background, measure_background, smooth_background, subtract_background
from ariel_lib.calibration.bad_pixels import PixelStatistics, PixelSums, add_samples
from ariel_lib.calibration.binning import bin_light_curve
from ariel_lib.calibration.cds import difference_reads, sample_times
from ariel_lib.calibration.clipping import clip_outliers
from ariel_lib.calibration.dark import subtract_dark
from ariel_lib.calibration.extraction import extract
from ariel_lib.calibration.flat import divide_flat
from ariel_lib.calibration.frames import Frames
from ariel_lib.calibration.linearity import correct_linearity
from ariel_lib.calibration.plan import Detector, Plan, open_detector, plan_step, plan_visit
from ariel_lib.instrument import AIRS, FGS1, Instrument
from ariel_lib.io.archive import Archive
from ariel_lib.io.light_curves import LightCurve, LightCurves

# Modules of this package whose `apply(frames, detector)` follows the flat field, in this order: ("NAME",), ("NAME", "OTHER").
FRAME_STEPS: tuple[str, ...] = ()
BLOCK = 256  # reads per block


@dataclass(frozen=True)
class CalibrationSettings:
    """Options of calibration.

    airs_samples, fgs1_samples  light curves are binned to at least this many samples, fewer than twice as many; None: native cadence
    clip_sigma                  threshold of outlier clipping in time, standard deviations
    """

    airs_samples: int | None = 1125
    fgs1_samples: int | None = None
    clip_sigma: float = 8.0


def calibrate_visit(
    archive: Archive, split: str, planet_id: str, visit: int, settings: CalibrationSettings
) -> LightCurves:
    """Calibrate both instruments of one visit. Raises ArchiveError for bad files, SpectraMindError where there is no starlight."""
    curves = {
        instrument.name: calibrate_instrument(archive, split, planet_id, visit, instrument, settings)
        for instrument in (FGS1, AIRS)
    }
    return LightCurves(planet_id, visit, curves[FGS1.name], curves[AIRS.name])


def calibrate_instrument(
    archive: Archive, split: str, planet_id: str, visit: int, instrument: Instrument, settings: CalibrationSettings
) -> LightCurve:
    """Calibrate one instrument of one visit. Errors as in calibrate_visit."""
    signal = archive.signal(split, planet_id, visit, instrument)
    detector = open_detector(archive, split, planet_id, visit, instrument, signal.n_reads)
    plan = plan_visit(measure_pixels(detector, signal.blocks(BLOCK)), detector)
    return finish(*extract_visit(detector, plan, signal.blocks(BLOCK)), plan, settings)


def reduce_reads(counts: np.ndarray, detector: Detector, first: int) -> Frames:
    """Reduce successive reads, starting with number first of the visit, to flat-fielded CDS samples in electrons.

    counts (time, row, column) uint16.
    """
    maps = detector.maps
    frames = to_electrons(counts, detector.converter, maps.read_noise)
    frames = correct_linearity(frames, maps.linearity)
    frames = subtract_dark(frames, maps.dark, detector.integration_time[first : first + len(counts)])
    frames = difference_reads(frames)
    frames = divide_flat(frames, maps.flat, detector.bad)
    for name in FRAME_STEPS:
        frames = import_module(f"ariel_lib.calibration.{name}").apply(frames, detector)
    return frames


def measure_pixels(detector: Detector, blocks: Iterator[np.ndarray]) -> PixelStatistics:
    """First pass: statistics of each pixel from samples spread over the visit."""
    sums: PixelSums | None = None
    step = plan_step(len(detector.read_times) // 2)
    for first, counts in _numbered(blocks):
        chosen = np.arange(len(counts) // 2)
        chosen = chosen[(first // 2 + chosen) % step == 0]
        if len(chosen):
            sums = add_samples(sums, reduce_reads(counts, detector, first).samples(chosen))
    return sums.statistics()


def extract_visit(detector: Detector, plan: Plan, blocks: Iterator[np.ndarray]) -> tuple[LightCurve, Background]:
    """Second pass: light curve before background subtraction, and background of each sample."""
    times = sample_times(detector.read_times, detector.integration_time)
    curves, backgrounds = [], []
    for first, counts in _numbered(blocks):
        frames = reduce_reads(counts, detector, first)
        curves.append(extract(frames, plan.extraction, times[first // 2 : first // 2 + len(frames)]))
        backgrounds.append(measure_background(frames, plan.background))
    return _join(curves), _join(backgrounds)


def finish(curve: LightCurve, background: Background, plan: Plan, settings: CalibrationSettings) -> LightCurve:
    """Subtract the background, clip outliers in time, bin, and convert to float32 (times remain float64)."""
    curve = subtract_background(curve, smooth_background(background), plan.background, plan.extraction)
    curve = clip_outliers(curve, settings.clip_sigma)
    wanted = settings.fgs1_samples if plan.extraction.instrument.crop is None else settings.airs_samples
    curve = bin_light_curve(curve, max(1, len(curve.time) // wanted) if wanted else 1)
    names = ("flux", "variance_poisson", "variance_read", "centroid", "background")
    return replace(curve, **{name: getattr(curve, name).astype(np.float32) for name in names})


def _numbered(blocks: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks with the number of their first read. Blocks contain complete pairs; a single last read is left out."""
    first = 0
    for counts in blocks:
        if len(counts) > 1:
            yield first, counts
        first += len(counts)


def _join(parts: list) -> LightCurve | Background:
    """Concatenate successive parts of a time series."""
    names = parts[0].__dataclass_fields__
    return type(parts[0])(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
