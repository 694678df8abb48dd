"""Calibration at speed: the same light curves as pipeline.py from whole pixels instead of frames.

A parquet column is one pixel's time series. Only the pixels in use are read, some columns of the detector at a time, by a
thread of its own while the kernel works on what has come; counts stay uint16 throughout.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from ariel_lib.archive import Archive, Signal
from ariel_lib.calibration import kernel
from ariel_lib.calibration.background import Background
from ariel_lib.calibration.bad_pixels import STEP_LIMIT, PixelStatistics
from ariel_lib.calibration.cds import sample_times
from ariel_lib.calibration.light_curves import LightCurve, LightCurves
from ariel_lib.calibration.pipeline import CalibrationSettings, finish
from ariel_lib.calibration.plan import Detector, Plan, open_detector, pixels_in_use, plan_step, plan_visit
from ariel_lib.instrument import AIRS, FGS1, Instrument

CHUNK = 8_000_000  # bytes of counts read in one go
AHEAD = 6  # chunks read before they are asked for
HELD = 300_000_000  # bytes of counts kept between the two looks at them; a longer visit is read twice

Chunk = tuple[np.ndarray, np.ndarray]  # numbers of the pixels, counts (pixel, read) with an even number of reads


class Pixels:
    """The counts of the pixels in use, in chunks of neighbouring detector columns, read ahead on `reader`.

    To be gone through twice. A visit that fits is held in between and let go chunk by chunk the second time; a longer
    one is read anew.
    """

    def __init__(self, signal: Signal, instrument: Instrument, reader: ThreadPoolExecutor):
        numbers = np.flatnonzero(pixels_in_use(instrument))
        size = len(numbers) * signal.n_reads * 2
        edges = np.linspace(0, instrument.columns, 1 + max(1, size // CHUNK)).astype(int)
        column = numbers % instrument.columns
        sets = [numbers[(column >= first) & (column < last)] for first, last in pairwise(edges)]
        self._sets = [numbers for numbers in sets if len(numbers)]
        self._signal, self._reader, self._keep = signal, reader, size <= HELD
        self._held: list[Chunk] = []
        self._ahead: deque[Future] = deque()
        self._waiting = deque(self._sets)
        self._read_ahead()

    def __iter__(self) -> Iterator[Chunk]:
        if self._held:
            while self._held:
                yield self._held.pop(0)
            return
        if not self._ahead:
            self._waiting.extend(self._sets)
            self._read_ahead()
        while self._ahead:
            chunk = self._ahead.popleft().result()
            self._read_ahead()
            yield chunk
            if self._keep:
                self._held.append(chunk)

    def _read_ahead(self) -> None:
        while self._waiting and len(self._ahead) < AHEAD:
            self._ahead.append(self._reader.submit(self._read, self._waiting.popleft()))

    def _read(self, numbers: np.ndarray) -> Chunk:
        return numbers, self._signal.series(numbers)[:, : self._signal.n_reads // 2 * 2]


def calibrate_visit(
    archive: Archive, split: str, planet_id: str, visit: int, settings: CalibrationSettings
) -> LightCurves:
    """Both instruments of one visit. Raises ArchiveError for bad files, ValueError where there is no star."""
    reader = ThreadPoolExecutor(1)
    signals = {instrument: archive.signal(split, planet_id, visit, instrument) for instrument in (AIRS, FGS1)}
    try:
        airs_pixels = Pixels(signals[AIRS], AIRS, reader)
        airs_detector, fgs1_detector = (
            open_detector(archive, split, planet_id, visit, instrument, signal.n_reads)
            for instrument, signal in signals.items()
        )
        airs_plan = plan_visit(survey_pixels(airs_pixels, airs_detector), airs_detector)
        fgs1_pixels = Pixels(signals[FGS1], FGS1, reader)  # comes in while AIRS is reduced
        airs = finish(*extract_pixels(airs_pixels, airs_detector, airs_plan), airs_plan, settings)
        fgs1 = calibrate_pixels(fgs1_pixels, fgs1_detector, settings)
        return LightCurves(planet_id, visit, fgs1, airs)
    finally:
        reader.shutdown(cancel_futures=True)
        for signal in signals.values():
            signal.close()


def calibrate_pixels(pixels: Iterable[Chunk], detector: Detector, settings: CalibrationSettings) -> LightCurve:
    """One instrument of one visit. pixels: chunks that can be gone through twice."""
    plan = plan_visit(survey_pixels(pixels, detector), detector)
    return finish(*extract_pixels(pixels, detector, plan), plan, settings)


def survey_pixels(pixels: Iterable[Chunk], detector: Detector) -> PixelStatistics:
    """How each pixel behaves, from samples spread over the visit; zeros where a pixel is not in use."""
    maps, ramp = detector.maps, _ramp(detector)
    mean, variance, scatter, masked = np.zeros((4, maps.flat.size))
    linearity = _by_pixel(maps.linearity)
    for numbers, counts in pixels:
        mean[numbers], variance[numbers], scatter[numbers], masked[numbers] = kernel.survey(
            counts, detector.converter.gain, detector.converter.offset, linearity[numbers],
            _read_variance(detector)[numbers], maps.dark.ravel()[numbers], maps.flat.ravel()[numbers],
            ramp, plan_step(len(ramp)), STEP_LIMIT,
        )  # fmt: skip
    shape = maps.flat.shape
    count = len(range(0, len(ramp), plan_step(len(ramp))))
    return PixelStatistics(count, *(values.reshape(shape) for values in (mean, variance, scatter, masked)))


def extract_pixels(pixels: Iterable[Chunk], detector: Detector, plan: Plan) -> tuple[LightCurve, Background]:
    """Every sample's light, background still in it, and that background."""
    maps, extraction, ramp = detector.maps, plan.extraction, _ramp(detector)
    photometer = detector.instrument.crop is None
    response = np.where(plan.bad, 1, maps.flat)
    weights = extraction.weights / response
    plane = np.concatenate([extraction.centroid_weights, plan.background.weights]) / response
    beside = plan.background.weights.any(0)
    group = np.broadcast_to(0 if photometer else np.arange(weights.shape[1]), weights.shape)
    used = (weights != 0) | (plane != 0).any(0)
    single = {
        "linearity": _by_pixel(maps.linearity), "read": _read_variance(detector),
        "weights": weights.ravel(), "plane": _by_pixel(plane),
    }  # fmt: skip
    single = {name: values.astype(np.float32) for name, values in single.items()}
    groups, n = 1 if photometer else weights.shape[1], len(ramp)
    curves, sums = np.zeros((3, groups, n)), np.zeros((len(plane), n))
    mask, lost = np.zeros((groups, n), bool), np.zeros(n, bool)
    for numbers, counts in pixels:
        member = group.ravel()[numbers]
        order = np.argsort(member, kind="stable")
        kernel.reduce(
            counts, order[used.ravel()[numbers[order]]], member, detector.converter.gain, detector.converter.offset,
            single["linearity"][numbers], single["read"][numbers], single["weights"][numbers],
            single["plane"][numbers], beside.ravel()[numbers], curves, sums, mask, lost,
        )  # fmt: skip
    dark = (weights * maps.dark).sum((0, 1) if photometer else 0, keepdims=photometer).reshape(groups, 1)
    curves[0] -= dark * ramp
    sums -= np.tensordot(plane, maps.dark, 2)[:, None] * ramp
    return _light_curve(curves, sums, mask, detector, plan), _background(sums, lost, plan)


def _light_curve(curves: np.ndarray, sums: np.ndarray, mask: np.ndarray, detector: Detector, plan: Plan) -> LightCurve:
    """The kernel's sums as a light curve in wavelength order."""
    extraction = plan.extraction
    mask = mask | ~extraction.usable[:, None] if detector.instrument.crop else mask
    brightness, *shifts = sums[:3]
    dark = brightness <= 0  # no star in this sample, as in extract
    centroid = np.stack(shifts, 1) / np.where(dark, 1, brightness)[:, None]
    columns = [np.ascontiguousarray(values.T) for values in (*curves, mask | dark)]
    flux, poisson, read, mask = (
        x[:, 0] if detector.instrument.crop is None else extraction.to_wavelengths(x) for x in columns
    )
    times = sample_times(detector.read_times, detector.integration_time)
    return LightCurve(times, flux, poisson, read, centroid, np.zeros(len(times)), mask)


def _background(sums: np.ndarray, lost: np.ndarray, plan: Plan) -> Background:
    covariance = plan.background.covariance
    return Background(sums[3:].T, np.broadcast_to(covariance, (len(lost), *covariance.shape)), lost)


def _ramp(detector: Detector) -> np.ndarray:
    """s between the two reads of each sample."""
    times = detector.integration_time[: len(detector.integration_time) // 2 * 2]
    return times[1::2] - times[::2]


def _read_variance(detector: Detector) -> np.ndarray:
    """Of one read, rounding included, as in to_electrons: (pixel,)."""
    return (detector.maps.read_noise**2 + detector.converter.gain**-2 / 12).ravel()


def _by_pixel(planes: np.ndarray) -> np.ndarray:
    """(plane, row, column) to (pixel, plane)."""
    return np.ascontiguousarray(planes.reshape(len(planes), -1).T)
