"""Graph network: message passing over the wavelength graph, batched over planets, with torch-geometric.

Operators: relational graph convolution (Schlichtkrull et al. 2018, arXiv:1703.06103), GATv2 (Brody et al. 2022,
arXiv:2105.14491), edge-conditioned convolution (Gilmer et al. 2017, arXiv:1704.01212).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GATv2Conv, NNConv, SimpleConv
from torch_geometric.utils import degree

from ariel_lib.errors import SpectraMindError
from ariel_lib.models.graph import WavelengthGraph

GATV2_HEADS = 4
NNCONV_CHANNELS = 16


@dataclass(frozen=True)
class BatchedEdges:
    """Edges of several disjoint copies of one graph; node i of planet p has index i + p × nodes.

    index     (2, edge)
    features  (edge, relation + 1)  one-hot relation and ln(λ_target / λ_source)
    parts     one index (2, edge) for each relation
    """

    index: Tensor
    features: Tensor
    parts: tuple[Tensor, ...]


def batch_edges(graph: WavelengthGraph, planets: int, device: torch.device) -> BatchedEdges:
    """Edges of a graph for a batch of `planets` planets."""
    first_node = torch.arange(planets).repeat_interleave(len(graph.edge_type)) * len(graph.wavelength)
    index = (graph.edge_index.repeat(1, planets) + first_node).to(device)
    kind = graph.edge_type.repeat(planets).to(device)
    source, target = graph.wavelength.log()[graph.edge_index]
    one_hot = graph.edge_type[:, None] == torch.arange(len(graph.relations))  # F.one_hot reads values, which torch.export refuses
    features = torch.cat([one_hot, (target - source)[:, None]], 1).repeat(planets, 1).to(device)
    parts = tuple(index[:, kind == relation] for relation in range(len(graph.relations)))
    return BatchedEdges(index, features, parts)


class Rgcn(nn.Module):
    """Relational graph convolution x_i ← W x_i + Σ_r W_r mean_{j ∈ N_r(i)} x_j, x (node, hidden).

    Equal to torch-geometric's RGCNConv, which sorts the edges by relation at every call; here they are sorted once.
    """

    def __init__(self, hidden: int, relations: int):
        super().__init__()
        self.root = nn.Linear(hidden, hidden)
        self.mean = SimpleConv(aggr="mean")
        self.weights = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(relations))

    def forward(self, x: Tensor, edges: BatchedEdges) -> Tensor:
        messages = (weight(self.mean(x, part)) for weight, part in zip(self.weights, edges.parts, strict=True))
        return sum(messages, self.root(x))

    def messages(self, x: Tensor, edges: BatchedEdges) -> Tensor:
        """Contribution of each edge to its target node, (edge, hidden); with that of root they sum to forward."""
        return torch.cat([
            weight(x)[part[0]] / degree(part[1], len(x))[part[1], None]
            for weight, part in zip(self.weights, edges.parts, strict=True)
        ])  # fmt: skip


class Gatv2(nn.Module):
    """Graph attention within each relation, x_i ← W x_i + Σ_r GATv2_r(x)_i, x (node, hidden)."""

    def __init__(self, hidden: int, relations: int):
        super().__init__()
        if hidden % GATV2_HEADS:
            raise SpectraMindError(f"hidden: expected a multiple of the {GATV2_HEADS} heads of gatv2, found {hidden}")
        self.root = nn.Linear(hidden, hidden)
        self.convs = nn.ModuleList(
            GATv2Conv(hidden, hidden // GATV2_HEADS, GATV2_HEADS, add_self_loops=False, bias=False)
            for _ in range(relations)
        )

    def forward(self, x: Tensor, edges: BatchedEdges) -> Tensor:
        return sum((conv(x, part) for conv, part in zip(self.convs, edges.parts, strict=True)), self.root(x))

    def messages(self, x: Tensor, edges: BatchedEdges) -> Tensor:
        """Contribution of each edge to its target node, (edge, hidden); with that of root they sum to forward."""
        attention = self.attention(x, edges).split([part.shape[1] for part in edges.parts])
        values = (conv.lin_l(x)[part[0]].unflatten(1, (GATV2_HEADS, -1)) for conv, part in zip(self.convs, edges.parts))
        return torch.cat([(value * share[..., None]).flatten(1) for value, share in zip(values, attention)])

    def attention(self, x: Tensor, edges: BatchedEdges) -> Tensor:
        """Attention weights (edge, head), normalised over the edges of one relation into one node."""
        return torch.cat([conv(x, part, return_attention_weights=True)[1][1] for conv, part in zip(self.convs, edges.parts)])


class Nnconv(nn.Module):
    """Edge-conditioned convolution x_i ← W x_i + mean_j f(e_ij) x_j, x (node, hidden), the matrix f a function of edge features.

    The convolution has NNCONV_CHANNELS channels, since f is large.
    """

    def __init__(self, hidden: int, relations: int):
        super().__init__()
        matrix = nn.Sequential(
            nn.Linear(relations + 1, NNCONV_CHANNELS), nn.GELU(), nn.Linear(NNCONV_CHANNELS, NNCONV_CHANNELS**2)
        )
        self.root = nn.Linear(hidden, hidden)
        self.narrow = nn.Linear(hidden, NNCONV_CHANNELS)
        self.conv = NNConv(NNCONV_CHANNELS, NNCONV_CHANNELS, matrix, aggr="mean", root_weight=False, bias=False)
        self.widen = nn.Linear(NNCONV_CHANNELS, hidden, bias=False)

    def forward(self, x: Tensor, edges: BatchedEdges) -> Tensor:
        messages = self.conv(self.narrow(x), edges.index, edges.features.to(x.dtype))
        return self.root(x) + self.widen(messages)

    def messages(self, x: Tensor, edges: BatchedEdges) -> Tensor:
        """Contribution of each edge to its target node, (edge, hidden); with that of root they sum to forward."""
        source, target = edges.index
        matrix = self.conv.nn(edges.features.to(x.dtype)).view(-1, NNCONV_CHANNELS, NNCONV_CHANNELS)
        values = torch.einsum("ei,eio->eo", self.narrow(x)[source], matrix)
        return self.widen(values / degree(target, len(x))[target, None])


OPERATORS = {"rgcn": Rgcn, "gatv2": Gatv2, "nnconv": Nnconv}


class SpectralGNN(nn.Module):
    """Residual layers x + gelu(operator(LayerNorm(x))) on a fixed graph; operator: one of OPERATORS."""

    def __init__(self, graph: WavelengthGraph, hidden: int, layers: int, operator: str = "rgcn"):
        super().__init__()
        if operator not in OPERATORS:
            raise SpectraMindError(f"operator: expected one of {sorted(OPERATORS)}, found {operator!r}")
        self.graph = graph
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.operators = nn.ModuleList(OPERATORS[operator](hidden, len(graph.relations)) for _ in range(layers))
        self._batches: dict[tuple[int, torch.device], BatchedEdges] = {}

    def edges(self, planets: int, device: torch.device) -> BatchedEdges:
        """Batched edges, built once for each number of planets and device."""
        key = (planets, device)
        if key not in self._batches:
            self._batches[key] = batch_edges(self.graph, planets, device)
        return self._batches[key]

    def forward(self, states: Tensor) -> Tensor:
        """Apply all layers to states (planet, node, hidden)."""
        edges = self.edges(len(states), states.device)
        x = states.flatten(0, 1)
        for norm, operator in zip(self.norms, self.operators, strict=True):
            x = x + F.gelu(operator(norm(x), edges))
        return x.view_as(states)

    def trace(self, states: Tensor) -> tuple[Tensor, Tensor | None]:
        """Importance of the edges for one planet's states (1, node, hidden), each (layer, edge), edges sorted by relation.

        First: norm of an edge's message relative to the sum over all edges into its target node. Second: attention weights averaged
        over heads, normalised over the edges of a relation into a node; None for operators without attention.
        """
        edges, x, shares, attention = self.edges(1, states.device), states.flatten(0, 1), [], []
        for norm, operator in zip(self.norms, self.operators, strict=True):
            normed = norm(x)
            size = operator.messages(normed, edges).norm(dim=1)
            total = torch.zeros(len(x), dtype=size.dtype, device=size.device).index_add(0, edges.index[1], size)
            shares.append(size / total[edges.index[1]])
            if isinstance(operator, Gatv2):
                attention.append(operator.attention(normed, edges).mean(dim=1))
            x = x + F.gelu(operator(normed, edges))
        return torch.stack(shares), torch.stack(attention) if attention else None
