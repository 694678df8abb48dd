"""Export of a network by torch.export to a program for a batch of fixed size, for compilers and other runtimes.

Derived from the weights, which are stored in checkpoints (safetensors).
"""

from dataclasses import fields

import torch
from torch import Tensor, nn

from ariel_lib.models.inputs import Inputs


class Plain(nn.Module):
    """Wrapper of a network with the tensors of Inputs as positional arguments and (mean, sigma) as result."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        prediction = self.network(Inputs(*tensors))
        return prediction.mean, prediction.sigma


def tensors_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """Tensors of inputs in the order of the exported program's arguments."""
    return tuple(getattr(inputs, field.name) for field in fields(Inputs))


def export_network(network: nn.Module, example: Inputs) -> torch.export.ExportedProgram:
    """Export a V50 or an Ensemble for inputs of the shapes of example; program.module()(*tensors_of(inputs)) gives mean, sigma."""
    with torch.no_grad():
        return torch.export.export(Plain(network.eval()), tensors_of(example))
