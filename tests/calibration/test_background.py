"""Background: a smooth level is recovered, its covariance matches the scatter, masked samples are skipped."""

import numpy as np
import pytest

from ariel_lib.calibration.background import Background, measure_background, plan_background, smooth_background
from ariel_lib.calibration.frames import Frames
from ariel_lib.instrument import AIRS, FGS1


def noise_frames(rng, instrument, n, level, variance) -> Frames:
    shape = (n, instrument.rows, instrument.columns)
    signal = level + rng.normal(0, np.sqrt(variance), shape)
    return Frames(signal, np.zeros(shape), np.full(shape, variance), np.zeros(shape, bool))


def test_a_level_smooth_in_column_is_recovered_exactly(spectrometer, rng):
    columns = np.linspace(-1, 1, spectrometer.columns)
    level = 5 + 3 * columns + 2 * columns**2
    bad = rng.random((spectrometer.rows, spectrometer.columns)) < 0.1
    frames = noise_frames(rng, spectrometer, 2, np.where(bad, 1e6, level), 0.0)
    plan = plan_background(np.full(bad.shape, 400.0), bad, spectrometer)
    found = measure_background(frames, plan).coefficients @ plan.basis
    first, last = spectrometer.crop
    np.testing.assert_allclose(found[:, first:last], np.tile(level[first:last], (2, 1)), rtol=1e-9)
    assert not plan.weights[:, slice(*spectrometer.trace_rows)].any()


def test_the_covariance_matches_the_scatter_of_the_coefficients(instrument, rng):
    n, variance = 2000, 400.0
    frames = noise_frames(rng, instrument, n, 10.0, variance)
    no_bad = np.zeros(frames.signal.shape[1:], bool)
    plan = plan_background(np.full(no_bad.shape, variance), no_bad, instrument)
    found = measure_background(frames, plan)
    scatter = np.cov(found.coefficients.T).reshape(plan.covariance.shape)
    scale = np.sqrt(np.outer(np.diag(plan.covariance), np.diag(plan.covariance)))
    np.testing.assert_allclose(scatter / scale, plan.covariance / scale, atol=5 * np.sqrt(2 / n))
    smoothed = smooth_background(found)
    middle = smoothed.coefficients[50:-50]
    # Running means over 11 samples are correlated: n / 11 independent ones.
    ratio = middle.var(0) / np.diagonal(smoothed.covariance[50:-50], axis1=1, axis2=2).mean(0)
    np.testing.assert_allclose(ratio, 1, atol=5 * np.sqrt(2 / (n / 11)))


@pytest.mark.parametrize(
    ("real", "averaged", "share"),
    # A full visit, and the shortest simulated, with smoothing windows of 5 (AIRS) and 13 (FGS1) samples. For FGS1 the background
    # adds 10 % of the read variance there, and 0.4 % in a full visit, because only the extracted columns are read.
    [(AIRS, 28, 0.02), (FGS1, 337, 0.005), (AIRS, 5, 0.06), (FGS1, 13, 0.11)],
)
def test_the_noise_of_the_level_is_a_small_fraction_of_the_read_variance(real, averaged, share):
    no_bad = np.zeros((real.rows, real.columns), bool)
    variance = 2 * 13.0**2
    plan = plan_background(np.full(no_bad.shape, variance), no_bad, real)
    rows = 16 if real.crop else 16 * 16
    level = np.einsum("kc,kl,lc->c", plan.basis, plan.covariance, plan.basis).max() / averaged
    assert rows**2 * level < share * rows * variance


def test_smoothing_skips_masked_samples():
    coefficients = np.ones((60, 1))
    coefficients[10] = 1e9
    mask = np.zeros(60, bool)
    mask[10] = True
    mask[40:50] = True
    smoothed = smooth_background(Background(coefficients, np.full((60, 1, 1), 4.0), mask))
    np.testing.assert_allclose(smoothed.coefficients[~smoothed.mask], 1.0)
    assert np.flatnonzero(smoothed.mask).tolist() == [42, 43, 44, 45, 46, 47]
    np.testing.assert_allclose(smoothed.covariance[[0, 10, 20], 0, 0], [4 / 3, 4 / 4, 4 / 5])


def test_a_background_without_good_pixels_raises_an_error(spectrometer):
    with pytest.raises(ValueError, match="small spectrometer: expected good pixels in rows"):
        plan_background(np.ones((16, 24)), np.ones((16, 24), bool), spectrometer)
