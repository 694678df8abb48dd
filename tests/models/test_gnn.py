"""Graph network: equivariance, locality, independence of planets, traces of the messages."""

from dataclasses import replace

import pytest
import torch
from torch_geometric.nn import RGCNConv

from ariel_lib.models.gnn import OPERATORS, Rgcn, SpectralGNN, batch_edges
from ariel_lib.models.graph import wavelength_graph

GRID = [0.7, *torch.linspace(1.95, 3.9, 24).tolist()]


@pytest.fixture(params=sorted(OPERATORS))
def operator(request):
    return request.param


def network(operator, graph=None):
    return SpectralGNN(graph or wavelength_graph(GRID), hidden=8, layers=2, operator=operator).double()


def states(planets, seed=0):
    return torch.randn(planets, len(GRID), 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_permuting_nodes_and_edges_permutes_outputs(operator):
    gnn, x = network(operator), states(3)
    generator = torch.Generator().manual_seed(1)
    order = torch.randperm(len(GRID), generator=generator)
    shuffle = torch.randperm(len(gnn.graph.edge_type), generator=generator)
    place = torch.argsort(order)
    permuted = network(
        operator,
        replace(
            gnn.graph,
            wavelength=gnn.graph.wavelength[order],
            edge_index=place[gnn.graph.edge_index][:, shuffle],
            edge_type=gnn.graph.edge_type[shuffle],
        ),
    )
    permuted.load_state_dict(gnn.state_dict())
    assert torch.allclose(permuted(x[:, order]), gnn(x)[:, order], rtol=1e-10, atol=1e-12)


def test_rgcn_equals_the_relational_convolution_of_torch_geometric():
    graph, x = wavelength_graph(GRID), states(1)[0]
    ours = Rgcn(8, len(graph.relations)).double()
    theirs = RGCNConv(8, 8, len(graph.relations), aggr="mean").double()
    with torch.no_grad():
        theirs.root.copy_(ours.root.weight.T)
        theirs.bias.copy_(ours.root.bias)
        theirs.weight.copy_(torch.stack([weight.weight.T for weight in ours.weights]))
    edges = batch_edges(graph, 1, torch.device("cpu"))
    assert torch.allclose(ours(x, edges), theirs(x, graph.edge_index, graph.edge_type), rtol=1e-10)


def test_planets_are_independent(operator):
    gnn, x = network(operator), states(3)
    alone = torch.cat([gnn(x[i : i + 1]) for i in range(3)])
    assert torch.allclose(gnn(x), alone, rtol=1e-10, atol=1e-12)


def test_one_layer_reaches_only_neighbouring_nodes(operator):
    graph = wavelength_graph(GRID, relations=("neighbour",))
    gnn = SpectralGNN(graph, hidden=8, layers=1, operator=operator).double()
    x = states(1)
    changed = x.clone()
    changed[0, 10] += torch.arange(8)
    affected = ((gnn(changed) - gnn(x)).abs().amax(-1)[0] > 0).nonzero().flatten().tolist()
    assert affected == [8, 9, 10, 11, 12]


@pytest.mark.parametrize("relations", [(), ("white",), ("molecule", "region")], ids=["none", "one", "two"])
def test_any_choice_of_relations_works(operator, relations):
    gnn = network(operator, wavelength_graph(GRID, relations))
    out = gnn(states(2))
    out.sum().backward()
    assert out.isfinite().all()


def test_nodes_are_independent_without_relations(operator):
    gnn, x = network(operator, wavelength_graph(GRID, ())), states(1)
    changed = x.clone()
    changed[0, 10] += torch.arange(8)
    assert ((gnn(changed) - gnn(x)).abs().amax(-1)[0] > 0).nonzero().flatten().tolist() == [10]


def test_the_batched_graph_is_built_once_for_each_batch_size(operator):
    gnn = network(operator)
    device = torch.device("cpu")
    assert gnn.edges(4, device) is gnn.edges(4, device)
    assert gnn.edges(3, device) is not gnn.edges(4, device)


def test_inputs_stay_unchanged(operator):
    x = states(2)
    network(operator)(x)
    assert torch.equal(x, states(2))


def test_an_unknown_operator_or_unsuitable_width_raises_an_error():
    with pytest.raises(ValueError, match="gatv2"):
        SpectralGNN(wavelength_graph(GRID), 8, 1, "gcn")
    with pytest.raises(ValueError, match="multiple"):
        SpectralGNN(wavelength_graph(GRID), 6, 1, "gatv2")


def test_the_messages_into_a_node_and_its_root_term_sum_to_the_operators_output(operator):
    gnn, x = network(operator), states(1)[0]
    edges = gnn.edges(1, x.device)
    for layer in gnn.operators:
        messages = layer.messages(x, edges)
        assert torch.allclose(layer.root(x).index_add(0, edges.index[1], messages), layer(x, edges), rtol=1e-10, atol=1e-12)


def test_shares_of_a_trace_sum_to_one_at_every_node_and_attention_within_every_relation(operator):
    gnn, x = network(operator), states(1)
    shares, attention = gnn.trace(x)
    edges, types = gnn.edges(1, x.device), gnn.graph.edge_type
    reached = torch.zeros(2, len(GRID), dtype=shares.dtype).index_add(1, edges.index[1], shares)
    assert shares.shape == (2, len(types)) and torch.allclose(reached, torch.ones_like(reached))
    assert (attention is None) is (operator != "gatv2")
    if attention is not None:
        place = edges.index[1] * len(gnn.graph.relations) + types
        summed = torch.zeros(len(GRID) * len(gnn.graph.relations), dtype=shares.dtype).index_add(0, place, attention[0])
        assert torch.allclose(summed[summed > 0], torch.ones(1, dtype=shares.dtype))
