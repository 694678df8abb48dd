"""Figures of held-out planets: no planet's own label calibrates it, and every method takes the same temperature step."""

import numpy as np
import pytest

from ariel_lib.metrics import naive_answer, summary
from ariel_lib.training.held_out import joined, judge
from ariel_lib.uncertainty.temperature import PRIOR_STRENGTH, Temperature, cross_fitted_sigma, fit_temperature

RNG = np.random.default_rng(4)
TRUTH = 0.012 + 1e-3 * RNG.standard_normal((30, 12))
NOISE = 1e-4 * RNG.standard_normal(TRUTH.shape)
NAIVE = naive_answer(TRUTH)
SETTINGS = NAIVE | {"prior_strength": PRIOR_STRENGTH}


def answer(stated):
    return TRUTH + NOISE, np.full_like(TRUTH, stated)


def test_each_planet_is_judged_with_a_temperature_without_its_label():
    mean, sigma = answer(4e-5)
    before = cross_fitted_sigma(mean, sigma, TRUTH, **SETTINGS)
    for planet in (0, 7, 29):
        other = TRUTH.copy()
        other[planet] += 2e-3
        after = cross_fitted_sigma(mean, sigma, other, **SETTINGS)
        np.testing.assert_array_equal(after[planet], before[planet])
        assert (np.delete(after, planet, axis=0) != np.delete(before, planet, axis=0)).any()
    np.testing.assert_allclose(before, fit_temperature(mean, sigma, TRUTH, **SETTINGS).apply(sigma), rtol=0.1)


def test_two_methods_of_the_same_answer_have_the_same_figures_whatever_sigma_they_state():
    """Sigmas that are wrong by a factor are put right for baselines as for V50; without that, they lose."""
    answers = {"v50": answer(1e-4), "gls_fit": answer(1e-4), "constant": answer(3e-5)}
    scores, temperatures = judge(TRUTH, answers, NAIVE)
    assert scores["v50"] == scores["gls_fit"] and temperatures["v50"] == temperatures["gls_fit"]
    raw, none = judge(TRUTH, answers, NAIVE, temperature=False)
    assert raw["constant"] == summary(TRUTH, *answers["constant"], **NAIVE) and set(none.values()) == {Temperature()}
    assert scores["constant"]["score"] > raw["constant"]["score"] + 0.1
    assert temperatures["constant"] == fit_temperature(*answers["constant"], TRUTH, **SETTINGS)


def test_a_single_held_out_planet_is_judged_without_temperature():
    mean, sigma = (part[:1] for part in answer(3e-5))
    np.testing.assert_array_equal(cross_fitted_sigma(mean, sigma, TRUTH[:1], **SETTINGS), sigma)
    scores, _ = judge(TRUTH[:1], {"v50": (mean, sigma)}, NAIVE)
    assert scores["v50"] == pytest.approx(summary(TRUTH[:1], mean, sigma, **NAIVE))


def test_answers_of_several_networks_are_joined_in_one_order():
    parts = [{"truth": (TRUTH[rows],), "v50": tuple(a[rows] for a in answer(1e-4))} for rows in (slice(0, 4), slice(4, 9))]
    truth, answers = joined(parts)
    np.testing.assert_array_equal(truth, TRUTH[:9])
    np.testing.assert_array_equal(answers["v50"][0], answer(1e-4)[0][:9])
