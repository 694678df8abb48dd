"""The order of calibration, and nothing else: one visit from raw reads to light curves, in two streams over its blocks.

The first stream finds bad pixels and fixes the extraction from samples spread over the visit, the second reduces every
sample; no array holds the whole visit. This is the readable reference: fused.py gives the same light curves at speed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

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

BLOCK = 256  # reads held as float64 at a time


@dataclass(frozen=True)
class CalibrationSettings:
    """What a user may choose.

    airs_samples, fgs1_samples  bin until fewer than twice as many samples remain; None: native cadence
    clip_sigma                  how far from its neighbours a sample may lie, in standard deviations
    """

    airs_samples: int | None = 1125
    fgs1_samples: int | None = None
    clip_sigma: float = 8.0


def calibrate_visit(
    archive: Archive, split: str, planet_id: str, visit: int, settings: CalibrationSettings
) -> LightCurves:
    """Both instruments of one visit. Raises ArchiveError for bad files, ValueError where there is no star."""
    curves = {
        instrument.name: calibrate_instrument(archive, split, planet_id, visit, instrument, settings)
        for instrument in (FGS1, AIRS)
    }
    return LightCurves(planet_id, visit, curves[FGS1.name], curves[AIRS.name])


def calibrate_instrument(
    archive: Archive, split: str, planet_id: str, visit: int, instrument: Instrument, settings: CalibrationSettings
) -> LightCurve:
    """One instrument of one visit."""
    signal = archive.signal(split, planet_id, visit, instrument)
    detector = open_detector(archive, split, planet_id, visit, instrument, signal.n_reads)
    plan = plan_visit(survey_pixels(detector, signal.blocks(BLOCK)), detector)
    return finish(*extract_visit(detector, plan, signal.blocks(BLOCK)), plan, settings)


def reduce_reads(counts: np.ndarray, detector: Detector, first: int) -> Frames:
    """Counts of successive reads, the visit's read `first` on, to flat-fielded CDS samples in electrons."""
    maps = detector.maps
    frames = to_electrons(counts, detector.converter, maps.read_noise)
    frames = correct_linearity(frames, maps.linearity)
    frames = subtract_dark(frames, maps.dark, detector.integration_time[first : first + len(counts)])
    frames = difference_reads(frames)
    return divide_flat(frames, maps.flat, detector.bad)


def survey_pixels(detector: Detector, blocks: Iterator[np.ndarray]) -> PixelStatistics:
    """First stream: how each pixel behaves, from samples spread over the visit."""
    sums: PixelSums | None = None
    step = plan_step(len(detector.read_times) // 2)
    for first, counts in _numbered(blocks):
        chosen = np.arange(len(counts) // 2)
        chosen = chosen[(first // 2 + chosen) % step == 0]
        if len(chosen):
            sums = add_samples(sums, reduce_reads(counts, detector, first).samples(chosen))
    return sums.statistics()


def extract_visit(detector: Detector, plan: Plan, blocks: Iterator[np.ndarray]) -> tuple[LightCurve, Background]:
    """Second stream: every sample's light, background still in it, and that background."""
    times = sample_times(detector.read_times, detector.integration_time)
    curves, backgrounds = [], []
    for first, counts in _numbered(blocks):
        frames = reduce_reads(counts, detector, first)
        curves.append(extract(frames, plan.extraction, times[first // 2 : first // 2 + len(frames)]))
        backgrounds.append(measure_background(frames, plan.background))
    return _join(curves), _join(backgrounds)


def finish(curve: LightCurve, background: Background, plan: Plan, settings: CalibrationSettings) -> LightCurve:
    """Subtract the background, clip in time, bin, and round to float32 (times stay float64)."""
    curve = subtract_background(curve, smooth_background(background), plan.background, plan.extraction)
    curve = clip_outliers(curve, settings.clip_sigma)
    wanted = settings.fgs1_samples if plan.extraction.instrument.crop is None else settings.airs_samples
    curve = bin_light_curve(curve, max(1, len(curve.time) // wanted) if wanted else 1)
    names = ("flux", "variance_poisson", "variance_read", "centroid", "background")
    return replace(curve, **{name: getattr(curve, name).astype(np.float32) for name in names})


def _numbered(blocks: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks with the number of their first read. A block holds whole pairs; an odd last read is left out."""
    first = 0
    for counts in blocks:
        if len(counts) > 1:
            yield first, counts
        first += len(counts)


def _join(parts: list) -> LightCurve | Background:
    """Successive pieces of one series, end to end."""
    names = parts[0].__dataclass_fields__
    return type(parts[0])(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
