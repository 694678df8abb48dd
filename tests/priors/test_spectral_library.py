"""The spectral library: its posterior equals the mixture computed component by component."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from ariel_lib.priors import spectral_library
from ariel_lib.priors.gaussian import fit_prior
from ariel_lib.priors.spectral_library import WIDTHS, SpectralLibrary, fit_spectral_library

WAVELENGTH = np.array([0.7, 2.0, 2.2, 2.5, 2.9, 3.3, 3.8])
RNG = np.random.default_rng


def two_kinds(n, rng):
    """Labels of two distinct kinds of atmosphere, none in between."""
    kinds = np.array([[0.0, 1, 1, -1, -1, 1, -1], [0.5, -1, 1, 1, -1, -1, 1]])
    amplitude = 1e-4 * np.exp(0.3 * rng.standard_normal((n, 1)))
    return 0.01 + 3e-3 * rng.standard_normal((n, 1)) + amplitude * (
        kinds[rng.integers(2, size=n)] + 0.05 * rng.standard_normal((n, len(WAVELENGTH)))
    )


def noise_of(rng, size=1e-4):
    root = rng.standard_normal((len(WAVELENGTH), len(WAVELENGTH)))
    return size**2 * (np.eye(len(WAVELENGTH)) + 0.3 * root @ root.T / len(WAVELENGTH))


def by_hand(library: SpectralLibrary, depth, noise):
    """Mean and standard deviation of the mixture from the Gaussian formulas of each component."""
    evidence, means, variances = [], [], []
    for shape in library.shapes:
        for amplitude, weight in zip(*library.amplitudes()):
            for width in WIDTHS:
                prior = library.offset[1] ** 2 + (amplitude * width) ** 2 * library.covariance
                expected = library.offset[0] + amplitude * shape
                evidence.append(np.log(weight) + multivariate_normal(expected, prior + noise).logpdf(depth))
                gain = prior @ np.linalg.inv(prior + noise)
                means.append(expected + gain @ (depth - expected))
                variances.append(np.diag(prior - gain @ prior))
    share = np.exp(np.array(evidence) - logsumexp(evidence))[:, None]
    mean = np.sum(share * means, axis=0)
    return mean, np.sqrt(np.sum(share * (np.array(variances) + (np.array(means) - mean) ** 2), axis=0))


@pytest.mark.parametrize("seed", range(3))
def test_the_library_posterior_is_the_mixture_of_all_components(seed, monkeypatch):
    monkeypatch.setattr(spectral_library, "DRAWN", 40_000)
    rng = RNG(seed)
    library, noise = fit_spectral_library(two_kinds(5, rng), WAVELENGTH), noise_of(rng)
    depth = two_kinds(1, rng)[0] + rng.multivariate_normal(np.zeros(len(WAVELENGTH)), noise)
    mean, sigma, weights = (x[0] for x in library.conditioned_on(noise).moments(depth[None]))
    expected_mean, expected_sigma = by_hand(library, depth, noise)
    np.testing.assert_allclose(mean, expected_mean, rtol=0, atol=1e-4 * expected_sigma.min())
    np.testing.assert_allclose(sigma, expected_sigma, rtol=2e-3)
    assert weights.sum() == pytest.approx(1)


def test_the_prior_amplitude_is_proportional_to_the_scale_height():
    rng = RNG(5)
    scale = 1e-4 * np.exp(rng.standard_normal(60))
    labels = two_kinds(60, rng)
    white = labels[:, 1:].mean(axis=1, keepdims=True)
    labels = white + (labels - white) * 3 * scale[:, None] / np.std((labels - white)[:, 1:], axis=1, keepdims=True)
    library = fit_spectral_library(labels, WAVELENGTH, scale)
    for expected in (2e-5, 3e-4):
        amplitudes, weights = library.amplitudes(expected)
        assert np.exp(weights @ np.log(amplitudes)) == pytest.approx(3 * expected, rel=0.02)
        assert weights.sum() == pytest.approx(1) and len(weights) == len(library.amplitudes()[1])
    blind = fit_spectral_library(labels, WAVELENGTH)
    for a, b in zip(library.amplitudes(), blind.amplitudes(3e-4)):  # scale unknown for the planet, or for all labels
        np.testing.assert_array_equal(a, b)


def test_the_sampled_components_give_the_spread_of_the_full_mixture():
    rng = RNG(7)
    library, noise = fit_spectral_library(two_kinds(60, rng), WAVELENGTH), noise_of(rng)
    depth = two_kinds(20, rng) + rng.multivariate_normal(np.zeros(len(WAVELENGTH)), noise, 20)
    _, few, _ = library.conditioned_on(noise).moments(depth)
    full = np.array([by_hand(library, row, noise)[1] for row in depth[:4]])
    np.testing.assert_allclose(few[:4], full, rtol=0.03)


def test_clustered_spectra_are_represented_better_than_by_one_gaussian():
    rng = RNG(1)
    labels, truth = two_kinds(80, rng), two_kinds(200, rng)
    noise = noise_of(rng)
    depth = truth + rng.multivariate_normal(np.zeros(len(WAVELENGTH)), noise, len(truth))

    def posterior(prior):
        return prior.conditioned_on(noise).moments(depth)[:2]

    def log_likelihood(mean, sigma):
        return np.mean(-np.log(sigma) - 0.5 * ((truth - mean) / sigma) ** 2)

    from_library, gaussian = posterior(fit_spectral_library(labels, WAVELENGTH)), posterior(fit_prior(labels, WAVELENGTH))
    assert log_likelihood(*from_library) > log_likelihood(*gaussian) + 0.1
    z = (truth - from_library[0]) / from_library[1]
    assert 0.85 < np.sqrt(np.mean(z**2)) < 1.15


def test_the_posterior_is_the_prior_at_large_noise_and_the_data_at_small_noise():
    rng = RNG(2)
    labels = two_kinds(30, rng)
    library, depth = fit_spectral_library(labels, WAVELENGTH), two_kinds(1, rng)
    loud = library.conditioned_on(noise_of(rng, 10.0)).moments(depth)
    np.testing.assert_allclose(loud[0][0], labels[:, 1:].mean(), atol=5e-4)
    assert (loud[1] > 1e-3).all()
    quiet = library.conditioned_on(noise_of(rng, 1e-8)).moments(depth)
    np.testing.assert_allclose(quiet[0], depth, rtol=0, atol=1e-7)


def test_a_library_of_two_labels_restored_from_its_arrays_is_identical():
    labels = two_kinds(2, RNG(3))
    library = fit_spectral_library(labels, WAVELENGTH)
    again = SpectralLibrary.from_arrays(library.to_arrays())
    noise = noise_of(RNG(4))
    for a, b in zip(library.conditioned_on(noise).moments(labels), again.conditioned_on(noise).moments(labels)):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()
    with pytest.raises(ValueError, match="at least 2 planets, found 1"):
        fit_spectral_library(labels[:1], WAVELENGTH)
