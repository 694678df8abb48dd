"""The spectral manifold: its posterior equals that of weighted draws from the prior, and its sigmas hold on draws from itself."""

from functools import partial

import numpy as np
import pytest

from ariel_lib.errors import SpectraMindError
from ariel_lib.priors import auto_decoder
from ariel_lib.priors import manifold as module
from ariel_lib.priors.manifold import MIN_LABELS, Manifold, fit_manifold

RNG = np.random.default_rng
WAVELENGTH = np.linspace(0, 1, 9)


def labels_on_a_curve(n, rng):
    """Spectra on a curved sheet of one dimension, and the depth of one scale height of each."""
    angle = rng.uniform(0, 5, (n, 1))
    shapes = np.sin(3 * WAVELENGTH + angle) + 0.5 * np.cos(7 * WAVELENGTH - 2 * angle)
    scale = 1e-4 * np.exp(0.5 * rng.standard_normal((n, 1)))
    return 0.015 + 5e-4 * rng.standard_normal((n, 1)) + 2 * scale * np.exp(0.1 * rng.standard_normal((n, 1))) * shapes, scale[:, 0]


def noise_of(size):
    root = RNG(8).standard_normal((len(WAVELENGTH), 3))
    return size**2 * (np.diag(1 + WAVELENGTH) + 0.2 * root @ root.T)


@pytest.fixture(scope="module")
def manifold():
    """Of sixty labels, with small decoders that train in a second."""
    depth, scale = labels_on_a_curve(60, RNG(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auto_decoder, "HIDDEN", 32)
        patch.setattr(module, "train_decoder", partial(auto_decoder.train_decoder, steps=500))
        return fit_manifold(depth, scale, latents=2)


def observe(manifold, n, size, rng, scale=1e-4):
    truth = manifold.draw(n, rng, scale)
    return truth, truth + rng.multivariate_normal(np.zeros(len(WAVELENGTH)), noise_of(size), n)


@pytest.mark.parametrize("size", [1e-4, 4e-4])
def test_the_posterior_is_that_of_weighted_draws_from_the_prior(manifold, size):
    _, depth = observe(manifold, 6, size, RNG(1))
    mean, sigma, _ = manifold.conditioned_on(noise_of(size), 1e-4).moments(depth)
    drawn, precision = manifold.draw(30_000, RNG(2), 1e-4), np.linalg.inv(noise_of(size))
    for row, m, s in zip(depth, mean, sigma):
        misfit = np.sum((row - drawn) @ precision * (row - drawn), axis=1)
        weights = np.exp(-0.5 * (misfit - misfit.min()))
        weights /= weights.sum()
        error = 3 * np.sqrt(np.sum(weights**2))  # of the weighted mean, in its standard deviations
        assert error < 0.4
        expected = weights @ drawn
        spread = np.sqrt(weights @ (drawn - expected) ** 2)
        assert (np.abs(m - expected) < (error + 0.2) * spread).all()
        np.testing.assert_allclose(s, spread, rtol=error + 0.2)


@pytest.mark.parametrize("size", [2e-5, 2e-4])
def test_sigmas_hold_on_draws_from_the_manifold(manifold, size):
    truth, depth = observe(manifold, 40, size, RNG(3))
    mean, sigma, _ = manifold.conditioned_on(noise_of(size), 1e-4).moments(depth)
    assert np.sqrt(np.mean(((truth - mean) / sigma) ** 2)) == pytest.approx(1, abs=0.15)


def test_labels_left_out_are_closer_to_the_mean_than_measured(manifold):
    truth, scale = labels_on_a_curve(20, RNG(4))
    depth = truth + RNG(5).multivariate_normal(np.zeros(len(WAVELENGTH)), noise_of(1e-4), 20)
    found = [manifold.conditioned_on(noise_of(1e-4), s).moments(row[None])[0][0] for row, s in zip(depth, scale)]
    assert np.sum((found - truth) ** 2) < 0.5 * np.sum((depth - truth) ** 2)


def test_the_amplitude_follows_the_scale_height(manifold):
    flat, loud = np.full((1, len(WAVELENGTH)), 0.015), noise_of(1.0)
    relative = np.mean(manifold.log_amplitude - manifold.log_scale)
    for scale in (3e-5, 1e-4, 3e-4):
        posterior = manifold.conditioned_on(loud, scale)
        weights = posterior.moments(flat)[2]
        assert weights.sum() == pytest.approx(1)
        assert weights[0] @ np.log(posterior.amplitudes) == pytest.approx(relative + np.log(scale), abs=0.3)
    unknown = manifold.conditioned_on(loud)
    assert unknown.moments(flat)[2][0] @ np.log(unknown.amplitudes) == pytest.approx(manifold.log_amplitude.mean(), abs=0.3)


def test_an_answer_does_not_depend_on_the_other_rows_and_stays_the_same(manifold):
    _, depth = observe(manifold, 3, 1e-4, RNG(6))
    posterior = manifold.conditioned_on(noise_of(1e-4), 1e-4)
    alone, together = posterior.moments(depth[1:2]), posterior.moments(depth)
    for one, all_of_them in zip(alone, together):
        np.testing.assert_array_equal(one[0], all_of_them[1])


def test_a_manifold_restored_from_its_arrays_is_identical(manifold):
    again = Manifold.from_arrays({name: np.array(array) for name, array in manifold.to_arrays().items()})
    _, depth = observe(manifold, 2, 1e-4, RNG(7))
    for scale in (np.nan, 1e-4):
        for one, other in zip(*(m.conditioned_on(noise_of(1e-4), scale).moments(depth) for m in (manifold, again))):
            np.testing.assert_array_equal(one, other)


def test_draws_are_positive_and_have_the_labels_spread(manifold):
    labels, _ = labels_on_a_curve(400, RNG(9))
    drawn = manifold.draw(400, RNG(10))
    assert (drawn > 0).all()
    np.testing.assert_allclose(*(np.quantile(x.std(axis=1), (0.25, 0.5, 0.75)) for x in (drawn, labels)), rtol=0.25)


def test_few_labels_are_refused_by_name_of_the_way_out():
    depth, scale = labels_on_a_curve(MIN_LABELS - 1, RNG(11))
    with pytest.raises(SpectraMindError, match=f"at least {MIN_LABELS} planets, found {MIN_LABELS - 1}. Use the spectral library"):
        fit_manifold(depth, scale)
