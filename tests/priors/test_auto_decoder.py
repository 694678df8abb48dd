"""The auto-decoder: its derivatives are those of finite differences, and it finds the curve on which spectra lie."""

import numpy as np
import pytest

from ariel_lib.priors.auto_decoder import Decoder, fit_latents, train_decoder

RNG = np.random.default_rng


def decoder_of(rng, latents=3, hidden=5, components=4):
    sizes = [(latents, hidden), (hidden,), (hidden, hidden), (hidden,), (hidden, components), (components,)]
    return Decoder(*(rng.standard_normal(size) for size in sizes))


def test_the_derivatives_are_those_of_finite_differences():
    decoder, z, step = decoder_of(RNG(0)), RNG(1).standard_normal((6, 3)), 1e-6
    output, jacobian = decoder.linearised(z)
    np.testing.assert_allclose(output, decoder(z))
    for axis in range(3):
        moved = decoder(z + step * np.eye(3)[axis]) - decoder(z - step * np.eye(3)[axis])
        np.testing.assert_allclose(jacobian[:, axis], moved / (2 * step), rtol=1e-5, atol=1e-7)


def test_standardised_latents_have_unit_variance_and_the_same_outputs():
    decoder, z = decoder_of(RNG(2)), 3 + 2 * RNG(3).standard_normal((40, 3))
    other, standard = decoder.standardised(z)
    np.testing.assert_allclose(other(standard), decoder(z), atol=1e-10)
    np.testing.assert_allclose(standard.std(axis=0), 1)


@pytest.fixture(scope="module")
def curve():
    """Targets on a closed curve in three dimensions, with the decoder of one hundred of them."""
    angle = np.linspace(0, 2 * np.pi, 121)[:-1]
    targets = np.column_stack([2 * np.cos(angle), 2 * np.sin(angle), np.cos(2 * angle)])
    inside = np.arange(120) % 6 > 0
    return targets, inside, *train_decoder(targets[inside], 2, RNG(4), steps=600)


def test_a_curve_is_learned_and_points_left_out_are_found_on_it(curve):
    targets, inside, decoder, latents = curve
    assert np.sqrt(np.mean((decoder(latents) - targets[inside]) ** 2)) < 0.05
    left = targets[~inside]
    nearest = np.argsort(np.sum((left[:, None] - decoder(latents)) ** 2, axis=2), axis=1)[:, :3]
    starts = latents[nearest]
    found = decoder(fit_latents(decoder, starts, left))
    assert np.sqrt(np.mean((found - left) ** 2)) < 0.1
    assert np.sum((found - left) ** 2) < 0.5 * np.sum((decoder(starts[:, 0]) - left) ** 2)


def test_equal_generators_give_equal_decoders(curve):
    targets, inside, _, _ = curve
    first, second = (train_decoder(targets[inside], 2, RNG(5), steps=20) for _ in range(2))
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(first[0].w3, second[0].w3)
