"""Conformal intervals: nominal coverage of new planets, joint and marginal; infinite widths for few planets; other libraries agree."""

import json

import numpy as np
import pytest

from ariel_lib.errors import SpectraMindError
from ariel_lib.uncertainty.conformal import (
    JOINT,
    MARGINAL,
    Intervals,
    TooFewPlanets,
    brightness_classes,
    conformal_quantile,
    coverage_table,
    normal_half_width,
    planets_needed,
    sigma_of,
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


def split_conformal(seen, new, level, promise=MARGINAL):
    """Intervals of new planets from the quantile of |z| of others, bin by bin or of each planet's largest; both (mean, sigma, truth)."""
    z = np.abs((seen[2] - seen[0]) / seen[1])
    mean, sigma, _ = new
    half = sigma * conformal_quantile(z if promise == MARGINAL else z.max(axis=1), level)
    return Intervals(mean - half, mean + half, level, promise)


def mean_coverage(level, promise, calibration=60, repeats=150):
    """Average marginal and joint coverage of fresh planets over repeated calibrations, with the joint's standard error."""
    rng, marginal, joint = np.random.default_rng(0), [], []
    for _ in range(repeats):
        seen, new = make_planets(rng, calibration), make_planets(rng, 100)
        hits = split_conformal(seen, new, level, promise).hits(new[2])
        marginal.append(hits.mean())
        joint.append(hits.all(axis=1).mean())
    return np.mean(marginal), np.mean(joint), np.std(joint) / np.sqrt(repeats)


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_each_bin_is_covered_as_promised(level):
    marginal, joint, _ = mean_coverage(level, MARGINAL)
    exact = np.ceil(61 * level) / 61
    assert marginal == pytest.approx(exact, abs=0.01)
    assert joint < level  # bins by themselves promise nothing about the whole


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_whole_spectra_are_covered_as_promised(level):
    _, joint, error = mean_coverage(level, JOINT)
    assert joint > level - 2 * error
    assert joint < level + 0.05 + 2 * error


def test_the_quantile_has_the_finite_sample_rank():
    scores = np.arange(1, 20.0)
    assert conformal_quantile(scores, 0.9) == 18
    assert conformal_quantile(scores, 0.95) == 19
    assert conformal_quantile(scores[:9], 0.9) == 9
    assert conformal_quantile(scores[::-1], 0.8) == 16


@pytest.mark.parametrize("shape", [(19,), (19, 3)])
def test_a_score_of_nan_is_refused_and_an_infinite_one_ranks_last(shape):
    scores = np.random.default_rng(3).normal(size=shape)
    scores[7] = np.inf
    assert np.array_equal(conformal_quantile(scores, 0.9), np.sort(scores, axis=0)[17]) and np.isinf(conformal_quantile(scores, 0.95)).all()
    scores.flat[-1] = np.nan
    with pytest.raises(SpectraMindError, match="NaN for 1 of 19 planets, the first in row 18"):
        conformal_quantile(scores, 0.5)


def test_too_few_planets_give_infinite_widths_and_one_warning():
    planets = make_planets(np.random.default_rng(1), 8)
    _, sigma, truth = planets
    with pytest.warns(TooFewPlanets, match="90% needs at least 9 calibration planets, found 8") as seen:
        intervals = split_conformal(planets, planets, 0.9)
    assert len(seen) == 1
    assert np.isinf(intervals.upper).all() and intervals.hits(truth).all()
    assert np.array_equal(sigma_of(intervals, sigma), sigma)
    table = coverage_table(intervals, truth)
    assert table["infinite"] == 1 and table["median_width_ppm"] is None
    json.dumps(table, allow_nan=False)
    assert len(conformal_quantile(np.zeros((planets_needed(0.9), 1)), 0.9)) == 1 and planets_needed(0.9) == 9


def test_planets_are_classed_by_ascending_edges():
    assert brightness_classes(np.array([0.5, 1.0, 1.5, 2.0, 9.0]), [1.0, 2.0]).tolist() == [0, 1, 1, 2, 2]


def test_the_quantile_gives_the_intervals_of_crepes():
    crepes = pytest.importorskip("crepes")
    planets = make_planets(np.random.default_rng(6), 70)
    mean, sigma, truth = planets
    for level in (0.8, 0.9):
        ours = split_conformal(planets, planets, level)
        for bin_ in (0, 5):
            oracle = crepes.ConformalRegressor().fit((truth - mean)[:, bin_], sigmas=sigma[:, bin_])
            theirs = oracle.predict_int(mean[:, bin_], sigmas=sigma[:, bin_], confidence=level)
            assert np.stack([ours.lower[:, bin_], ours.upper[:, bin_]], 1) == pytest.approx(theirs, rel=1e-9)


def test_the_quantile_gives_the_intervals_of_mapie():
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
    ours = split_conformal((mean, sigma, truth), (mean, sigma, truth), 0.9)
    oracle = regression.SplitConformalRegressor(Given(), confidence_level=0.9, prefit=True)
    oracle.conformalize(mean[:, 3:4], truth[:, 3])
    _, theirs = oracle.predict_interval(mean[:, 3:4])
    assert np.stack([ours.lower[:, 3], ours.upper[:, 3]], 1) == pytest.approx(theirs[:, :, 0], rel=1e-9)


def test_sigma_of_inverts_the_central_intervals_of_a_gaussian():
    mean, sigma, _ = make_planets(np.random.default_rng(8), 5)
    half = normal_half_width(0.83) * sigma
    assert sigma_of(Intervals(mean - half, mean + half, 0.83, MARGINAL), sigma) == pytest.approx(sigma)
    assert normal_half_width(0.6826894921370859) == pytest.approx(1)


def test_the_coverage_table_has_promise_level_and_groups():
    truth = np.zeros((4, 3))
    upper = np.array([[1, 1, 1], [1, 1, -0.5], [1, 1, 1], [-0.5, 1, 1.0]])
    table = coverage_table(Intervals(-np.ones((4, 3)), upper, 0.8, "joint"), truth, np.array([0, 0, 1, 1]))
    assert (table["marginal"], table["joint"], table["lowest_bin"]) == (pytest.approx(10 / 12), 0.5, 0.75)
    assert table["groups"]["1"]["joint"] == 0.5 and table["promise"] == "joint"


@pytest.mark.parametrize("level", [0.0, 1.0, 80])
def test_invalid_levels_raise_errors(level):
    for function in (normal_half_width, lambda level: conformal_quantile(np.zeros((5, 1)), level)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            function(level)
