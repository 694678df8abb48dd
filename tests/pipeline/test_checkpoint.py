"""pipeline.checkpoint: exact round trip; the checkpoint for a held-out planet contains nothing made from its label."""

from dataclasses import fields, replace

import numpy as np
import pytest

from ariel_lib.io.layout import Spectra
from ariel_lib.io.storage import StorageError, load_arrays, save_arrays
from ariel_lib.models.ensemble import predict_inputs
from ariel_lib.models.features import make_inputs
from ariel_lib.pipeline.checkpoint import FORMAT, Checkpoint
from ariel_lib.priors.gaussian import fit_prior
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.priors.spectral_library import fit_spectral_library
from ariel_lib.transit.result import DepthEstimate
from ariel_lib.uncertainty.temperature import Temperature


def arrays_of(value):
    """The arrays of a field of Checkpoint, by name."""
    if hasattr(value, "state_dict"):
        return {name: tensor.numpy() for name, tensor in value.state_dict().items()}
    return value.to_arrays() if hasattr(value, "to_arrays") else {"": value}


def assert_same(first, second):
    if isinstance(first, tuple) and first and hasattr(first[0], "to_arrays"):
        assert len(first) == len(second)
        for one, other in zip(first, second):
            assert_same(one, other)
        return
    found, again = arrays_of(first), arrays_of(second)
    assert list(found) == list(again)
    for name, array in found.items():
        np.testing.assert_array_equal(array, again[name], err_msg=name)
        assert np.asarray(array).dtype == np.asarray(again[name]).dtype, name


@pytest.mark.parametrize("corel", [False, True])
def test_every_field_is_restored_to_the_last_bit(make_checkpoint, tmp_path, corel):
    checkpoint, _ = make_checkpoint(corel=corel)
    path = checkpoint.save(tmp_path / "weights.safetensors")
    found = Checkpoint.load(path)
    for field in fields(Checkpoint):
        before, after = getattr(checkpoint, field.name), getattr(found, field.name)
        assert type(before) is type(after), field.name
        assert_same(before, after)
    assert (found.corel is not None) == corel
    assert [m.hyperparameters for m in found.network.members] == [m.hyperparameters for m in checkpoint.network.members]
    again = found.save(tmp_path / "again.safetensors")
    assert again.read_bytes() == path.read_bytes()


def test_a_loaded_network_gives_the_same_prediction(make_checkpoint, tmp_path):
    checkpoint, labelled = make_checkpoint()
    randomise_heads(checkpoint.network)
    rng, n = np.random.default_rng(0), len(checkpoint.wavelength)
    mean = labelled.labels.depth[0]
    inputs = make_inputs(rng.normal(size=(50, 5)), np.zeros(50, bool), mean, 1e-4 + 0 * mean, rng.normal(size=(n, 7)), rng.normal(size=12))
    loaded = Checkpoint.load(checkpoint.save(tmp_path / "weights.safetensors"))
    assert not loaded.network.training
    for one, other in zip(predict_inputs(checkpoint.network, inputs), predict_inputs(loaded.network, inputs)):
        np.testing.assert_array_equal(one, other)
    assert np.abs(predict_inputs(loaded.network, inputs)[0][0] - mean).max() > 1e-6  # unlike an untrained network


def randomise_heads(network):
    """Give the decoder heads non-zero weights, as after training."""
    rng = np.random.default_rng(1)
    for member in network.members:
        for head in (member.decoder.delta, member.decoder.log_scale):
            head.weight.data += head.weight.new_tensor(rng.normal(size=tuple(head.weight.shape)))


def test_files_of_another_format_and_damaged_ones_raise(make_checkpoint, tmp_path):
    checkpoint, _ = make_checkpoint()
    path = checkpoint.save(tmp_path / "weights.safetensors")
    arrays, text = load_arrays(path)
    assert text["format"] == FORMAT
    older = save_arrays(tmp_path / "older.safetensors", arrays, text | {"format": "spectramind-v50-0"})
    with pytest.raises(StorageError, match=rf"older.safetensors: expected .* {FORMAT}, found spectramind-v50-0. Train again"):
        Checkpoint.load(older)
    other = save_arrays(tmp_path / "other.safetensors", {"x": np.zeros(2)}, {})
    with pytest.raises(StorageError, match="found none"):
        Checkpoint.load(other)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StorageError, match="damaged"):
        Checkpoint.load(cut)
    with pytest.raises(StorageError, match="no such file"):
        Checkpoint.load(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("name", ["fit", "white", "library"])
def test_initial_estimate_is_the_one_in_the_configuration(make_checkpoint, name):
    checkpoint, _ = make_checkpoint(settings={"initial_estimate": name})
    assert checkpoint.initial_estimate == name and replace(checkpoint, config={}).initial_estimate == "library"


def with_other_label(known, planet):
    depth, scale = known.labels.depth.copy(), known.scale.copy()
    row = known.labels.planet_ids.index(planet)
    depth[row], scale[row] = 2 * depth[row][::-1], 9 * scale[row]
    return LabelledSpectra(Spectra(known.labels.planet_ids, depth), scale)


def test_as_held_out_has_the_member_the_priors_and_the_bias_without_the_planet(make_checkpoint):
    checkpoint, known = make_checkpoint(members=3, corel=True)
    found = checkpoint.as_held_out(known)
    assert sorted(found) == sorted(sum(checkpoint.held_out, ()))
    for member, planets, bias in zip(checkpoint.network.members, checkpoint.held_out, checkpoint.held_out_biases):
        for planet in planets:
            alone = found[planet]
            assert list(alone.network.members) == [member] and alone.held_out == (planets,)
            for name in ("prior", "initial_prior"):
                others = known.without(planets)
                fit = fit_prior if name == "prior" else fit_spectral_library
                scale = () if name == "prior" else (others.scale,)
                assert_same(getattr(alone, name), fit(others.labels.depth, checkpoint.wavelength, *scale))
                changed = checkpoint.as_held_out(with_other_label(known, planet))[planet]
                assert_same(getattr(alone, name), getattr(changed, name))
                other = checkpoint.as_held_out(with_other_label(known, "p15"))[planet]
                assert not np.array_equal(getattr(alone, name).covariance, getattr(other, name).covariance)
            assert alone.corrections.bias is bias and alone.held_out_biases == (bias,)
            assert alone.corrections.nuisance_prior is checkpoint.corrections.nuisance_prior
            assert alone.temperature == Temperature() and alone.corel is None  # both are fitted to the planet's label
            for field in ("wavelength", "fallback_mean", "fallback_sigma", "config"):
                assert getattr(alone, field) is getattr(checkpoint, field)


@pytest.mark.parametrize("scale_height", [True, False])
def test_libraries_have_scale_heights_only_if_configured(make_checkpoint, scale_height):
    checkpoint, known = make_checkpoint(settings={"scale_height": scale_height})
    for alone in checkpoint.as_held_out(known).values():
        assert np.isfinite(alone.initial_prior.log_scale).all() == scale_height


def make_estimate(n, rng):
    root = 1e-4 * rng.standard_normal((n, n))
    return DepthEstimate(
        "1", 0.012 + 1e-3 * rng.standard_normal(n), root @ root.T + 1e-8 * np.eye(n), np.full(n, 1e-4), np.ones(n), np.ones(n), np.zeros(8),
        np.array([0.1, -0.2]), np.diag([0.5, 0.4]), 1e-5 * rng.standard_normal((n, 2)), np.array([0, 4]), (), (),
    )  # fmt: skip


def test_condition_applies_the_nuisance_prior_and_the_multiplicative_bias(make_checkpoint):
    checkpoint, _ = make_checkpoint()
    estimate = make_estimate(len(checkpoint.wavelength), np.random.default_rng(2))
    found, corrections = checkpoint.condition(estimate), checkpoint.corrections
    by_nuisance = corrections.nuisance_prior.condition(estimate)
    assert np.abs(by_nuisance.depth - estimate.depth).max() > 1e-7
    np.testing.assert_allclose(found.depth, by_nuisance.depth / 1.02)
    np.testing.assert_allclose(found.sigma_uncorrelated, estimate.sigma_uncorrelated / 1.02)
    without = replace(corrections, bias=corrections.bias.none(len(checkpoint.wavelength)))
    np.testing.assert_array_equal(replace(checkpoint, corrections=without).condition(estimate).depth, by_nuisance.depth)
