"""Outlier clipping in time: outliers and non-finite samples are masked, transits and jitter are not."""

import numpy as np
import pytest

from ariel_lib.calibration.clipping import _median, clip_outliers
from ariel_lib.io.light_curves import LightCurve


def curve_of(flux: np.ndarray, variance: float) -> LightCurve:
    n = len(flux)
    full = np.full(flux.shape, variance)
    return LightCurve(
        np.arange(n) / 3600, flux, full, 0 * full, np.zeros((n, 2)), np.zeros(n), np.zeros(flux.shape, bool)
    )


def test_a_steep_ingress_is_not_clipped():
    steps = np.interp(np.arange(100), [0, 40, 42, 60, 63, 99], [1e5, 1e5, 9e4, 9e4, 1e5, 1e5])
    assert not clip_outliers(curve_of(steps[:, None], 1.0), 8).mask.any()


def test_outliers_are_masked_and_gaussian_noise_is_not(rng):
    flux = 1e5 + rng.normal(0, 300, (400, 20))
    flux[17, 3] += 12 * 300
    flux[250, 8] -= 12 * 300
    clipped = clip_outliers(curve_of(flux, 300.0**2), 8)
    assert np.argwhere(clipped.mask).tolist() == [[17, 3], [250, 8]]
    np.testing.assert_array_equal(clipped.flux, flux)


@pytest.mark.parametrize("shape", [(400,), (400, 1), (400, 3)])
def test_an_outlier_of_a_photometer_goes_where_it_is(rng, shape):
    flux = 1e5 + rng.normal(0, 300, shape)
    flux[17] += 12 * 300
    mask = clip_outliers(curve_of(flux, 300.0**2), 8).mask
    assert mask.shape == shape and np.unique(np.argwhere(mask)[:, 0]).tolist() == [17]


@pytest.mark.parametrize("excess", [1, 4])
def test_noise_above_the_photon_noise_is_not_clipped(rng, excess):
    flux = 1e5 + rng.normal(0, 100 * excess, 5000)
    assert not clip_outliers(curve_of(flux, 100.0**2), 8).mask.any()


def test_an_existing_mask_is_kept():
    curve = curve_of(np.full((30, 2), 5.0), 1.0)
    curve.mask[4, 1] = True
    assert np.argwhere(clip_outliers(curve, 8).mask).tolist() == [[4, 1]]


def test_non_finite_samples_are_masked_and_no_others(rng):
    flux = 1e5 + rng.normal(0, 300, (200, 4))
    flux[20, 0], flux[30:34, 1], flux[:, 2] = np.nan, np.inf, np.nan
    clipped = clip_outliers(curve_of(flux, 300.0**2), 8)
    np.testing.assert_array_equal(clipped.mask, ~np.isfinite(flux))


@pytest.mark.parametrize("series", [1, 5])
@pytest.mark.parametrize("samples", [1, 2, 7, 100])
def test_the_scale_is_the_median_and_leaves_the_values_in_their_order(rng, samples, series):
    values = rng.normal(size=(samples, series)).astype(np.float32)
    before = values.copy()
    np.testing.assert_array_equal(_median(values), np.median(values, axis=0))
    np.testing.assert_array_equal(values, before)
