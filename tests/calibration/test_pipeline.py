"""The calibration pipeline end to end: on simulated reads, and on external frames where they are available."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ariel_lib.calibration import fused, pipeline
from ariel_lib.calibration.bad_pixels import neutralise, unusable_pixels
from ariel_lib.calibration.pipeline import (
    CalibrationSettings,
    calibrate_visit,
    extract_visit,
    finish,
    measure_pixels,
)
from ariel_lib.calibration.plan import plan_step, plan_visit
from ariel_lib.calibration.visits import read_inputs
from ariel_lib.instrument import FULL_SCALE
from ariel_lib.io.archive import Archive
from ariel_lib.io.light_curves import LightCurve

NATIVE = CalibrationSettings(airs_samples=None)


def calibrate(counts, detector, settings=NATIVE, block=16) -> LightCurve:
    bad = detector.bad | unusable_pixels(detector.maps)
    detector = replace(detector, bad=bad, maps=neutralise(detector.maps, bad))

    def blocks():
        return (counts[first : first + block] for first in range(0, len(counts), block))

    plan = plan_visit(measure_pixels(detector, blocks()), detector)
    return finish(*extract_visit(detector, plan, blocks()), plan, settings)


def light_of(visit, instrument) -> np.ndarray:
    if instrument.crop is None:
        return visit.light.sum(1)
    first, last = instrument.crop
    return visit.light[:, first:last][:, ::-1]


def test_the_light_of_a_noiseless_visit_is_recovered(make_visit, instrument, rng):
    curve = 1 - 0.02 * (np.abs(np.arange(80) - 40) < 15)
    visit = make_visit(instrument, 80, rng, noise=False, curve=curve, sky=7.0)
    found = calibrate(visit.counts, visit.detector)
    np.testing.assert_allclose(found.flux, light_of(visit, instrument), rtol=2e-6)
    np.testing.assert_allclose(found.background, 7.0, rtol=1e-4)
    assert not found.mask.any()


def test_the_scatter_equals_the_propagated_variance(make_visit, instrument, rng):
    n = 600
    visit = make_visit(instrument, n, rng)
    found = calibrate(visit.counts, visit.detector)
    ratio = found.flux.astype(float).var(0, ddof=1) / found.variance.mean(0)
    assert np.mean(ratio) == pytest.approx(1, abs=4 * np.sqrt(2 / n / ratio.size) + 0.01)
    bias = (found.flux - light_of(visit, instrument)).mean(0) / np.sqrt(found.variance.mean(0) / n)
    assert np.abs(bias).max() < 5


@pytest.mark.parametrize("row", [7, 8])
def test_a_dead_pixel_changes_neither_scatter_nor_depth(make_visit, spectrometer, rng, row):
    n, column = 400, 12
    transit = np.where(np.arange(n) < n // 2, 1.0, 0.98)
    visit = make_visit(spectrometer, n, rng, curve=transit, jitter=0.02, brightness=200_000.0)
    dead, flat, counts = visit.detector.maps.dead.copy(), visit.detector.maps.flat.copy(), visit.counts.copy()
    dead[row, column], flat[row, column] = True, -0.01
    counts[:, row, column] = rng.integers(0, FULL_SCALE, 2 * n)
    ruined = replace(visit.detector, maps=replace(visit.detector.maps, dead=dead, flat=flat))
    found = calibrate(counts, ruined)
    w = spectrometer.crop[1] - 1 - column
    flux, sigma = found.flux[:, w].astype(float), np.sqrt(found.variance[:, w].mean())
    depth = 1 - flux[n // 2 :].mean() / flux[: n // 2].mean()
    assert depth == pytest.approx(0.02, abs=4 * sigma * np.sqrt(4 / n) / flux.mean())
    assert np.std(np.diff(flux)) / np.sqrt(2) == pytest.approx(sigma, rel=0.2)
    assert not found.mask[:, w].any()


def test_an_unpaired_last_read_is_dropped_and_the_block_size_has_no_effect(make_visit, instrument, rng):
    visit = make_visit(instrument, 21, rng)
    whole = calibrate(visit.counts, visit.detector, block=64)
    odd = calibrate(np.concatenate([visit.counts, visit.counts[:1]]), visit.detector, block=6)
    for name in ("time", "flux", "variance_poisson", "variance_read", "centroid", "background", "mask"):
        np.testing.assert_allclose(getattr(odd, name), getattr(whole, name), rtol=1e-5, atol=1e-6)


def test_a_single_pair_is_calibrated(make_visit, instrument, rng):
    found = calibrate(make_visit(instrument, 1, rng).counts, make_visit(instrument, 1, rng).detector)
    assert len(found.time) == 1 and np.isfinite(found.flux).all() and np.isfinite(found.variance).all()


def test_an_all_dead_column_is_masked_and_finite(make_visit, spectrometer, rng):
    visit = make_visit(spectrometer, 20, rng)
    dead = visit.detector.maps.dead.copy()
    dead[:, 9] = True
    found = calibrate(visit.counts, replace(visit.detector, maps=replace(visit.detector.maps, dead=dead)))
    assert found.mask.all(0).nonzero()[0].tolist() == [spectrometer.crop[1] - 1 - 9]
    assert np.isfinite(found.flux).all() and np.isfinite(found.variance).all()


def test_a_saturated_sample_is_masked_in_its_column(make_visit, spectrometer, rng):
    visit = make_visit(spectrometer, 200, rng)
    counts = visit.counts.copy()
    counts[81, 8, 10] = FULL_SCALE
    found = calibrate(counts, visit.detector)
    assert np.argwhere(found.mask).tolist() == [[40, spectrometer.crop[1] - 1 - 10]]


def test_a_faint_star_with_negative_charges_is_unbiased(make_visit, spectrometer, rng):
    n = 1000
    visit = make_visit(spectrometer, n, rng, brightness=600.0)
    found = calibrate(visit.counts, visit.detector)
    light = light_of(visit, spectrometer)[0]
    scale = found.flux.mean(0) / light  # weights from a noisy profile: a constant factor per column
    np.testing.assert_allclose(scale, 1, atol=0.1)
    assert np.all(found.variance_poisson >= 0)
    assert np.mean(found.flux.var(0, ddof=1) / found.variance.mean(0)) == pytest.approx(1, abs=0.06)


def test_binned_light_curves_are_means_of_the_native_cadence(make_visit, spectrometer, rng):
    visit = make_visit(spectrometer, 40, rng)
    native = calibrate(visit.counts, visit.detector)
    binned = calibrate(visit.counts, visit.detector, CalibrationSettings(airs_samples=10))
    np.testing.assert_allclose(binned.flux, native.flux.reshape(10, 4, -1).mean(1), rtol=1e-6)


def test_plan_step_selects_about_a_thousand_samples_or_all():
    assert [plan_step(n) for n in (1, 2047, 5625, 67500)] == [1, 1, 5, 65]


# External frames


@pytest.fixture(scope="module")
def real(real_frames):
    return calibrate_visit(Archive(real_frames), "train", "342072318", 0, NATIVE)


def test_the_scatter_of_real_airs_samples_equals_the_propagated_sigma(real):
    flux = real.airs.flux.astype(float)
    white = flux.sum(1)
    sigma = np.sqrt(real.airs.variance.sum(1).mean())
    assert white.std(ddof=1) == pytest.approx(sigma, rel=0.15)
    ratio = flux.std(0, ddof=1) / np.sqrt(real.airs.variance.mean(0))
    assert np.median(ratio) == pytest.approx(1, abs=0.05)
    assert ratio.max() < 1 + 5 / np.sqrt(2 * len(flux))  # every column within the sampling error of 25 samples


def test_the_excess_noise_of_real_fgs1_samples_follows_the_centroid(real):
    flux, centroid = real.fgs1.flux.astype(float), real.fgs1.centroid.astype(float)
    sigma = np.sqrt(real.fgs1.variance.mean())
    design = np.column_stack([np.ones(len(flux)), centroid, centroid**2])
    residual = flux - design @ np.linalg.lstsq(design, flux, rcond=None)[0]
    assert flux.std(ddof=1) / sigma > 1.4
    assert np.sqrt((residual**2).sum() / (len(flux) - 5)) / sigma < 1.35


def test_times_of_real_samples_are_mid_exposure(real):
    np.testing.assert_allclose(real.airs.time[:2] * 3600, [0.2 + 2.2, 5.0 + 2.2], atol=0.01)
    np.testing.assert_allclose(real.fgs1.time[:2] * 3600, [0.2 + 0.05, 0.6 + 0.05], atol=0.01)


def test_a_listed_frame_step_is_applied_by_both_forms_and_makes_kept_light_curves_stale(small_frames, tmp_path, monkeypatch):
    def halve(frames, detector):
        assert frames.signal.shape[1:] == (detector.instrument.rows, detector.instrument.columns)
        variances = {name: getattr(frames, name) / 4 for name in ("variance_poisson", "variance_read")}
        return replace(frames, signal=frames.signal / 2, **variances)

    archive, settings = Archive(small_frames), CalibrationSettings()
    before = fused.calibrate_visit(archive, "train", "11", 0, settings)
    key = read_inputs(archive, "train", "11", 0, settings).fingerprint
    step = tmp_path / "halving.py"
    step.write_text("# one")
    monkeypatch.setitem(sys.modules, "ariel_lib.calibration.halving", SimpleNamespace(apply=halve, __file__=str(step)))
    monkeypatch.setattr(pipeline, "FRAME_STEPS", ("halving",))
    for calibrate in (pipeline.calibrate_visit, fused.calibrate_visit):
        after = calibrate(archive, "train", "11", 0, settings)
        np.testing.assert_allclose(after.airs.flux, before.airs.flux / 2, rtol=1e-4)
        np.testing.assert_allclose(after.fgs1.flux, before.fgs1.flux / 2, rtol=1e-4)
    listed = read_inputs(archive, "train", "11", 0, settings).fingerprint
    step.write_text("# two")
    assert len({key, listed, read_inputs(archive, "train", "11", 0, settings).fingerprint}) == 3
