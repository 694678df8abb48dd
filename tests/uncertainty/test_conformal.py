"""Conformal intervals: nominal coverage of new planets, joint and marginal; infinite widths for few planets; other libraries agree."""

import json

import numpy as np
import pytest

from ariel_lib.uncertainty import conformal
from ariel_lib.uncertainty.conformal import (
    Intervals,
    TooFewPlanets,
    brightness_classes,
    conformal_quantile,
    conformalise,
    coverage_table,
    gaussian_intervals,
    largest_score,
    ledoit_wolf,
    mahalanobis,
    planets_needed,
    sigma_of,
    split_conformal,
)

BINS = 12


def make_planets(rng, planets, heavy=True):
    """Correlated errors with heavy tails and sigmas wrong by a factor that follows the bin."""
    mean = rng.uniform(0.005, 0.03, (planets, BINS))
    sigma = 1e-4 * rng.uniform(0.5, 2, mean.shape)
    common = rng.standard_normal((planets, 1))
    own = rng.standard_t(3, mean.shape) if heavy else rng.standard_normal(mean.shape)
    truth = mean + sigma * np.linspace(0.6, 2.0, BINS) * (0.7 * common + 0.7 * own)
    return mean, sigma, truth


def mean_coverage(method, level, calibration=60, repeats=150):
    """Average marginal and joint coverage of fresh planets over repeated calibrations, with the joint's standard error."""
    rng, marginal, joint = np.random.default_rng(0), [], []
    for _ in range(repeats):
        fitted = method(*make_planets(rng, calibration), level)
        mean, sigma, truth = make_planets(rng, 100)
        marginal.append(fitted.intervals(mean, sigma).hits(truth).mean())
        inside = fitted.contains(mean, sigma, truth) if hasattr(fitted, "contains") else None
        joint.append((fitted.intervals(mean, sigma).hits(truth).all(axis=1) if inside is None else inside).mean())
    return np.mean(marginal), np.mean(joint), np.std(joint) / np.sqrt(repeats)


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_each_bin_is_covered_as_promised(level):
    marginal, joint, _ = mean_coverage(split_conformal, level)
    exact = np.ceil(61 * level) / 61
    assert marginal == pytest.approx(exact, abs=0.01)
    assert joint < level  # bins by themselves promise nothing about the whole


@pytest.mark.parametrize("level", [0.8, 0.9])
@pytest.mark.parametrize("method", [largest_score, mahalanobis])
def test_whole_spectra_are_covered_as_promised(method, level):
    _, joint, error = mean_coverage(method, level)
    assert joint > level - 2 * error
    assert joint < level + 0.05 + 2 * error


def test_the_quantile_has_the_finite_sample_rank():
    scores = np.arange(1, 20.0)
    assert conformal_quantile(scores, 0.9) == 18
    assert conformal_quantile(scores, 0.95) == 19
    assert conformal_quantile(scores[:9], 0.9) == 9
    assert conformal_quantile(scores[::-1], 0.8) == 16


def test_too_few_planets_give_infinite_widths_and_one_warning():
    mean, sigma, truth = make_planets(np.random.default_rng(1), 8)
    with pytest.warns(TooFewPlanets, match="90% needs at least 9 calibration planets, found 8") as seen:
        widths = split_conformal(mean, sigma, truth, 0.9)
    assert len(seen) == 1
    intervals = widths.intervals(mean, sigma)
    assert np.isinf(intervals.upper).all() and intervals.hits(truth).all()
    assert np.array_equal(sigma_of(intervals, sigma), sigma)
    table = coverage_table(intervals, truth)
    assert table["infinite"] == 1 and table["median_width_ppm"] is None
    json.dumps(table, allow_nan=False)
    assert len(conformal_quantile(np.zeros((planets_needed(0.9), 1)), 0.9)) == 1 and planets_needed(0.9) == 9


def test_classes_are_covered_each_by_itself():
    rng = np.random.default_rng(2)
    covered = {True: [], False: []}
    for _ in range(60):
        (mean, sigma, truth), (new_mean, new_sigma, new_truth) = make_planets(rng, 200), make_planets(rng, 200)
        groups = brightness_classes(sigma[:, 0], [1e-4])
        new_groups = brightness_classes(new_sigma[:, 0], [1e-4])
        truth = mean + (truth - mean) * np.where(groups, 2.0, 1.0)[:, None]
        new_truth = new_mean + (new_truth - new_mean) * np.where(new_groups, 2.0, 1.0)[:, None]
        for mondrian in (True, False):
            widths = split_conformal(mean, sigma, truth, 0.8, groups if mondrian else None)
            hits = widths.intervals(new_mean, new_sigma, new_groups if mondrian else None).hits(new_truth)
            covered[mondrian].append([hits[new_groups == g].mean() for g in (0, 1)])
    assert np.mean(covered[True], axis=0) == pytest.approx([0.8, 0.8], abs=0.015)
    assert np.mean(covered[False], axis=0)[1] < 0.75  # on average right, in the noisy class wrong


def test_conformalised_intervals_keep_both_promises():
    rng, marginal, joint = np.random.default_rng(3), [], []
    for _ in range(100):
        (mean, sigma, truth), (new_mean, new_sigma, new_truth) = make_planets(rng, 79), make_planets(rng, 100)
        seen, new = gaussian_intervals(mean, sigma, 0.5), gaussian_intervals(new_mean, new_sigma, 0.5)
        marginal.append(conformalise(new, seen, truth, 0.9).hits(new_truth).mean())
        joint.append(conformalise(new, seen, truth, 0.9, conformal.JOINT).hits(new_truth).all(axis=1).mean())
    assert np.mean(marginal) == pytest.approx(0.9, abs=0.01)
    assert np.mean(joint) == pytest.approx(0.9, abs=0.02)


def test_a_symmetric_interval_conformalised_is_split_conformal():
    mean, sigma, truth = make_planets(np.random.default_rng(4), 50)
    seen = gaussian_intervals(mean, sigma, 0.8)
    one = conformalise(seen, seen, truth, 0.9)
    two = split_conformal(mean, sigma, truth, 0.9).intervals(mean, sigma)
    assert one.upper == pytest.approx(two.upper, rel=1e-9)


def test_ledoit_wolf_equals_scikit_learn():
    oracle = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(5)
    for n, p in ((200, 4), (30, 50)):
        rows = rng.standard_normal((n, p)) @ rng.standard_normal((p, p))
        expected, _ = oracle.ledoit_wolf(rows, assume_centered=True)
        assert ledoit_wolf(rows) == pytest.approx(expected, rel=1e-9)


def test_split_conformal_equals_crepes():
    crepes = pytest.importorskip("crepes")
    mean, sigma, truth = make_planets(np.random.default_rng(6), 70)
    for level in (0.8, 0.9):
        ours = split_conformal(mean, sigma, truth, level).intervals(mean, sigma)
        for bin_ in (0, 5):
            oracle = crepes.ConformalRegressor().fit((truth - mean)[:, bin_], sigmas=sigma[:, bin_])
            theirs = oracle.predict_int(mean[:, bin_], sigmas=sigma[:, bin_], confidence=level)
            assert np.stack([ours.lower[:, bin_], ours.upper[:, bin_]], 1) == pytest.approx(theirs, rel=1e-9)


def test_split_conformal_equals_mapie():
    regression = pytest.importorskip("mapie.regression")
    base = pytest.importorskip("sklearn.base")

    class Given(base.RegressorMixin, base.BaseEstimator):
        """The mean is the only feature; sigma is one for all."""

        def fit(self, x, y):
            self.n_features_in_ = 1
            return self

        def predict(self, x):
            return np.asarray(x)[:, 0]

        def __sklearn_is_fitted__(self):
            return True

    mean, _, truth = make_planets(np.random.default_rng(7), 80)
    sigma = np.full_like(mean, 1e-4)
    ours = split_conformal(mean, sigma, truth, 0.9).intervals(mean, sigma)
    oracle = regression.SplitConformalRegressor(Given(), confidence_level=0.9, prefit=True)
    oracle.conformalize(mean[:, 3:4], truth[:, 3])
    _, theirs = oracle.predict_interval(mean[:, 3:4])
    assert np.stack([ours.lower[:, 3], ours.upper[:, 3]], 1) == pytest.approx(theirs[:, :, 0], rel=1e-9)


def test_sigma_of_inverts_gaussian_intervals():
    mean, sigma, _ = make_planets(np.random.default_rng(8), 5)
    assert sigma_of(gaussian_intervals(mean, sigma, 0.83), sigma) == pytest.approx(sigma)


def test_the_coverage_table_has_promise_level_and_groups():
    truth = np.zeros((4, 3))
    upper = np.array([[1, 1, 1], [1, 1, -0.5], [1, 1, 1], [-0.5, 1, 1.0]])
    table = coverage_table(Intervals(-np.ones((4, 3)), upper, 0.8, "joint"), truth, np.array([0, 0, 1, 1]))
    assert (table["marginal"], table["joint"], table["lowest_bin"]) == (pytest.approx(10 / 12), 0.5, 0.75)
    assert table["groups"]["1"]["joint"] == 0.5 and table["promise"] == "joint"


def test_invalid_shapes_and_levels_raise_errors():
    mean, sigma, truth = make_planets(np.random.default_rng(9), 5)
    with pytest.raises(ValueError, match="one shape"):
        split_conformal(mean[:, :3], sigma, truth, 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        largest_score(mean, sigma, truth, 80)
