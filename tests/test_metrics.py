"""ariel_lib.metrics: properties of the score and of the statistics, on simulated arrays and on the challenge's labels."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from ariel_lib import metrics

LABELS = Path(__file__).parents[1] / "../shared/data/adc2025/train.csv"
NAIVE = {"naive_mean": 0.0147, "naive_sigma": 0.0107}


@pytest.fixture(scope="module")
def labels():
    if not LABELS.exists():
        pytest.skip("needs the labels of the challenge beside this checkout")
    return np.loadtxt(LABELS, delimiter=",", skiprows=1)[:, 1:]


def make_case(seed, planets=6, wavelengths=9, error=2e-4):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.005, 0.03, (planets, 1)) + rng.normal(0, 1e-4, (planets, wavelengths))
    sigma = error * rng.uniform(0.5, 2.0, truth.shape)
    return truth, truth + sigma * rng.standard_normal(truth.shape), sigma


@pytest.mark.parametrize("year", [2024, 2025])
def test_score_of_the_naive_answer_is_zero_on_real_labels(labels, year):
    naive_mean, naive_sigma = metrics.naive_statistics(labels)
    guess = np.full_like(labels, naive_mean), np.full_like(labels, naive_sigma)
    raw = metrics.unclipped_score(labels, *guess, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year)
    assert raw == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("year", [2024, 2025])
def test_score_of_the_truth_with_the_perfect_sigma_is_one_on_real_labels(labels, year):
    naive_mean, naive_sigma = metrics.naive_statistics(labels)
    sigma = np.broadcast_to(metrics.perfect_sigma(labels.shape[1], year), labels.shape)
    raw = metrics.unclipped_score(labels, labels, sigma, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year)
    assert raw == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("error_ppm", "expected"), [(100, 0.593), (20, 0.804)])
def test_score_of_calibrated_errors_on_real_labels(labels, error_ppm, expected):
    naive_mean, naive_sigma = metrics.naive_statistics(labels)
    sigma = np.full_like(labels, error_ppm * 1e-6)
    mean = labels + sigma * np.random.default_rng(0).standard_normal(labels.shape)
    found = metrics.score(labels, mean, sigma, naive_mean=naive_mean, naive_sigma=naive_sigma)
    assert found == pytest.approx(expected, abs=0.01)


@given(seed=st.integers(0, 2**32 - 1), year=st.sampled_from([2024, 2025]))
@settings(max_examples=25, deadline=None)
def test_score_does_not_depend_on_the_order_of_planets(seed, year):
    case = make_case(seed)
    order = np.random.default_rng(seed).permutation(len(case[0]))
    shuffled = [values[order] for values in case]
    assert metrics.score(*shuffled, **NAIVE, year=year) == pytest.approx(
        metrics.score(*case, **NAIVE, year=year), abs=1e-12
    )


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3), year=st.sampled_from([2024, 2025]))
@settings(max_examples=50, deadline=None)
def test_score_is_the_unclipped_score_clipped_to_the_unit_interval(seed, scale, year):
    truth, mean, sigma = make_case(seed)
    raw = metrics.unclipped_score(truth, mean, scale * sigma, **NAIVE, year=year)
    assert metrics.score(truth, mean, scale * sigma, **NAIVE, year=year) == min(max(raw, 0.0), 1.0)


def test_score_counts_fgs1_as_57_846_airs_wavelengths():
    truth, mean, sigma = make_case(1, wavelengths=283)
    gain = metrics.gll_gain(truth, mean, sigma, **NAIVE)
    expected = (57.846 * gain[:, 0].sum() + gain[:, 1:].sum()) / (len(gain) * (57.846 + 282))
    assert metrics.unclipped_score(truth, mean, sigma, **NAIVE) == pytest.approx(expected, rel=1e-12)


def test_score_of_2024_is_one_ratio_of_sums():
    truth, mean, sigma = make_case(2)

    def total(center, width):
        return np.sum(-np.log(width) - 0.5 * ((truth - center) / width) ** 2 + np.zeros_like(truth))

    naive = total(NAIVE["naive_mean"], NAIVE["naive_sigma"])
    expected = (total(mean, sigma) - naive) / (total(truth, 1e-5) - naive)
    assert metrics.unclipped_score(truth, mean, sigma, **NAIVE, year=2024) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("year", [2024, 2025])
def test_score_is_highest_at_the_true_sigma(year):
    truth, _, _ = make_case(3, planets=20000)
    mean = truth + 1e-4 * np.random.default_rng(4).standard_normal(truth.shape)
    scales = [0.5, 0.8, 1.0, 1.25, 2.0]
    raw = [metrics.unclipped_score(truth, mean, np.full_like(truth, 1e-4 * k), **NAIVE, year=year) for k in scales]
    assert np.argmax(raw) == 2
    assert raw[1] < raw[3] and raw[0] < raw[4], "a sigma too small must cost more than one too wide by the same factor"


def test_gll_gain_averages_to_the_unclipped_score_in_both_years():
    case = make_case(5)
    for year in (2024, 2025):
        weights = np.broadcast_to(metrics.column_weights(9, year), case[0].shape)
        averaged = np.average(metrics.gll_gain(*case, **NAIVE, year=year), weights=weights)
        assert averaged == pytest.approx(metrics.unclipped_score(*case, **NAIVE, year=year), rel=1e-12)


def test_gll_gain_of_one_element_ignores_the_other_planets():
    truth, mean, sigma = make_case(6)
    alone = metrics.gll_gain(truth[2:3], mean[2:3], sigma[2:3], **NAIVE)
    assert np.array_equal(metrics.gll_gain(truth, mean, sigma, **NAIVE)[2:3], alone)


def test_negative_log_likelihood_matches_the_normal_density():
    case = make_case(7)
    assert metrics.negative_log_likelihood(*case) == pytest.approx(-norm.logpdf(*case).mean(), rel=1e-12)


def test_negative_log_likelihood_with_a_single_weight_uses_that_column():
    truth, mean, sigma = make_case(8)
    only_fgs1 = np.eye(truth.shape[1])[0]
    expected = -metrics.log_likelihood(truth, mean, sigma)[:, 0].mean()
    assert metrics.negative_log_likelihood(truth, mean, sigma, weights=only_fgs1) == pytest.approx(expected, rel=1e-12)


def test_mae_and_rmse_ppm_of_a_constant_offset_are_the_offset():
    truth, _, _ = make_case(9)
    assert metrics.mae(truth, truth + 3e-4) == pytest.approx(3e-4, rel=1e-9)
    assert metrics.rmse_ppm(truth, truth - 3e-4) == pytest.approx(300, rel=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_coverage_of_calibrated_sigmas_is_nominal_within_binomial_error(level):
    case = make_case(10, planets=200, wavelengths=50)
    error = np.sqrt(level * (1 - level) / case[0].size)
    assert abs(metrics.coverage(*case, level) - level) < 5 * error


def test_coverage_grows_with_level_and_with_sigma():
    truth, mean, sigma = make_case(11, planets=50)
    by_level = [metrics.coverage(truth, mean, sigma, level) for level in np.linspace(0.05, 0.95, 10)]
    by_width = [metrics.coverage(truth, mean, k * sigma, 0.8) for k in (0.3, 1, 3)]
    assert all(low <= high for low, high in [*pairwise(by_level), *pairwise(by_width)])


def test_z_statistics_by_instrument():
    truth, mean, _ = make_case(12, planets=300, wavelengths=40)
    sigma = np.abs(mean - truth) * np.concatenate([[0.5], np.full(39, 2.0)])
    found = metrics.z_statistics(truth, mean, sigma)
    assert found["z_rms_fgs1"] == pytest.approx(2.0) and found["z_rms_airs"] == pytest.approx(0.5)
    assert 0.5 < found["z_rms"] < 2.0


def test_summary_has_floats_under_the_documented_keys():
    found = json.loads(json.dumps(metrics.summary(*make_case(13), **NAIVE)))
    assert set(found) == {
        "score", "nll", "mae", "rmse_ppm", "coverage_80", "coverage_90",
        "z_rms", "z_rms_fgs1", "z_rms_airs", "n_planets",
    }  # fmt: skip
    assert all(type(value) is float for value in found.values()) and found["n_planets"] == 6


@pytest.mark.parametrize(
    ("which", "value", "message"),
    [
        (1, -1e-6, "negative"),
        (1, np.nan, "mean: expected finite"),
        (2, np.inf, "sigma: expected finite"),
        (2, 0.0, "sigma: expected positive"),
        (2, -1e-4, "sigma: expected positive"),
        (0, np.nan, "truth: expected finite"),
    ],
)
def test_score_raises_for_invalid_values(which, value, message):
    case = [values.copy() for values in make_case(14)]
    case[which][1, 2] = value
    with pytest.raises(ValueError, match=message):
        metrics.score(*case, **NAIVE)


def test_score_raises_for_invalid_shapes_years_and_naive_sigmas():
    truth, mean, sigma = make_case(15)
    with pytest.raises(ValueError, match="equal shapes"):
        metrics.score(truth, mean[:, :-1], sigma, **NAIVE)
    with pytest.raises(ValueError, match="equal shapes"):
        metrics.score(truth, mean, sigma[:-1], **NAIVE)
    with pytest.raises(ValueError, match="planet, wavelength"):
        metrics.score(truth[0], mean[0], sigma[0], **NAIVE)
    with pytest.raises(ValueError, match="2023"):
        metrics.score(truth, mean, sigma, **NAIVE, year=2023)
    with pytest.raises(ValueError, match="naive"):
        metrics.score(truth, mean, sigma, naive_mean=0.0147, naive_sigma=1e-6)
