"""Optimal extraction: flux scale, weights, centroid, bad pixels and masks."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.calibration.extraction import aperture, extract, fill_bad, plan_extraction
from ariel_lib.calibration.frames import Frames
from ariel_lib.instrument import Instrument


def star(instrument: Instrument, row_shift: float = 0.0, column_shift: float = 0.0) -> np.ndarray:
    rows = np.exp(-0.5 * ((np.arange(instrument.rows) - instrument.rows / 2 + 0.4 - row_shift) / 1.3) ** 2)
    columns = np.arange(instrument.columns) - instrument.columns / 2 + 0.4 - column_shift
    if instrument.crop is None:
        return 20_000 * np.outer(rows, np.exp(-0.5 * (columns / 1.3) ** 2))
    return 20_000 * np.outer(rows, 1.5 + np.sin(columns / 3))


def frames_of(signal: np.ndarray, mask: np.ndarray | None = None) -> Frames:
    mask = np.zeros(signal.shape, bool) if mask is None else mask
    return Frames(signal, np.maximum(signal, 0), np.full(signal.shape, 361.0), mask)


def plan_for(instrument: Instrument, bad: np.ndarray | None = None, read: float = 361.0):
    image = star(instrument)
    bad = np.zeros(image.shape, bool) if bad is None else bad
    return plan_extraction(image, image + read, bad, instrument), image


def test_the_flux_of_the_mean_sample_is_its_sum(instrument):
    plan, image = plan_for(instrument)
    curve = extract(frames_of(image[None]), plan, np.zeros(1))
    inside = np.where(aperture(instrument), image, 0)
    first, last = instrument.crop or (0, 0)
    expected = inside.sum() if instrument.crop is None else inside.sum(0)[first:last][::-1]
    np.testing.assert_allclose(curve.flux[0], expected, rtol=1e-9)
    np.testing.assert_allclose(curve.centroid, 0, atol=1e-9)


def test_weights_tend_to_a_plain_sum_where_poisson_noise_dominates(instrument):
    plan, _ = plan_for(instrument, read=1e-9)
    np.testing.assert_allclose(plan.weights[aperture(instrument)], 1, atol=0.05)


def test_weights_reduce_the_variance_of_a_plain_sum_where_read_noise_dominates(instrument):
    plan, _ = plan_for(instrument, read=1e7)
    assert (plan.weights**2).sum() < 0.6 * aperture(instrument).sum()


@pytest.mark.parametrize("shift", [(0.05, 0.0), (0.0, 0.05), (-0.1, 0.03)])
def test_the_centroid_is_in_pixels_and_shifts_hardly_change_the_flux(instrument, shift):
    plan, image = plan_for(instrument)
    curve = extract(frames_of(0.98 * star(instrument, *shift)[None] + 4.0), plan, np.zeros(1))
    np.testing.assert_allclose(curve.centroid[0], shift, atol=0.006)
    if instrument.crop is None:
        background = 4.0 * plan.weights.sum()
        np.testing.assert_allclose(curve.flux - background, 0.98 * image.sum(), rtol=0.003)


def test_a_dead_core_pixel_changes_neither_the_flux_scale_nor_the_jitter_noise(spectrometer, rng):
    bad = np.zeros((spectrometer.rows, spectrometer.columns), bool)
    bad[8, 12] = True
    plan, image = plan_for(spectrometer, bad)
    dirty = image.copy()
    dirty[8, 12] = -1e7
    flux = extract(frames_of(dirty[None]), plan, np.zeros(1)).flux[0]
    whole = extract(frames_of(image[None]), plan_for(spectrometer)[0], np.zeros(1)).flux[0]
    np.testing.assert_allclose(flux, whole, rtol=0.005)
    moved = np.stack([star(spectrometer, shift) for shift in rng.normal(0, 0.02, 200)])
    curve = extract(frames_of(moved), plan, np.zeros(200))
    assert np.all(curve.flux.std(0) < 0.1 * np.sqrt(curve.variance.mean(0)))


def test_fill_bad_restores_bad_pixels_of_a_smooth_trace(spectrometer):
    image = star(spectrometer)
    bad = np.zeros(image.shape, bool)
    bad[7, 10] = bad[9, 10] = bad[8, 11] = True
    filled = fill_bad(np.where(bad, np.nan, image), bad, spectrometer)
    np.testing.assert_allclose(filled[bad], image[bad], rtol=1e-9)


def test_an_all_dead_column_is_masked_and_finite(spectrometer):
    bad = np.zeros((spectrometer.rows, spectrometer.columns), bool)
    bad[:, 7] = True
    plan, image = plan_for(spectrometer, bad)
    curve = extract(frames_of(np.stack([image, image])), plan, np.zeros(2))
    column = spectrometer.crop[1] - 1 - 7
    assert curve.mask[:, column].all() and not np.delete(curve.mask, column, 1).any()
    assert np.isfinite(curve.flux).all() and np.isfinite(curve.variance).all()


def test_a_masked_pixel_masks_its_sample_in_its_column_only(spectrometer):
    plan, image = plan_for(spectrometer)
    mask = np.zeros((3, *image.shape), bool)
    mask[1, 8, 5] = True
    mask[2, 0, 5] = True  # outside the trace
    curve = extract(frames_of(np.stack([image] * 3), mask), plan, np.zeros(3))
    assert np.argwhere(curve.mask).tolist() == [[1, spectrometer.crop[1] - 1 - 5]]


def test_a_sample_without_light_is_masked(instrument):
    plan, image = plan_for(instrument)
    curve = extract(frames_of(np.stack([image, np.zeros_like(image)])), plan, np.zeros(2))
    assert not curve.mask[0].any() and curve.mask[1].all()
    assert np.isfinite(curve.centroid).all()


def test_a_mean_image_without_starlight_raises_an_error(instrument):
    dark = np.zeros((instrument.rows, instrument.columns))
    with pytest.raises(ValueError, match=f"{instrument.name}: expected starlight"):
        plan_extraction(dark, dark + 361.0, dark > 0, instrument)


def test_inputs_stay_unchanged(instrument):
    plan, image = plan_for(instrument)
    frames = frames_of(image[None].copy())
    before = replace(frames, signal=frames.signal.copy())
    extract(frames, plan, np.zeros(1))
    np.testing.assert_array_equal(frames.signal, before.signal)
