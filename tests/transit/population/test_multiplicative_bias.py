"""Multiplicative bias: recovered where labels and depths differ by a common factor, zero without clear evidence."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit.population.multiplicative_bias import MultiplicativeBias, fit_multiplicative_bias

LOST = 0.08  # fraction of the flux that is not the star's, at the longest wavelength


@pytest.fixture(scope="module")
def fits(scene):
    rng = np.random.default_rng(0)
    return [scene.fit(rng) for _ in range(25)]


def labels_of(scene, fits, lost=0.0):
    """Labels such that the simulated depths are diluted by the fraction lost."""
    return np.tile(scene.depth / (1 - lost), (len(fits), 1))


def diluted(wavelength):
    return LOST * (wavelength - wavelength[0]) / np.ptp(wavelength)


def test_without_evidence_the_bias_is_zero(scene, fits):
    found = fit_multiplicative_bias(fits, labels_of(scene, fits), scene.wavelength)
    assert not found.mean.any() and found.condition(fits[0]).depth is fits[0].depth
    assert MultiplicativeBias.none(13).condition(fits[0]).covariance is fits[0].covariance
    assert not fit_multiplicative_bias([], np.zeros((0, 13)), scene.wavelength).mean.any()


def test_a_dilution_is_recovered_within_its_error_and_corrected(scene, fits):
    lost = diluted(scene.wavelength)
    truth = labels_of(scene, fits, lost)
    found = fit_multiplicative_bias(fits, truth, scene.wavelength)
    z = (found.mean + lost) / np.sqrt(np.diag(found.covariance))
    assert np.sqrt(np.mean(z**2)) < 2 and np.corrcoef(found.mean, -lost)[0, 1] > 0.9
    fresh = [scene.fit(np.random.default_rng(n)) for n in range(100, 120)]
    before, after = (
        np.array([(e.depth - t) / e.sigma for e, t in zip(each, truth)]) for each in (fresh, [found.condition(e) for e in fresh])
    )
    assert 0.8 < np.sqrt(np.mean(after**2)) < 1.2 < np.sqrt(np.mean(before**2))


def test_a_fit_with_an_excluded_flag_is_left_out(scene, fits):
    truth = labels_of(scene, fits, diluted(scene.wavelength))
    wild = replace(fits[0], depth=fits[0].depth * 3, flags=("not_converged",))
    with_it, without = (fit_multiplicative_bias(e, truth[: len(e)], scene.wavelength) for e in ([*fits[1:], wild], fits[1:]))
    np.testing.assert_array_equal(with_it.mean, without.mean)
