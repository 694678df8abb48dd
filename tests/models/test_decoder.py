"""Decoder: zero at initialisation, normalised gates, bounded scale, independent wavelengths."""

import pytest
import torch
from torch import nn

from ariel_lib.models.decoder import EXPERTS, LOG_SCALE_LIMIT, Decoder


def contexts(planets=2, wavelengths=7, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    shapes = (planets, wavelengths, 8), (planets, 4), (planets, 4)
    return [scale * torch.randn(shape, generator=generator) for shape in shapes]


def perturbed(scale=1.0):
    decoder = Decoder(hidden=8, embedding=4)
    for head in (decoder.delta, decoder.log_scale):
        nn.init.normal_(head.weight, std=scale, generator=torch.Generator().manual_seed(1))
    return decoder


def test_both_heads_are_zero_at_initialisation():
    delta, log_scale, _ = Decoder(hidden=8, embedding=4)(*contexts(scale=100.0))
    assert not delta.any()
    assert not log_scale.any()


def test_gates_are_positive_and_sum_to_one_for_every_wavelength():
    _, _, gates = perturbed()(*contexts())
    assert gates.shape == (2, 7, len(EXPERTS))
    assert (gates > 0).all()
    assert torch.allclose(gates.sum(-1), torch.ones(2, 7))


def test_log_scale_is_bounded_for_any_weights():
    _, log_scale, _ = perturbed(scale=1e4)(*contexts())
    assert (log_scale.abs() <= LOG_SCALE_LIMIT).all()


def test_log_scale_has_a_gradient_at_initialisation():
    decoder = Decoder(hidden=8, embedding=4)
    _, log_scale, _ = decoder(*contexts())
    log_scale.sum().backward()
    assert decoder.log_scale.bias.grad.item() == pytest.approx(log_scale.numel())


@pytest.mark.parametrize("source", [0, 1, 2], ids=["node", "fgs1", "star"])
def test_the_output_depends_on_every_source(source):
    decoder, inputs = perturbed(), contexts()
    inputs[source].requires_grad_()
    decoder(*inputs)[0].square().sum().backward()
    assert inputs[source].grad.abs().sum() > 0


def test_wavelengths_are_decoded_independently():
    decoder, (states, fgs1, star) = perturbed(), contexts()
    order = torch.randperm(states.shape[1], generator=torch.Generator().manual_seed(2))
    for whole, part in zip(decoder(states, fgs1, star), decoder(states[:, order], fgs1, star), strict=True):
        assert torch.allclose(whole[:, order], part, atol=1e-6)
