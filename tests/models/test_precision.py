"""Mixed precision: bfloat16 only on GPUs that support it; predictions then agree approximately with float32."""

from functools import partial

import pytest
import torch

from ariel_lib.config import ConfigError, load_config
from ariel_lib.models.inputs import Inputs
from ariel_lib.models.precision import mixed_precision
from ariel_lib.models.v50 import V50, Hyperparameters

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
PLANETS, NODES = 4, 20


@pytest.fixture
def network():
    """A small V50 with non-zero heads."""
    grid = [0.7, *torch.linspace(1.95, 3.9, NODES - 1).tolist()]
    network = V50(Hyperparameters(channels=3, node_features=4, star_features=5, wavelength=grid, d_model=8, d_state=4, headdim=8, hidden=8))
    for head in (network.decoder.delta, network.decoder.log_scale):
        torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(1))
    return network


@pytest.fixture
def inputs():
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    mean, sigma = 0.015 + 1e-3 * draw(PLANETS, NODES), 1e-4 * draw(PLANETS, NODES).exp()
    return Inputs(draw(PLANETS, 50, 3), draw(PLANETS, 50) > 1, mean, sigma, draw(PLANETS, NODES, 4), draw(PLANETS, 5))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_has_no_effect_without_a_gpu(network, inputs, precision):
    with mixed_precision(precision, CPU):
        found = network(inputs)
    assert torch.equal(found.mean, network(inputs).mean) and torch.equal(found.sigma, network(inputs).sigma)


@pytest.mark.parametrize(
    "precision, capability, wanted",
    [("bfloat16", (8, 0), True), ("bfloat16", (9, 0), True), ("bfloat16", (7, 5), False), ("float32", (8, 0), False)],
)
def test_bfloat16_is_used_where_requested_and_supported(monkeypatch, precision, capability, wanted):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch, "autocast", lambda *arguments, enabled: (*arguments, enabled))
    assert mixed_precision(precision, CUDA) == ("cuda", torch.bfloat16, wanted)


def test_with_bfloat16_predictions_and_gradients_are_float32_and_predictions_agree_approximately(network, inputs):
    plain = network(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(inputs)
    assert mixed.mean.dtype == mixed.sigma.dtype == torch.float32
    shift = (mixed.mean - plain.mean).abs() / inputs.sigma
    assert 0 < shift.max() < 0.1 and (mixed.sigma / plain.sigma).log().abs().max() < 0.1
    (mixed.mean.sum() + mixed.sigma.log().sum()).backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients and all(g.dtype == torch.float32 and torch.isfinite(g).all() for g in gradients)


def test_an_unknown_precision_raises_a_config_error():
    with pytest.raises(ConfigError, match=r"training\.precision"):
        load_config(None, ["training.precision=float16"])
