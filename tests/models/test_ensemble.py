"""Ensemble: mean and variance of the mixture; a single member is returned unchanged."""

from types import SimpleNamespace

import torch
from torch import nn

from ariel_lib.models.ensemble import Ensemble
from ariel_lib.models.v50 import Prediction


class Constant(nn.Module):
    """A network with a constant prediction."""

    def __init__(self, mean, sigma):
        super().__init__()
        self.prediction = Prediction(torch.tensor([[mean]]), torch.tensor([[sigma]]), torch.ones(1, 1, 1), torch.full((1, 2), mean))

    def forward(self, inputs):
        return self.prediction


def test_mean_and_variance_are_those_of_the_mixture():
    found = Ensemble([Constant(1.0, 0.5), Constant(3.0, 1.0), Constant(2.0, 2.0)])(SimpleNamespace())
    generator = torch.Generator().manual_seed(0)
    draws = torch.cat([m + s * torch.randn(200_000, generator=generator) for m, s in ((1, 0.5), (3, 1), (2, 2))])
    torch.testing.assert_close(found.mean.item(), draws.mean().item(), rtol=0, atol=0.01)
    torch.testing.assert_close(found.sigma.item(), draws.std().item(), rtol=0, atol=0.01)


def test_a_single_member_is_returned_and_equal_members_do_not_change_sigma():
    one = Constant(1.0, 0.5)
    assert Ensemble([one])(SimpleNamespace()) is one.prediction
    torch.testing.assert_close(Ensemble([one, one, one])(SimpleNamespace()).sigma, one.prediction.sigma)
