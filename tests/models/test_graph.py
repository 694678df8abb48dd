"""The wavelength graph: symmetry, edges of each relation, degrees, invalid arguments."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ariel_lib.config import RELATIONS
from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.models.graph import WavelengthGraph, wavelength_graph
from ariel_lib.models.relations.node_pairs import band_nodes, spread_pairs
from ariel_lib.molecules import MOLECULES

GRID = spectrum_wavelengths().tolist()
SUBSETS = [subset for size in range(len(RELATIONS) + 1) for subset in combinations(RELATIONS, size)]


def edges(graph: WavelengthGraph, relation: str) -> list[tuple[int, int]]:
    chosen = graph.edge_type == graph.relations.index(relation)
    return [tuple(pair) for pair in graph.edge_index[:, chosen].T.tolist()]


@pytest.mark.parametrize("nodes", [1, 2, 3, 5, 20, 283])
def test_every_relation_is_symmetric_without_loops_or_duplicates(nodes):
    graph = wavelength_graph(GRID[:nodes])
    for relation in graph.relations:
        pairs = edges(graph, relation)
        assert len(pairs) == len(set(pairs))
        assert all(source != target and (target, source) in set(pairs) for source, target in pairs)
    assert graph.edge_index.shape == (2, len(graph.edge_type))
    assert graph.edge_index.dtype == graph.edge_type.dtype == torch.int64


@pytest.mark.parametrize("relation", RELATIONS)
def test_every_relation_has_edges_between_the_bins_of_the_challenge(relation):
    assert len(edges(wavelength_graph(GRID), relation)) >= 10


@pytest.mark.parametrize("relations", SUBSETS, ids="+".join)
def test_a_relation_that_is_left_out_removes_its_edges_only(relations):
    full, graph = wavelength_graph(GRID), wavelength_graph(GRID, relations)
    assert graph.relations == relations
    assert all(edges(graph, relation) == edges(full, relation) for relation in relations)
    assert len(graph.edge_type) == sum(len(edges(full, relation)) for relation in relations)


def test_neighbours_are_one_or_two_airs_bins_apart():
    pairs = set(edges(wavelength_graph(GRID), "neighbour"))
    assert pairs == {(i, j) for i in range(1, 283) for j in range(1, 283) if abs(i - j) in (1, 2)}


def test_white_connects_fgs1_to_every_airs_bin():
    assert set(edges(wavelength_graph(GRID), "white")) == {pair for i in range(1, 283) for pair in ((0, i), (i, 0))}


def test_molecule_connects_bins_of_one_molecule_only():
    graph = wavelength_graph(GRID)
    groups = [
        {node for window in molecule.windows for node in band_nodes(graph.wavelength, *window)}
        for molecule in MOLECULES.values()
    ]
    assert all(any({i, j} <= group for group in groups) for i, j in edges(graph, "molecule"))


def test_molecule_connects_the_two_bands_of_methane():
    graph = wavelength_graph(GRID)
    first, second = (set(band_nodes(graph.wavelength, *window)) for window in MOLECULES["CH4"].windows)
    joined = {i for i, j in edges(graph, "molecule") if i in first and j in second}
    assert joined == first


@pytest.mark.parametrize("relation", ["neighbour", "molecule", "region"])
def test_the_degree_is_at_most_twelve(relation):
    targets = torch.tensor(edges(wavelength_graph(GRID), relation))[:, 1]
    assert torch.bincount(targets).max() <= 12


def test_region_connects_bins_of_one_eighth_of_the_detector():
    source, target = torch.tensor(edges(wavelength_graph(GRID), "region")).T
    links = coo_array((np.ones(len(source)), (source, target)), shape=(283, 283))
    count, region = connected_components(links)
    assert count == 1 + 8  # FGS1 has no region
    assert (np.diff(region) >= 0).all()
    assert set(np.bincount(region)[1:]) == {35, 36}


@pytest.mark.parametrize("size", range(1, 40))
def test_spread_pairs_lie_within_the_group_at_least_three_apart(size):
    pairs = spread_pairs(list(range(size)))
    assert all(i >= 0 and j < size and j - i >= 3 for i, j in pairs)


@pytest.mark.parametrize(
    ("wavelength", "relations", "message"),
    [
        ([], RELATIONS, "one positive finite"),
        ([0.7, float("nan")], RELATIONS, "one positive finite"),
        ([0.7, -2.0], RELATIONS, "one positive finite"),
        ([0.7, 3.0, 2.0], RELATIONS, "ascend"),
        (GRID, ("neighbor",), "neighbour"),
        (GRID, ("white", "white"), "different names"),
    ],
)
def test_invalid_arguments_raise_errors(wavelength, relations, message):
    with pytest.raises(ValueError, match=message):
        wavelength_graph(wavelength, relations)
