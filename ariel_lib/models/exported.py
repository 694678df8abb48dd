"""A network as one graph of operations without Python (torch.export), for a batch of fixed size: what compilers and other
runtimes take. A product of the weights, not a way to keep them: checkpoints are safetensors.
"""

from dataclasses import fields

import torch
from torch import Tensor, nn

from ariel_lib.models.inputs import Inputs


class Plain(nn.Module):
    """network, with the tensors of `Inputs` one by one as its arguments and (mean, sigma) as its result."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        prediction = self.network(Inputs(*tensors))
        return prediction.mean, prediction.sigma


def tensors_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """In the order of the exported program's arguments."""
    return tuple(getattr(inputs, field.name) for field in fields(Inputs))


def export_network(network: nn.Module, example: Inputs) -> torch.export.ExportedProgram:
    """V50 or an Ensemble, for inputs shaped as `example`: program.module()(*tensors_of(inputs)) → mean, sigma."""
    with torch.no_grad():
        return torch.export.export(Plain(network.eval()), tensors_of(example))
