"""The fused kernel agrees with the composed steps, on random reads and in special cases."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.calibration import fused, pipeline
from ariel_lib.calibration.bad_pixels import neutralise, unusable_pixels
from ariel_lib.calibration.kernel import running_median
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.plan import pixels_in_use, plan_visit
from ariel_lib.instrument import AIRS, FGS1, FULL_SCALE, INSTRUMENTS, airs_wavelengths
from ariel_lib.io.archive import Archive
from ariel_lib.io.signal import Signal
from ariel_lib.io.writer import write_axis, write_calibration_maps, write_converters, write_signal

NATIVE = CalibrationSettings(airs_samples=None)


def calibrate_both(counts, detector, settings=NATIVE):
    """The light curve by the composed steps and by the fused kernel, the latter from three chunks of pixels."""
    bad = detector.bad | unusable_pixels(detector.maps)
    detector = replace(detector, bad=bad, maps=neutralise(detector.maps, bad))

    def blocks():
        return (counts[first : first + 64] for first in range(0, len(counts), 64))

    plan = plan_visit(pipeline.measure_pixels(detector, blocks()), detector)
    composed = pipeline.finish(*pipeline.extract_visit(detector, plan, blocks()), plan, settings)
    even = counts[: len(counts) // 2 * 2].reshape(-1, counts[0].size)
    numbers = np.array_split(np.flatnonzero(pixels_in_use(detector.instrument)), 3)
    chunks = [(chunk, np.ascontiguousarray(even[:, chunk].T)) for chunk in numbers]
    return composed, fused.calibrate_pixels(chunks, detector, settings)


def assert_same(composed, fast):
    np.testing.assert_array_equal(fast.mask, composed.mask)
    np.testing.assert_array_equal(fast.time, composed.time)
    scale = np.abs(composed.flux).max(0)
    np.testing.assert_allclose(fast.flux / scale, composed.flux / scale, rtol=0, atol=3e-6)
    for name in ("variance_poisson", "variance_read"):
        np.testing.assert_allclose(getattr(fast, name), getattr(composed, name), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(fast.centroid, composed.centroid, atol=1e-5)
    np.testing.assert_allclose(fast.background, composed.background, atol=1e-2)


@pytest.mark.parametrize("n", [1, 2, 7, 300, 1100])
def test_light_curves_agree_on_random_reads(make_visit, instrument, rng, n):
    visit = make_visit(instrument, n, rng, jitter=0.03, curve=1 - 0.02 * (np.arange(n) > n / 2))
    assert_same(*calibrate_both(visit.counts, visit.detector))


def test_light_curves_agree_for_an_odd_number_of_reads(make_visit, instrument, rng):
    visit = make_visit(instrument, 20, rng)
    assert_same(*calibrate_both(visit.counts[:-1], replace_reads(visit.detector, 39)))


def replace_reads(detector, n):
    return replace(detector, read_times=detector.read_times[:n], integration_time=detector.integration_time[:n])


@pytest.mark.parametrize("brightness", [300.0, 400_000.0])
def test_light_curves_agree_for_negative_and_strongly_nonlinear_charges(make_visit, instrument, rng, brightness):
    assert_same(*calibrate_both(*reads_of(make_visit(instrument, 60, rng, brightness=brightness))))


def reads_of(visit):
    return visit.counts, visit.detector


def test_light_curves_agree_with_dead_columns_and_non_finite_maps(make_visit, spectrometer, rng):
    visit = make_visit(spectrometer, 30, rng)
    maps = visit.detector.maps
    dead, flat, dark = maps.dead.copy(), maps.flat.copy(), maps.dark.copy()
    dead[:, 9], flat[8, 14], dark[2, 5] = True, -0.01, np.nan
    ruined = replace(visit.detector, maps=replace(maps, dead=dead, flat=flat, dark=dark))
    composed, fast = calibrate_both(visit.counts, ruined)
    assert composed.mask.any() and np.isfinite(fast.flux).all()
    used = ~composed.mask.all(0)
    assert_same(*(only(curve, used) for curve in (composed, fast)))
    np.testing.assert_array_equal(fast.flux[:, ~used], composed.flux[:, ~used])


def only(curve, columns):
    names = ("flux", "variance_poisson", "variance_read", "mask")
    return replace(curve, **{name: getattr(curve, name)[:, columns] for name in names})


def test_light_curves_agree_with_saturation_in_trace_and_background_rare_and_frequent(make_visit, spectrometer, rng):
    visit = make_visit(spectrometer, 200, rng)
    counts = visit.counts.copy()
    counts[81, 8, 10] = counts[100, 1, 12] = FULL_SCALE
    counts[1::2, 7, 16] = FULL_SCALE
    composed, fast = calibrate_both(counts, visit.detector)
    assert composed.mask[40].any() and not composed.mask[:40].any()
    assert_same(composed, fast)


@pytest.mark.parametrize("shape", [(1, 2), (4, 3), (200, 5)])
def test_the_running_median_equals_that_of_numpy(rng, shape):
    values = np.round(rng.normal(size=shape), 1)  # with ties
    padded = np.pad(values, ((5, 5), (0, 0)), mode="edge")
    plain = np.median(np.lib.stride_tricks.sliding_window_view(padded, 11, axis=0), axis=-1)
    np.testing.assert_array_equal(running_median(values, 11), plain)


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_visit):
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(5)
    for instrument, n in ((AIRS, 12), (FGS1, 30)):
        made = make_visit(instrument, n, rng)
        write_signal(root, "train", "11", 0, instrument, [made.counts])
        write_calibration_maps(root, "train", "11", 0, instrument, made.detector.maps)
    write_axis(root, np.arange(24) / 900, np.tile([0.1, 4.5], 12), np.arange(60) / 10800, airs_wavelengths())
    write_converters(root, {name: made.detector.converter for name in INSTRUMENTS})
    return Archive(root)


@pytest.mark.parametrize("held", [0, fused.HELD])
def test_light_curves_agree_for_visits_kept_in_memory_and_read_twice(data, monkeypatch, held):
    monkeypatch.setattr(fused, "HELD", held)
    monkeypatch.setattr(fused, "CHUNK", 50_000)
    composed = pipeline.calibrate_visit(data, "train", "11", 0, NATIVE)
    fast = fused.calibrate_visit(data, "train", "11", 0, NATIVE)
    assert_same(composed.airs, fast.airs)
    assert_same(composed.fgs1, fast.fgs1)


def test_every_pixel_in_use_is_in_exactly_one_chunk(data, monkeypatch):
    monkeypatch.setattr(fused, "CHUNK", 50_000)
    signal = data.signal("train", "11", 0, AIRS)
    with closing(fused.Reader()) as reader:
        chunks = list(fused.Pixels(signal, AIRS, reader))
    assert len(chunks) > 3
    numbers = np.concatenate([numbers for numbers, _ in chunks])
    np.testing.assert_array_equal(np.sort(numbers), np.flatnonzero(pixels_in_use(AIRS)))
    whole = np.concatenate(list(signal.blocks())).reshape(signal.n_reads, -1)
    for numbers, counts in chunks:
        np.testing.assert_array_equal(counts, whole[:, numbers].T)


def test_a_visit_not_kept_in_memory_is_read_only_a_few_chunks_ahead(data, monkeypatch):
    monkeypatch.setattr(fused, "HELD", 0)
    monkeypatch.setattr(fused, "CHUNK", 20_000)
    read = []
    monkeypatch.setattr(Signal, "decode_series", lambda self, numbers: read.append(len(numbers)) or [])
    with closing(fused.Reader()) as reader:
        pixels = fused.Pixels(data.signal("train", "11", 0, AIRS), AIRS, reader)
        for _ in range(2):
            read.clear()
            chunks = list(track(pixels, read))
            assert len(chunks) > 3 * fused.AHEAD and max(chunks) <= fused.AHEAD + 1


def track(pixels, read):
    """Number of chunks read beyond those yielded so far, at each chunk."""
    for handed_out, _ in enumerate(pixels):
        yield len(read) - handed_out


@pytest.mark.parametrize("instrument", [AIRS, FGS1], ids=["AIRS", "FGS1"])
def test_the_result_does_not_depend_on_the_number_of_threads(data, monkeypatch, instrument):
    monkeypatch.setattr(fused, "CHUNK", 20_000)
    curves = []
    for threads in (1, 4):
        monkeypatch.setattr(fused, "decoding_threads", lambda threads=threads: threads)
        curves.append(fused.calibrate_visit(data, "train", "11", 0, NATIVE))
    name = "airs" if instrument is AIRS else "fgs1"
    one, four = (getattr(curve, name) for curve in curves)
    for field in ("flux", "variance_poisson", "variance_read", "centroid", "background", "mask"):
        np.testing.assert_array_equal(getattr(one, field), getattr(four, field))


def test_concurrent_visits_share_no_buffers(data):
    """Buffers are reused only after they have been released."""
    alone = fused.calibrate_visit(data, "train", "11", 0, NATIVE)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: fused.calibrate_visit(data, "train", "11", 0, NATIVE), range(12)))
    for curves in together:
        np.testing.assert_array_equal(curves.airs.flux, alone.airs.flux)
        np.testing.assert_array_equal(curves.fgs1.flux, alone.fgs1.flux)
