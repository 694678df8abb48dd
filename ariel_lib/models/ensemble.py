"""Ensemble of networks: mean and variance of the mixture of their Gaussian predictions (Lakshminarayanan et al. 2017,
arXiv:1612.01474, section 2.4)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ariel_lib.models.inputs import Inputs
from ariel_lib.models.out_of_memory import forward_in_parts
from ariel_lib.models.v50 import V50, Prediction


class Ensemble(nn.Module):
    """Mixture of at least one member: mean = ⟨μ⟩, sigma² = ⟨σ²⟩ + ⟨μ²⟩ − ⟨μ⟩²; gates and embedding are averaged."""

    def __init__(self, members: Sequence[V50]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Inputs) -> Prediction:
        found = [member(inputs) for member in self.members]
        if len(found) == 1:
            return found[0]
        mean, sigma, gates, embedding = (
            torch.stack([getattr(prediction, name) for prediction in found]) for name in ("mean", "sigma", "gates", "embedding")
        )
        spread = mean.var(0, correction=0)
        return Prediction(mean.mean(0), ((sigma**2).mean(0) + spread).sqrt(), gates.mean(0), embedding.mean(0))


def predict_inputs(network: nn.Module, inputs: Inputs, batch_size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Mean, clipped at zero, and sigma of a network's prediction, (planet, wavelength) float64.

    A batch that does not fit into GPU memory is halved.
    """
    device = next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        parts = forward_in_parts(lambda part: network(inputs[part].to(device)), len(inputs), batch_size)
    mean, sigma = (torch.cat([getattr(p, name) for p in parts]).double().cpu().numpy() for name in ("mean", "sigma"))
    return np.maximum(mean, 0.0), sigma
