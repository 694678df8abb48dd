"""ensemble.py: the moments of a mixture; one member is itself."""

from types import SimpleNamespace

import torch
from torch import nn

from ariel_lib.models.ensemble import Ensemble
from ariel_lib.models.v50 import Prediction


class Says(nn.Module):
    """A network that always says the same."""

    def __init__(self, mean, sigma):
        super().__init__()
        self.answer = Prediction(torch.tensor([[mean]]), torch.tensor([[sigma]]), torch.ones(1, 1, 1), torch.full((1, 2), mean))

    def forward(self, inputs):
        return self.answer


def test_mean_and_variance_are_those_of_the_mixture():
    found = Ensemble([Says(1.0, 0.5), Says(3.0, 1.0), Says(2.0, 2.0)])(SimpleNamespace())
    generator = torch.Generator().manual_seed(0)
    draws = torch.cat([m + s * torch.randn(200_000, generator=generator) for m, s in ((1, 0.5), (3, 1), (2, 2))])
    torch.testing.assert_close(found.mean.item(), draws.mean().item(), rtol=0, atol=0.01)
    torch.testing.assert_close(found.sigma.item(), draws.std().item(), rtol=0, atol=0.01)


def test_one_member_is_itself_and_agreement_adds_nothing():
    one = Says(1.0, 0.5)
    assert Ensemble([one])(SimpleNamespace()) is one.answer
    torch.testing.assert_close(Ensemble([one, one, one])(SimpleNamespace()).sigma, one.answer.sigma)
