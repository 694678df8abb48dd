"""Fast calibration: the light curves of pipeline.py, computed from pixel time series instead of frames.

A parquet column is the time series of one pixel. Only the pixels in use are read, a few detector columns at a time, in a
separate thread while the compiled kernel processes earlier ones; counts remain uint16.
"""

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import RLock
from typing import TypeVar

import numpy as np

from ariel_lib.calibration import kernel, pipeline
from ariel_lib.calibration.background import Background
from ariel_lib.calibration.bad_pixels import STEP_LIMIT, PixelStatistics
from ariel_lib.calibration.cds import sample_times
from ariel_lib.calibration.extraction import ExtractionPlan
from ariel_lib.calibration.pipeline import CalibrationSettings, finish
from ariel_lib.calibration.plan import Detector, Plan, open_detector, pixels_in_use, plan_step, plan_visit
from ariel_lib.instrument import AIRS, FGS1, Instrument
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import Converter
from ariel_lib.io.light_curves import LightCurve, LightCurves
from ariel_lib.io.signal import Signal, decoding_threads

CHUNK = 17_000_000  # bytes of counts per chunk
READ = 3_000_000  # bytes of a chunk read at a time, which keeps Arrow's buffers small and reusable
AHEAD = 4  # chunks submitted ahead of their use
HELD = 300_000_000  # bytes of counts kept in memory between the two passes; a longer visit is read twice

S, T = TypeVar("S"), TypeVar("T")
Chunk = tuple[np.ndarray, np.ndarray]  # indices of the pixels, counts (pixel, read) with an even number of reads


class Reader:
    """Reads pixel time series with two threads: one decodes a file, the other copies what has been decoded."""

    def __init__(self):
        self._decoder, self._copier = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def read(self, signal: Signal, numbers: np.ndarray, reads: int) -> "Future[Chunk]":
        """Submit the reading of the first reads of the pixels with these indices; requests are served in order."""
        return self._decoder.submit(self._read, signal, numbers, reads)

    def _read(self, signal: Signal, numbers: np.ndarray, reads: int) -> Chunk:
        counts, copies = _buffer(len(numbers), reads), deque()
        step = max(1, READ // (2 * reads))
        for first in range(0, len(numbers), step):
            few = slice(first, first + step)
            copies.append(self._copier.submit(signal.copy_series, signal.decode_series(numbers[few]), counts[few]))
            if len(copies) > 1:
                copies.popleft().result()
        while copies:
            copies.popleft().result()
        return numbers, counts

    def close(self) -> None:
        """Stop both threads; requests not yet started are cancelled."""
        for thread in (self._decoder, self._copier):
            thread.shutdown(cancel_futures=True)


_spare: list[np.ndarray] = []  # released buffers, reused because the system would clear fresh memory
_spare_lock = RLock()  # reentrant: the garbage collector may release a buffer in the thread that requests one


def _buffer(pixels: int, reads: int) -> np.ndarray:
    """Uninitialised uint16 array (pixel, read); once released its memory is reused, up to HELD bytes in total."""
    size = pixels * reads
    with _spare_lock:
        large = [n for n, spare in enumerate(_spare) if len(spare) >= size]
        memory = _spare.pop(large[0]) if large else np.empty(size, np.uint16)
    counts = memory[:size].reshape(pixels, reads)
    weakref.finalize(counts, _release, memory)
    return counts


def _release(buffer: np.ndarray) -> None:
    with _spare_lock:
        if sum(spare.nbytes for spare in _spare) + buffer.nbytes <= HELD:
            _spare.append(buffer)


class Pixels:
    """Counts of the pixels in use, in chunks of neighbouring detector columns; may be iterated over twice.

    A visit of up to HELD bytes is read once, starting at construction, kept for the second iteration and released chunk by chunk
    there; a longer one is read anew in each iteration, a few chunks ahead.
    """

    def __init__(self, signal: Signal, instrument: Instrument, reader: Reader):
        numbers, reads = np.flatnonzero(pixels_in_use(instrument)), signal.n_reads // 2 * 2
        self._read = partial(reader.read, signal, reads=reads)
        size = len(numbers) * reads * 2
        column_by_column = numbers[np.argsort(numbers % instrument.columns, kind="stable")]
        self._sets = [np.sort(few) for few in np.array_split(column_by_column, max(1, size // CHUNK))]
        self._coming = deque(map(self._read, self._sets)) if size <= HELD else None
        self._held: deque[Chunk] = deque()

    def __iter__(self) -> Iterator[Chunk]:
        if self._coming is None:
            yield from map_ahead(self._read, self._sets)
            return
        while self._coming:
            self._held.append(self._coming.popleft().result())
            yield self._held[-1]
            if len(self._held) == len(self._sets):
                return
        while self._held:
            yield self._held.popleft()


def map_ahead(submit: "Callable[[S], Future[T]]", items: Iterable[S]) -> Iterator[T]:
    """Results of the futures returned by submit for each item, in order, with at most AHEAD submitted in advance."""
    waiting: deque[Future] = deque()
    for item in items:
        waiting.append(submit(item))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def calibrate_visit(
    archive: Archive, split: str, planet_id: str, visit: int, settings: CalibrationSettings
) -> LightCurves:
    """Calibrate both instruments of one visit. Raises ArchiveError for bad files, SpectraMindError where there is no starlight."""
    if pipeline.FRAME_STEPS:  # the kernel has the built-in steps only
        return pipeline.calibrate_visit(archive, split, planet_id, visit, settings)
    reader, signals = Reader(), {}
    try:
        signals[AIRS] = archive.signal(split, planet_id, visit, AIRS)
        airs_pixels = Pixels(signals[AIRS], AIRS, reader)
        signals[FGS1] = archive.signal(split, planet_id, visit, FGS1)
        airs, fgs1 = (open_detector(archive, split, planet_id, visit, i, signal.n_reads) for i, signal in signals.items())
        airs_plan = plan_visit(measure_pixels(airs_pixels, airs), airs)
        fgs1_pixels = Pixels(signals[FGS1], FGS1, reader)  # read while AIRS is reduced, into the buffers that it releases
        airs_curve = finish(*extract_pixels(airs_pixels, airs, airs_plan), airs_plan, settings)
        return LightCurves(planet_id, visit, calibrate_pixels(fgs1_pixels, fgs1, settings), airs_curve)
    finally:
        reader.close()
        for signal in signals.values():
            signal.close()


def calibrate_pixels(pixels: Iterable[Chunk], detector: Detector, settings: CalibrationSettings) -> LightCurve:
    """Calibrate one instrument of one visit. pixels: chunks that can be iterated over twice."""
    plan = plan_visit(measure_pixels(pixels, detector), detector)
    return finish(*extract_pixels(pixels, detector, plan), plan, settings)


def measure_pixels(pixels: Iterable[Chunk], detector: Detector) -> PixelStatistics:
    """Statistics of each pixel from samples spread over the visit; zero where a pixel is not in use."""
    maps, ramp = detector.maps, _ramp(detector)
    mean, variance, scatter, masked = np.zeros((4, maps.flat.size))
    linearity = _by_pixel(maps.linearity)
    for numbers, counts in pixels:
        mean[numbers], variance[numbers], scatter[numbers], masked[numbers] = kernel.pixel_statistics(
            counts, detector.converter.gain, detector.converter.offset, linearity[numbers],
            _read_variance(detector)[numbers], maps.dark.ravel()[numbers], maps.flat.ravel()[numbers],
            ramp, plan_step(len(ramp)), STEP_LIMIT,
        )  # fmt: skip
    shape = maps.flat.shape
    count = len(range(0, len(ramp), plan_step(len(ramp))))
    return PixelStatistics(count, *(values.reshape(shape) for values in (mean, variance, scatter, masked)))


def extract_pixels(pixels: Iterable[Chunk], detector: Detector, plan: Plan) -> tuple[LightCurve, Background]:
    """Light curve before background subtraction, and background of each sample.

    Chunks are reduced in parallel and added in order, so that the result does not depend on the number of threads.
    """
    weights, ramp = weigh_pixels(detector, plan), _ramp(detector)
    terms, n = 3 + len(plan.background.weights), len(ramp)
    curves, mask = np.zeros((3, len(weights.dark), n)), np.zeros((len(weights.dark), n), bool)
    sums, background_mask = np.zeros((terms, n)), np.zeros(n, bool)
    with ThreadPoolExecutor(decoding_threads()) as pool:
        for part in map_ahead(partial(pool.submit, weights.reduce), pixels):
            curves[:, part.groups] += part.curves
            mask[part.groups] |= part.mask
            sums += part.sums
            background_mask |= part.background_mask
    curves[0] -= weights.dark[:, None] * ramp
    sums -= weights.plane_dark[:, None] * ramp
    return _light_curve(curves, sums, mask, detector, plan), _background(sums, background_mask, plan)


@dataclass(frozen=True)
class Part:
    """Contribution of the pixels of one chunk to the light curves `groups`; arrays as in kernel.reduce."""

    groups: slice
    curves: np.ndarray
    sums: np.ndarray
    mask: np.ndarray
    background_mask: np.ndarray


@dataclass(frozen=True)
class Weights:
    """Arguments of kernel.reduce for each pixel, (pixel, …) as there, and the dark current in each light curve.

    group          (pixel,)            light curve to which the pixel contributes: its column; 0 for all pixels of a photometer
    used           (pixel,)            bool
    flux           (pixel,)            weights in the flux
    plane          (pixel, estimator)  weights in the estimators over the whole detector: centroid and background
    in_background  (pixel,)            bool: the pixel is used for the background
    dark           (group,)            electrons / s
    plane_dark     (estimator,)        electrons / s
    """

    converter: Converter
    group: np.ndarray
    used: np.ndarray
    linearity: np.ndarray
    read_variance: np.ndarray
    flux: np.ndarray
    plane: np.ndarray
    in_background: np.ndarray
    dark: np.ndarray
    plane_dark: np.ndarray

    def reduce(self, chunk: Chunk) -> Part:
        """Contribution of one chunk of pixels."""
        numbers, counts = chunk
        group, n = self.group[numbers], counts.shape[1] // 2
        groups, terms = slice(group.min(), group.max() + 1), self.plane.shape[1]
        size = groups.stop - groups.start
        order = np.argsort(group, kind="stable")
        part = Part(groups, np.zeros((3, size, n)), np.zeros((terms, n)), np.zeros((size, n), bool), np.zeros(n, bool))
        kernel.reduce(
            counts, order[self.used[numbers[order]]], group - groups.start, self.converter.gain, self.converter.offset,
            self.linearity[numbers], self.read_variance[numbers], self.flux[numbers], self.plane[numbers],
            self.in_background[numbers], part.curves, part.sums, part.mask, part.background_mask,
        )  # fmt: skip
        return part


def weigh_pixels(detector: Detector, plan: Plan) -> Weights:
    """Weights of the plan for each pixel, divided by the flat field."""
    maps, photometer = detector.maps, detector.instrument.crop is None
    response = np.where(plan.bad, 1, maps.flat)
    flux = plan.extraction.weights / response
    plane = np.concatenate([plan.extraction.centroid_weights, plan.background.weights]) / response
    single = (_by_pixel(maps.linearity), _read_variance(detector), flux.ravel(), _by_pixel(plane))
    return Weights(
        detector.converter,
        np.broadcast_to(0 if photometer else np.arange(flux.shape[1]), flux.shape).ravel(),
        ((flux != 0) | (plane != 0).any(0)).ravel(),
        *(values.astype(np.float32) for values in single),
        plan.background.weights.any(0).ravel(),
        np.atleast_1d((flux * maps.dark).sum(None if photometer else 0)),
        np.tensordot(plane, maps.dark, 2),
    )


def _light_curve(curves: np.ndarray, sums: np.ndarray, mask: np.ndarray, detector: Detector, plan: Plan) -> LightCurve:
    """Light curve in wavelength order from the sums of the kernel; flux and variances converted to float32."""
    extraction = plan.extraction
    mask = mask | ~extraction.usable[:, None] if detector.instrument.crop else mask
    brightness, *shifts = sums[:3]
    dark = brightness <= 0  # no star in this sample, as in extraction.extract
    centroid = np.stack(shifts, 1) / np.where(dark, 1, brightness)[:, None]
    flux, poisson, read = (_in_order(values, extraction, np.float32) for values in curves)
    times = sample_times(detector.read_times, detector.integration_time)
    return LightCurve(times, flux, poisson, read, centroid, np.zeros(len(times)), _in_order(mask | dark, extraction, bool))


def _in_order(groups: np.ndarray, extraction: ExtractionPlan, kind: type) -> np.ndarray:
    """Transpose (group, time) to (time, wavelength), or to (time,) for a photometer, as type kind."""
    ordered = groups[0] if extraction.instrument.crop is None else extraction.to_wavelengths(groups.T)
    return np.ascontiguousarray(ordered, kind)


def _background(sums: np.ndarray, mask: np.ndarray, plan: Plan) -> Background:
    covariance = plan.background.covariance
    return Background(sums[3:].T, np.broadcast_to(covariance, (len(mask), *covariance.shape)), mask)


def _ramp(detector: Detector) -> np.ndarray:
    """Time between the two reads of each sample, s, (sample,)."""
    times = detector.integration_time[: len(detector.integration_time) // 2 * 2]
    return times[1::2] - times[::2]


def _read_variance(detector: Detector) -> np.ndarray:
    """Read noise variance of one read including rounding, as in adc.to_electrons, (pixel,)."""
    return (detector.maps.read_noise**2 + detector.converter.gain**-2 / 12).ravel()


def _by_pixel(planes: np.ndarray) -> np.ndarray:
    """Reshape (plane, row, column) to (pixel, plane)."""
    return np.ascontiguousarray(planes.reshape(len(planes), -1).T)
