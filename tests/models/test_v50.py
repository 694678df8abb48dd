"""V50: the untrained network returns the initial estimate; gradients, bounds, independence of planets, seeds."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

from ariel_lib.models.gnn import OPERATORS
from ariel_lib.models.inputs import Inputs
from ariel_lib.models.v50 import V50, Hyperparameters, wavelength_position

GRID = [0.7, *torch.linspace(1.95, 3.9, 48).tolist()]
SIZES = {"channels": 3, "node_features": 4, "star_features": 5, "wavelength": GRID}
SMALL = {"d_model": 8, "depth": 2, "d_state": 4, "headdim": 8, "embedding": 6, "hidden": 8, "gnn_layers": 2}


def make_inputs(planets=2, length=50, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    nodes = len(GRID)
    return Inputs(
        fgs1=draw(planets, length, 3),
        fgs1_mask=draw(planets, length) > 1,
        mean=0.015 + 1e-3 * draw(planets, nodes),
        sigma=1e-4 * draw(planets, nodes).exp(),
        nodes=draw(planets, nodes, 4),
        star=draw(planets, 5),
    )


def perturb_heads(model):
    for head in (model.decoder.delta, model.decoder.log_scale):
        nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(1))
    return model


@pytest.mark.parametrize("operator", sorted(OPERATORS))
@pytest.mark.parametrize("length", [1, 50])
def test_an_untrained_network_returns_the_initial_estimate(operator, length):
    inputs = make_inputs(length=length)
    prediction = V50(Hyperparameters(**SIZES, **SMALL, operator=operator))(inputs)
    assert torch.equal(prediction.mean, inputs.mean)
    assert torch.equal(prediction.sigma, inputs.sigma)


def test_an_untrained_network_of_default_sizes_returns_the_initial_estimate():
    inputs = make_inputs()
    assert torch.equal(V50(Hyperparameters(**SIZES))(inputs).mean, inputs.mean)


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_gradient_flows_to_every_parameter(operator):
    model = perturb_heads(V50(Hyperparameters(**SIZES, **SMALL, operator=operator)))
    inputs = make_inputs()
    prediction = model(inputs)
    z = (prediction.mean - inputs.mean) / inputs.sigma
    (z.square() + prediction.sigma.log() ** 2).sum().backward()
    without_gradient = [name for name, parameter in model.named_parameters() if not parameter.grad.any()]
    assert without_gradient == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_sigma_is_within_two_e_folds_of_the_initial_estimate():
    model, inputs = V50(Hyperparameters(**SIZES, **SMALL)), make_inputs()
    nn.init.normal_(model.decoder.log_scale.weight, std=1e3, generator=torch.Generator().manual_seed(1))
    ratio = (model(inputs).sigma / inputs.sigma).log()
    assert (ratio.abs() <= 2 + 1e-5).all()


def test_the_correction_is_proportional_to_the_initial_sigma():
    model, inputs = perturb_heads(V50(Hyperparameters(**SIZES, **SMALL))), make_inputs()
    doubled = Inputs(inputs.fgs1, inputs.fgs1_mask, inputs.mean, 2 * inputs.sigma, inputs.nodes, inputs.star)
    one, two = model(inputs), model(doubled)
    assert torch.allclose(two.mean - inputs.mean, 2 * (one.mean - inputs.mean), atol=1e-7)
    assert torch.allclose(two.sigma, 2 * one.sigma)


def test_planets_are_independent_and_padding_has_no_effect():
    model = perturb_heads(V50(Hyperparameters(**SIZES, **SMALL)))
    planets = [make_inputs(1, length, seed=length) for length in (20, 90)]
    together, alone = model(Inputs.stack(planets)), [model(planet) for planet in planets]
    for name in ("mean", "sigma", "gates", "embedding"):
        expected = torch.cat([getattr(prediction, name) for prediction in alone])
        assert torch.allclose(getattr(together, name), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("relations", [(), ("neighbour",), ("white", "molecule", "region")], ids="+".join)
def test_relations_can_be_switched_off(relations):
    model = perturb_heads(V50(Hyperparameters(**SIZES, **SMALL, relations=relations)))
    assert model.gnn.graph.relations == relations
    assert model(make_inputs()).mean.isfinite().all()


def test_the_seed_determines_the_weights_and_the_global_generator_is_unchanged():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = V50(Hyperparameters(**SIZES, **SMALL, seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again, other = (V50(Hyperparameters(**SIZES, **SMALL, seed=seed)).state_dict() for seed in (1, 2))
    assert all(torch.equal(value, again[name]) for name, value in first.state_dict().items())
    assert any(not torch.equal(value, other[name]) for name, value in first.state_dict().items())


def test_prediction_is_repeatable():
    model, inputs = perturb_heads(V50(Hyperparameters(**SIZES, **SMALL))), make_inputs()
    assert torch.equal(model(inputs).mean, model(inputs).mean)


def test_the_network_is_rebuilt_from_its_hyperparameters_in_json():
    model = V50(Hyperparameters(**SIZES, **SMALL, operator="gatv2", relations=("white",), bin_width=3, seed=4))
    rebuilt = V50(Hyperparameters(**json.loads(json.dumps(asdict(model.hyperparameters)))))
    assert rebuilt.hyperparameters == model.hyperparameters
    rebuilt.load_state_dict(perturb_heads(model).state_dict())
    assert torch.equal(rebuilt(make_inputs()).mean, model(make_inputs()).mean)


def test_another_number_of_wavelengths_raises_an_error():
    with pytest.raises(ValueError, match="expected the 9 wavelengths of the network, found 49"):
        V50(Hyperparameters(**(SIZES | {"wavelength": GRID[:9]}), **SMALL))(make_inputs())


def test_wavelength_positions_of_all_bins_are_distinct():
    grid = torch.tensor([0.7, *torch.linspace(1.95, 3.9, 282).tolist()])
    position = wavelength_position(grid)
    distance = torch.cdist(position, position).fill_diagonal_(float("inf"))
    assert distance.min() > 1e-3
