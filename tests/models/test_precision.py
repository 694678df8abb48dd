"""ariel_lib.models.precision: bfloat16 only where a GPU has it, and there the network's answer stays near that of float32."""

from functools import partial

import pytest
import torch

from ariel_lib.config import ConfigError, load_config
from ariel_lib.models.inputs import Inputs
from ariel_lib.models.precision import mixed_precision
from ariel_lib.models.v50 import V50

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
PLANETS, NODES = 4, 20


@pytest.fixture
def network():
    """A small V50 whose heads are no longer zero."""
    grid = [0.7, *torch.linspace(1.95, 3.9, NODES - 1).tolist()]
    network = V50(channels=3, node_features=4, star_features=5, wavelength=grid, d_model=8, d_state=4, headdim=8, hidden=8)
    for head in (network.decoder.delta, network.decoder.log_scale):
        torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(1))
    return network


@pytest.fixture
def inputs():
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    mean, sigma = 0.015 + 1e-3 * draw(PLANETS, NODES), 1e-4 * draw(PLANETS, NODES).exp()
    return Inputs(draw(PLANETS, 50, 3), draw(PLANETS, 50) > 1, mean, sigma, draw(PLANETS, NODES, 4), draw(PLANETS, 5))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_without_a_gpu_nothing_changes(network, inputs, precision):
    with mixed_precision(precision, CPU):
        found = network(inputs)
    assert torch.equal(found.mean, network(inputs).mean) and torch.equal(found.sigma, network(inputs).sigma)


@pytest.mark.parametrize(
    "precision, capability, wanted",
    [("bfloat16", (8, 0), True), ("bfloat16", (9, 0), True), ("bfloat16", (7, 5), False), ("float32", (8, 0), False)],
)
def test_a_gpu_that_has_bfloat16_uses_it_when_asked(monkeypatch, precision, capability, wanted):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch, "autocast", lambda *arguments, enabled: (*arguments, enabled))
    assert mixed_precision(precision, CUDA) == ("cuda", torch.bfloat16, wanted)


def test_in_bfloat16_the_answer_is_float32_and_near_and_gradients_flow(network, inputs):
    plain = network(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(inputs)
    assert mixed.mean.dtype == mixed.sigma.dtype == torch.float32
    shift = (mixed.mean - plain.mean).abs() / inputs.sigma
    assert 0 < shift.max() < 0.1 and (mixed.sigma / plain.sigma).log().abs().max() < 0.1
    (mixed.mean.sum() + mixed.sigma.log().sum()).backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients and all(g.dtype == torch.float32 and torch.isfinite(g).all() for g in gradients)


def test_another_precision_is_refused():
    with pytest.raises(ConfigError, match=r"training\.precision"):
        load_config(None, ["training.precision=float16"])
