"""The isotonic curve rises, undoes a power law in sigma, and changes nothing where sigmas are honest."""

import numpy as np
import pytest

from ariel_lib.metrics import score
from ariel_lib.uncertainty.isotonic import fit_isotonic

NAIVE = {"naive_mean": 0.0147, "naive_sigma": 0.0107}


def make_case(seed, planets, power=1.0):
    """Errors are sigma^power about 100 ppm while sigma is stated."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.005, 0.03, (planets, 1)) + np.zeros(21)
    sigma = 1e-4 * np.exp(rng.normal(0, 0.6, (planets, 1)) + rng.normal(0, 0.1, truth.shape))
    real = 1e-4 * (sigma / 1e-4) ** power
    return truth, truth + real * rng.standard_normal(truth.shape), sigma, real


def test_curves_rise_and_tell_a_power_law():
    truth, mean, sigma, real = make_case(0, 800, power=0.5)
    fitted = fit_isotonic(mean, sigma, truth, **NAIVE)
    assert (np.diff(fitted.calibrated, axis=1) >= 0).all()
    assert np.abs(np.log(fitted.apply(sigma) / real))[:, 1:].mean() < 0.1
    assert score(truth, mean, fitted.apply(sigma), **NAIVE) > score(truth, mean, sigma, **NAIVE)


def test_honest_sigmas_stay():
    truth, mean, sigma, _ = make_case(1, 800)
    ratio = fit_isotonic(mean, sigma, truth, **NAIVE).apply(sigma) / sigma
    assert ratio[:, 1:] == pytest.approx(np.ones_like(ratio[:, 1:]), abs=0.2)


def test_a_sigma_beyond_all_knots_keeps_the_last_ratio():
    truth, mean, sigma, _ = make_case(2, 100)
    fitted = fit_isotonic(mean, sigma, truth, **NAIVE)
    assert fitted.apply(1e3 * sigma[:1]) == pytest.approx(10 * fitted.apply(1e2 * sigma[:1]))
    assert fitted.apply(sigma[0]) == pytest.approx(fitted.apply(sigma)[0])
