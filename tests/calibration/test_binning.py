"""Binning in time: means, variances, masks and incomplete bins."""

import numpy as np
import pytest

from ariel_lib.calibration.binning import bin_light_curve
from ariel_lib.io.light_curves import LightCurve


def curve_of(flux: np.ndarray, mask: np.ndarray | None = None) -> LightCurve:
    n = len(flux)
    mask = np.zeros(flux.shape, bool) if mask is None else mask
    return LightCurve(
        np.arange(n) * 1.0,
        flux,
        np.full(flux.shape, 6.0),
        np.full(flux.shape, 3.0),
        np.ones((n, 2)),
        np.arange(n) * 2.0,
        mask,
    )


@pytest.mark.parametrize("shape", [(12,), (12, 4)])
def test_means_and_variances_of_full_bins(shape, rng):
    flux = rng.normal(size=shape)
    binned = bin_light_curve(curve_of(flux), 3)
    np.testing.assert_allclose(binned.flux, flux.reshape(4, 3, *shape[1:]).mean(1))
    np.testing.assert_allclose(binned.variance_poisson, 2.0)
    np.testing.assert_allclose(binned.variance_read, 1.0)
    np.testing.assert_allclose(binned.time, [1, 4, 7, 10])
    assert binned.mask.shape == binned.flux.shape and not binned.mask.any()


def test_the_scatter_of_bins_equals_the_propagated_variance(rng):
    flux = rng.normal(0, 3.0, 40_000)
    mask = rng.random(40_000) < 0.3
    binned = bin_light_curve(curve_of(np.where(mask, 1e6, flux), mask), 4)
    good = ~binned.mask
    z = binned.flux[good] / np.sqrt(binned.variance[good])
    assert z.var() == pytest.approx(1, abs=5 * np.sqrt(2 / good.sum()))


def test_masked_samples_are_excluded_and_empty_bins_are_masked():
    mask = np.array([False, True, False, True, True, True])
    binned = bin_light_curve(curve_of(np.array([1.0, 99.0, 3.0, 5.0, 6.0, 7.0]), mask), 3)
    assert binned.mask.tolist() == [False, True]
    np.testing.assert_allclose(binned.flux, [2.0, 6.0])
    np.testing.assert_allclose(binned.variance_poisson, [6 / 2, 6 / 3])


def test_an_incomplete_last_bin_is_dropped():
    assert bin_light_curve(curve_of(np.arange(11.0)), 4).flux.tolist() == [1.5, 5.5]


def test_width_one_returns_the_curve_and_too_large_a_width_raises_an_error():
    curve = curve_of(np.arange(5.0))
    assert bin_light_curve(curve, 1) is curve
    with pytest.raises(ValueError, match="bin width: expected at most the 5 samples"):
        bin_light_curve(curve, 6)
