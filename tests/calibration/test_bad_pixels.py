"""Bad pixels: unusable maps, instability in time and frequent saturation are detected, jitter and outliers are not."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.calibration.bad_pixels import add_samples, neutralise, unstable_pixels, unusable_pixels
from ariel_lib.calibration.frames import Frames
from ariel_lib.calibration.pipeline import reduce_reads


def test_pixels_marked_dead_with_a_low_flat_or_non_finite_maps_are_unusable(make_visit, spectrometer, rng):
    maps = make_visit(spectrometer, 1, rng).detector.maps
    dead, flat, dark = maps.dead.copy(), maps.flat.copy(), maps.dark.copy()
    dead[1, 2], flat[3, 4], flat[5, 6], dark[7, 8] = True, -0.02, 0.05, np.nan
    maps = replace(maps, dead=dead, flat=flat, dark=dark)
    bad = unusable_pixels(maps)
    assert [tuple(pixel) for pixel in np.argwhere(bad)] == [(1, 2), (3, 4), (5, 6), (7, 8)]
    neutral = neutralise(maps, bad)
    assert all(np.isfinite(array).all() for array in (neutral.dark, neutral.flat, neutral.linearity))
    np.testing.assert_array_equal(neutral.linearity[:, 7, 8], [0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(neutral.linearity[:, ~bad], maps.linearity[:, ~bad])


def test_sums_do_not_depend_on_the_blocks(make_visit, spectrometer, rng):
    visit = make_visit(spectrometer, 9, rng)
    frames = reduce_reads(visit.counts, visit.detector, 0)
    whole = add_samples(None, frames)
    pieces = None
    for part in (slice(0, 1), slice(1, 5), slice(5, 9)):
        pieces = add_samples(pieces, frames.samples(part))
    for name in ("mean", "variance", "scatter", "masked"):
        np.testing.assert_allclose(getattr(pieces.statistics(), name), getattr(whole.statistics(), name), rtol=1e-12)
    np.testing.assert_allclose(whole.statistics().mean, frames.signal.mean(0))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_masked_samples_do_not_bias_the_scatter_or_the_mean(rng, share):
    signal, mask = 5 + rng.standard_normal((20_000, 2, 3)), rng.random((20_000, 2, 3)) < share
    frames = Frames(np.where(mask, 1e6, signal), np.full(signal.shape, 0.9), np.full(signal.shape, 0.1), mask)
    sums = None
    for part in (slice(0, 7000), slice(7000, None)):
        sums = add_samples(sums, frames.samples(part))
    found, n = sums.statistics(), 20_000 * (1 - share) ** 2  # pairs, of which the scatter of n has relative variance 3 / n
    np.testing.assert_allclose(found.scatter, 1, atol=5 * np.sqrt(3 / n))
    np.testing.assert_allclose(found.mean, 5, atol=5 * np.sqrt(1 / n))


@pytest.mark.parametrize("jitter", [0.0, 0.04])
def test_only_the_unstable_pixel_is_detected_with_and_without_jitter(make_visit, instrument, rng, jitter):
    visit = make_visit(instrument, 200, rng, jitter=jitter)
    frames = reduce_reads(visit.counts, visit.detector, 0)
    signal = frames.signal.copy()
    signal[:, 6, 5] += 20_000 * rng.integers(0, 2, 200)  # telegraph noise
    frames = replace(frames, signal=signal)
    found = unstable_pixels(add_samples(None, frames).statistics(), np.zeros(signal.shape[1:], bool))
    assert np.argwhere(found).tolist() == [[6, 5]]


def test_a_frequently_saturated_pixel_is_bad_and_a_rarely_saturated_one_is_not(make_visit, spectrometer, rng):
    visit = make_visit(spectrometer, 300, rng)
    frames = reduce_reads(visit.counts, visit.detector, 0)
    mask = frames.mask.copy()
    mask[:, 7, 7], mask[3, 8, 8] = True, True
    found = unstable_pixels(add_samples(None, replace(frames, mask=mask)).statistics(), np.zeros(mask.shape[1:], bool))
    assert np.argwhere(found).tolist() == [[7, 7]]


def test_a_single_sample_makes_no_pixel_unstable():
    ones = np.ones((1, 4, 5))
    sums = add_samples(None, Frames(ones, ones, ones, np.zeros(ones.shape, bool)))
    assert not unstable_pixels(sums.statistics(), np.zeros((4, 5), bool)).any()
