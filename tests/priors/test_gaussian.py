"""The Gaussian prior on spectra: the fast posterior equals the plain formula, and its errors are calibrated."""

import numpy as np
import pytest

from ariel_lib.priors.gaussian import SpectralPrior, fit_prior

N = 24
WAVELENGTH = np.concatenate([[0.7], np.linspace(1.95, 3.9, N - 1)])


def draw_spectra(rng, n):
    kernel = np.exp(-0.5 * ((WAVELENGTH[:, None] - WAVELENGTH) / 0.3) ** 2) + 1e-8 * np.eye(N)
    shapes = rng.multivariate_normal(np.zeros(N), kernel, size=n)
    return 0.015 + 0.004 * rng.uniform(-1, 1, (n, 1)) + 1e-4 * np.exp(0.7 * rng.standard_normal((n, 1))) * shapes


def plain_posterior(prior, depth, noise):
    """Posterior by explicit matrix inverses, one amplitude at a time."""
    means, covariances, log_weights = [], [], []
    for amplitude, weight in zip(prior.amplitudes, prior.weights):
        mean = prior.offset[0] + amplitude * prior.shape
        signal = prior.offset[1] ** 2 + amplitude**2 * prior.covariance
        gain = signal @ np.linalg.inv(signal + noise)
        means.append(mean + gain @ (depth - mean))
        covariances.append(signal - gain @ signal)
        misfit = (depth - mean) @ np.linalg.solve(signal + noise, depth - mean)
        log_weights.append(np.log(weight) - 0.5 * misfit - 0.5 * np.linalg.slogdet(signal + noise)[1])
    weights = np.exp(np.array(log_weights) - max(log_weights))
    weights /= weights.sum()
    mean = weights @ np.array(means)
    spread = np.array(means) - mean
    return mean, np.tensordot(weights, covariances, 1) + (weights[:, None] * spread).T @ spread, weights


@pytest.fixture
def setting():
    rng = np.random.default_rng(1)
    noise = np.diag(rng.uniform(0.5, 3, N) * 1e-4) ** 2 + 4e-10
    return rng, fit_prior(draw_spectra(rng, 40), WAVELENGTH), noise


def test_posterior_equals_the_plain_formula(setting):
    rng, prior, noise = setting
    depth = draw_spectra(rng, 1)[0] + rng.multivariate_normal(np.zeros(N), noise)
    fast = prior.posterior(depth, noise)
    mean, covariance, weights = plain_posterior(prior, depth, noise)
    np.testing.assert_allclose(fast.mean, mean, rtol=1e-8)
    np.testing.assert_allclose(fast.covariance, covariance, rtol=1e-5, atol=1e-14)
    np.testing.assert_allclose(fast.amplitude_weights, weights, rtol=1e-6, atol=1e-12)


def test_moments_of_a_batch_equal_single_posteriors(setting):
    rng, prior, noise = setting
    depths = draw_spectra(rng, 3)
    conditional = prior.conditioned_on(noise)
    mean, sigma, _ = conditional.moments(depths)
    for n in range(3):
        single = conditional.posterior(depths[n])
        np.testing.assert_allclose(mean[n], single.mean, rtol=1e-12)
        np.testing.assert_allclose(sigma[n], single.sigma, rtol=1e-8)


def test_posterior_errors_are_calibrated_and_smaller_than_the_measurements(setting):
    rng, prior, noise = setting
    truth = draw_spectra(rng, 400)
    measured = truth + rng.multivariate_normal(np.zeros(N), noise, size=400)
    mean, sigma, _ = prior.conditioned_on(noise).moments(measured)
    z = (truth - mean) / sigma
    assert 0.9 < np.sqrt(np.mean(z**2)) < 1.1
    assert np.mean((mean - truth) ** 2) < 0.5 * np.mean((measured - truth) ** 2)


def test_the_posterior_is_the_data_at_zero_noise_and_the_prior_at_infinite_noise(setting):
    rng, prior, _ = setting
    depth = draw_spectra(rng, 1)[0]
    sharp = prior.posterior(depth, 1e-16 * np.eye(N))
    np.testing.assert_allclose(sharp.mean, depth, atol=1e-7)
    blind = prior.posterior(depth, 1e4 * np.eye(N))
    assert np.abs(blind.mean - prior.offset[0]).max() < 1e-3


def test_a_prior_restored_from_its_arrays_is_identical(setting):
    _, prior, noise = setting
    again = SpectralPrior.from_arrays(prior.to_arrays())
    np.testing.assert_array_equal(again.conditioned_on(noise).damping, prior.conditioned_on(noise).damping)


def test_a_single_label_raises_an_error():
    with pytest.raises(ValueError, match="at least 2 planets, found 1"):
        fit_prior(np.full((1, N), 0.01), WAVELENGTH)
