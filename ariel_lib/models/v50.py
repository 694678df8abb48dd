"""V50: a network that corrects the initial estimate (transit fit and spectral library) of a planet's spectrum.

A state-space encoder of the FGS1 light curve, a graph network over wavelength and a gated decoder. Tensors in, tensors out:
independent of files, configuration and loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ariel_lib.config import RELATIONS
from ariel_lib.errors import SpectraMindError
from ariel_lib.models.decoder import Decoder
from ariel_lib.models.gnn import SpectralGNN
from ariel_lib.models.graph import wavelength_graph
from ariel_lib.models.inputs import Inputs
from ariel_lib.models.ssm import FGS1Encoder

POSITION_OCTAVES = 6


@dataclass(frozen=True)
class Prediction:
    """Output of the network.

    mean, sigma  (planet, wavelength)          of (Rp/Rs)²
    gates        (planet, wavelength, expert)  weights of the experts, which sum to one, in the order of decoder.EXPERTS
    embedding    (planet, embedding)           of the FGS1 light curve
    """

    mean: Tensor
    sigma: Tensor
    gates: Tensor
    embedding: Tensor


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Everything that determines an untrained network.

    channels, node_features, star_features       sizes of the last axes of Inputs
    wavelength                                   micron, FGS1 first, AIRS ascending
    d_model, depth, d_state, headdim, bin_width  of the FGS1 encoder
    embedding                                    width of the FGS1 and star embeddings
    hidden, gnn_layers, relations, operator      of the graph network
    seed                                         of the initial weights
    """

    channels: int
    node_features: int
    star_features: int
    wavelength: Sequence[float]
    d_model: int = 32
    depth: int = 2
    d_state: int = 32
    headdim: int = 32
    bin_width: int = 1
    embedding: int = 32
    hidden: int = 48
    gnn_layers: int = 3
    relations: Iterable[str] = RELATIONS
    operator: str = "rgcn"
    seed: int = 0

    def __post_init__(self):  # lists of JSON and arrays become tuples, so that equal networks have equal hyperparameters
        object.__setattr__(self, "wavelength", tuple(float(value) for value in self.wavelength))
        object.__setattr__(self, "relations", tuple(self.relations))


class V50(nn.Module):
    """Correction of an initial estimate m ± σ: mean = m + σ · Δ, sigma = σ · exp(s), with Δ = s = 0 at initialisation.

    Global random generators are not changed. Raises SpectraMindError for invalid wavelengths, relations and operators.
    """

    def __init__(self, hyperparameters: Hyperparameters):
        super().__init__()
        self.hyperparameters = h = hyperparameters
        graph = wavelength_graph(h.wavelength, h.relations)
        position = wavelength_position(graph.wavelength)
        self.register_buffer("position", position, persistent=False)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(h.seed)
            self.encoder = FGS1Encoder(h.channels, h.d_model, h.depth, h.d_state, h.embedding, h.headdim, h.bin_width)
            self.star = nn.Sequential(nn.Linear(h.star_features, h.embedding), nn.GELU(), nn.Linear(h.embedding, h.embedding))
            self.lift = nn.Linear(h.node_features + position.shape[1], h.hidden)
            self.gnn = SpectralGNN(graph, h.hidden, h.gnn_layers, h.operator)
            self.decoder = Decoder(h.hidden, h.embedding)

    def forward(self, inputs: Inputs) -> Prediction:
        planets, nodes = inputs.mean.shape
        if nodes != len(self.position):
            raise SpectraMindError(f"Inputs: expected the {len(self.position)} wavelengths of the network, found {nodes} wavelengths")
        embedding = self.encoder(inputs.fgs1, inputs.fgs1_mask)
        position = self.position.expand(planets, -1, -1)
        states = self.gnn(self.lift(torch.cat([inputs.nodes, position], -1)))
        delta, log_scale, gates = self.decoder(states, embedding, self.star(inputs.star))
        mean = inputs.mean + inputs.sigma * delta
        return Prediction(mean, inputs.sigma * log_scale.exp(), gates, embedding)


def wavelength_position(wavelength: Tensor) -> Tensor:
    """Fourier features of ln λ over octaves of period and a flag for FGS1, (node, 2 × octaves + 1); wavelength (node,) micron.

    They identify the bins; the longest period, ln 4, exceeds the range of AIRS.
    """
    phase = 2 * math.pi * wavelength.log()[:, None] / math.log(4) * 2.0 ** torch.arange(POSITION_OCTAVES)
    flag = torch.zeros(len(wavelength), 1)
    flag[0] = 1
    return torch.cat([phase.sin(), phase.cos(), flag], 1)
