"""ariel_lib.calibration.scatter: the standard deviation of a Gaussian, whatever a few outliers are worth."""

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from ariel_lib.calibration.scatter import robust_scatter


def test_it_is_the_gaussians_sigma_with_outliers_and_holes():
    values = 3.0 + 2.0 * np.random.default_rng(0).standard_normal((100_000, 2))
    values[:1000] = 1e6
    values[1000:2000, 1] = np.nan
    assert robust_scatter(values, 3.0) == pytest.approx([2.0, 2.0], rel=0.03)
    assert robust_scatter(values[1000:, 0], 0.0) > 3.0  # about zero, the mean counts as scatter


def test_it_is_scipys_about_the_median():
    values = np.random.default_rng(1).standard_normal((501, 3)) ** 3
    expected = median_abs_deviation(values, scale="normal")
    np.testing.assert_allclose(robust_scatter(values, np.median(values, axis=0)), expected, rtol=2e-6)
