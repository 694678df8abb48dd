"""Temperature scaling: the closed form, its shrinkage, and the folds of planets."""

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy.optimize import minimize

from ariel_lib.metrics import score, unclipped_score
from ariel_lib.uncertainty.temperature import Temperature, fit_temperature, folds_of_planets

NAIVE = {"naive_mean": 0.0147, "naive_sigma": 0.0107}


def make_case(seed, planets, wavelengths=20, fgs1_error=1.0, airs_error=1.0, common=0.0):
    """Truth, mean and stated sigma; the true scatter is the stated one times the error factor of the instrument.

    common: fraction of a planet's variance that is common to all wavelengths.
    """
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.005, 0.03, (planets, 1)) + rng.normal(0, 1e-4, (planets, wavelengths))
    sigma = 1e-4 * rng.uniform(0.5, 2.0, truth.shape)
    shared = rng.standard_normal((planets, 1))
    independent = rng.standard_normal(truth.shape)
    factor = np.concatenate([[fgs1_error], np.full(wavelengths - 1, airs_error)])
    return truth, truth + sigma * factor * (np.sqrt(common) * shared + np.sqrt(1 - common) * independent), sigma


@pytest.mark.parametrize("year", [2024, 2025])
def test_fit_temperature_equals_a_numerical_maximisation_of_the_score(year):
    truth, mean, sigma = make_case(0, planets=40, fgs1_error=1.7, airs_error=0.6)
    fitted = fit_temperature(mean, sigma, truth, **NAIVE, year=year, shrinkage_planets=0)

    def loss_of_two(log_scales):
        fgs1, airs = np.exp(log_scales)
        return -unclipped_score(truth, mean, Temperature((fgs1, airs)).apply(sigma), **NAIVE, year=year)

    def loss_of_one(log_scale):
        return -unclipped_score(truth, mean, np.exp(log_scale[0]) * sigma, **NAIVE, year=year)

    options = {"method": "Nelder-Mead", "options": {"xatol": 1e-7, "fatol": 1e-14}}
    best = np.exp(minimize(loss_of_two, [0.0, 0.0], **options).x)
    assert fitted.scales == pytest.approx(best, rel=1e-5)
    assert fitted.overall == pytest.approx(np.exp(minimize(loss_of_one, [0.0], **options).x[0]), rel=1e-5)


def test_the_temperature_of_calibrated_sigmas_is_one_within_sampling_error():
    truth, mean, sigma = make_case(1, planets=2000)
    fitted = fit_temperature(mean, sigma, truth, **NAIVE)
    assert fitted.scales[0] == pytest.approx(1, abs=5 / np.sqrt(2 * 2000))
    assert fitted.scales[1] == pytest.approx(1, abs=5 / np.sqrt(2 * 2000 * 19))


def test_the_temperature_compensates_a_scale_on_sigma():
    truth, mean, sigma = make_case(2, planets=60, fgs1_error=1.4)
    fitted = fit_temperature(mean, sigma, truth, **NAIVE)
    scaled = fit_temperature(mean, 7.0 * sigma, truth, **NAIVE)
    assert scaled.apply(7.0 * sigma) == pytest.approx(fitted.apply(sigma), rel=1e-12)


def test_the_factor_of_each_instrument_is_shrunk_towards_the_overall_factor():
    truth, mean, sigma = make_case(3, planets=25, fgs1_error=2.0, airs_error=0.5)
    distances = []
    for n0 in (0, 10, 30, 1000, 1e9):
        fitted = fit_temperature(mean, sigma, truth, **NAIVE, shrinkage_planets=n0)
        distances.append(np.abs(np.array(fitted.scales) - fitted.overall))
    assert np.all(np.diff(distances, axis=0) < 0)
    assert np.max(distances[-1]) < 1e-6


def test_the_shrinkage_vanishes_with_many_planets():
    truth, mean, sigma = make_case(4, planets=5000, fgs1_error=2.0, airs_error=0.5)
    fitted = fit_temperature(mean, sigma, truth, **NAIVE)
    assert fitted.scales == pytest.approx([2.0, 0.5], rel=0.06)


def test_the_temperature_raises_the_score_of_new_planets():
    truth, mean, sigma = make_case(5, planets=200, fgs1_error=2.0, airs_error=2.5, common=0.7)
    order = np.random.default_rng(6).permutation(200)
    train, test = order[:100], order[100:]
    fitted = fit_temperature(mean[train], sigma[train], truth[train], **NAIVE)
    before = score(truth[test], mean[test], sigma[test], **NAIVE)
    after = score(truth[test], mean[test], fitted.apply(sigma[test]), **NAIVE)
    ideal = fit_temperature(mean[test], sigma[test], truth[test], **NAIVE, shrinkage_planets=0)
    best = score(truth[test], mean[test], ideal.apply(sigma[test]), **NAIVE)
    assert before < after <= best
    assert best - after < 0.05 * (best - before)


def test_apply_scales_fgs1_and_airs_and_leaves_its_input_unchanged():
    sigma = np.ones((3, 4))
    scaled = Temperature((2.0, 3.0)).apply(sigma)
    assert np.array_equal(scaled, np.tile([2.0, 3.0, 3.0, 3.0], (3, 1)))
    assert np.array_equal(sigma, np.ones((3, 4)))


def test_a_temperature_is_restored_from_json_and_is_immutable():
    truth, mean, sigma = make_case(7, planets=10)
    fitted = fit_temperature(mean, sigma, truth, **NAIVE)
    assert Temperature.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted
    with pytest.raises(FrozenInstanceError):
        fitted.overall = 1.0


def test_invalid_temperatures_raise_errors():
    for wrong, found in [({"scales": (0.0, 1.0)}, "0.0"), ({"overall": np.nan}, "nan"), ({"scales": (1.0, np.inf)}, "inf")]:
        with pytest.raises(ValueError, match=f"positive; found {found}$"):
            Temperature(**wrong)
    with pytest.raises(ValueError, match="one for FGS1 and one for AIRS"):
        Temperature(((1.0, 1.0),))
    with pytest.raises(ValueError, match="keys"):
        Temperature.from_dict({"overall": 1.0})


def test_fit_temperature_raises_for_mismatched_shapes_perfect_means_and_invalid_options():
    truth, mean, sigma = make_case(8, planets=10)
    with pytest.raises(ValueError, match="equal shapes"):
        fit_temperature(mean[:-1], sigma[:-1], truth, **NAIVE)
    with pytest.raises(ValueError, match="temperature"):
        fit_temperature(truth, sigma, truth, **NAIVE)
    with pytest.raises(ValueError, match="shrinkage_planets"):
        fit_temperature(mean, sigma, truth, **NAIVE, shrinkage_planets=-1)


def test_sigmas_once_calibrated_need_no_factor():
    truth, mean, sigma = make_case(9, planets=90, fgs1_error=1.7, airs_error=0.6)
    fitted = fit_temperature(mean, sigma, truth, **NAIVE, shrinkage_planets=0)
    again = fit_temperature(mean, fitted.apply(sigma), truth, **NAIVE, shrinkage_planets=0)
    assert again.scales == pytest.approx((1.0, 1.0), rel=1e-12)
    assert fitted.apply(sigma[3]) == pytest.approx(fitted.apply(sigma)[3], rel=0)


def test_every_planet_is_tested_once_and_not_in_its_training_fold():
    tested = np.zeros(13, int)
    for train, test in folds_of_planets(13, 5):
        assert not (train & test).any()
        tested += test
    assert (tested == 1).all()


def test_prior_strength_shrinks_the_factors_towards_one():
    truth, mean, sigma = make_case(8, planets=30, fgs1_error=2.0, airs_error=2.0)
    free, drawn = (fit_temperature(mean, sigma, truth, **NAIVE, prior_strength=m) for m in (0, 30))
    assert drawn.overall**2 == pytest.approx(0.5 * (free.overall**2 + 1))
    np.testing.assert_allclose(np.square(drawn.scales), np.square(free.scales) * (drawn.overall / free.overall) ** 2)
    with pytest.raises(ValueError, match="prior_strength"):
        fit_temperature(mean, sigma, truth, **NAIVE, prior_strength=-1)
