"""The predictive check: of planets of the prior's own kind few are called unusual, of other planets those whose noise lets it be seen."""

import numpy as np
import pytest

from ariel_lib.priors.gaussian import fit_prior
from ariel_lib.priors.predictive_check import RATE, is_unusual, log_evidence_against

N = 24
WAVELENGTH = np.concatenate([[0.7], np.linspace(1.95, 3.9, N - 1)])
BAND = np.exp(-0.5 * ((WAVELENGTH - 2.7) / 0.15) ** 2)  # of the molecule that the prior has seen
OTHER_BAND = np.exp(-0.5 * ((WAVELENGTH - 3.4) / 0.1) ** 2)


def draw_spectra(rng, n, band=BAND):
    """Spectra of one molecule, whose features have some 100 ppm."""
    amplitude = 1e-4 * np.exp(0.5 * rng.standard_normal((n, 1)))
    return 0.015 + 0.004 * rng.standard_normal((n, 1)) + amplitude * (band + 0.1 * np.sin(WAVELENGTH + rng.uniform(0, 6, (n, 1))))


@pytest.fixture(scope="module")
def prior():
    return fit_prior(draw_spectra(np.random.default_rng(0), 200), WAVELENGTH)


def evidence(prior, spectra, sigma, rng):
    conditional = prior.conditioned_on(sigma**2 * np.eye(N) + 1e-9)
    return log_evidence_against(prior, conditional, WAVELENGTH, spectra + sigma * rng.standard_normal(spectra.shape))


def of_the_prior(prior, n, rng):
    """Spectra (n, wavelength) that the prior generates."""
    amplitude = rng.choice(prior.amplitudes, p=prior.weights, size=(n, 1))
    shapes = rng.multivariate_normal(prior.shape, prior.covariance, size=n)
    return prior.offset[0] + prior.offset[1] * rng.standard_normal((n, 1)) + amplitude * shapes


@pytest.mark.parametrize("sigma", [1e-5, 1e-4, 1e-3])
def test_planets_of_the_prior_are_unusual_at_most_at_the_stated_rate(prior, sigma):
    rng, n = np.random.default_rng(1), 20_000
    found = evidence(prior, of_the_prior(prior, n, rng), sigma, rng)
    assert is_unusual(found).sum() <= RATE * n + 3 * np.sqrt(RATE * n)


def test_the_evidence_ratio_has_mean_one_for_planets_of_the_prior(prior):
    rng = np.random.default_rng(2)
    ratio = np.exp(evidence(prior, of_the_prior(prior, 20_000, rng), 3e-3, rng))  # so much noise that the ratio has a small variance
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / np.sqrt(len(ratio)))
    assert ratio.std() > 0.05


def test_planets_of_another_kind_are_unusual(prior):
    rng = np.random.default_rng(3)
    alike, other = (draw_spectra(rng, 200, band) for band in (BAND, OTHER_BAND))
    larger = other_size(alike, 10 * prior.amplitudes[-1])
    shares = [is_unusual(evidence(prior, spectra, 1e-5, rng)).mean() for spectra in (alike, other, larger)]
    assert shares[0] <= 0.005 and shares[1] > 0.8 and shares[2] == 1


def test_a_white_depth_that_no_label_has_and_noise_that_hides_the_features_say_nothing(prior):
    rng = np.random.default_rng(4)
    deep, other = draw_spectra(rng, 50) + 0.2, draw_spectra(rng, 50, OTHER_BAND)
    assert not is_unusual(evidence(prior, deep, 1e-5, rng)).any()
    assert not is_unusual(evidence(prior, other, 3e-3, rng)).any()


def other_size(spectra, amplitude):
    white = spectra[:, 1:].mean(axis=1, keepdims=True)
    return white + amplitude * (spectra - white) / (spectra - white)[:, 1:].std(axis=1, keepdims=True)
