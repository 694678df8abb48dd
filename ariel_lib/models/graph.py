"""The wavelength graph: typed edges between the bins of a spectrum, a function of their wavelengths only.

Node 0 is FGS1, the others are AIRS bins in ascending wavelength.

Band centres: Tinetti, Encrenaz & Coustenis 2013 (A&ARv 21, 63) for H2O 1.9 and 2.7, CO2 2.03 and 2.7, CH4 2.3 and 3.3,
CO 2.35, NH3 2.0, 2.25 and 2.96 µm; Tsai et al. 2023 (Nature 617, 483) for SO2 4.05 µm, beyond the challenge's last bin.
The widths of the windows were chosen to cover the bands in R ≈ 80 cross-sections at 1200 K.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ariel_lib.errors import SpectraMindError

RELATIONS = ("neighbour", "white", "molecule", "region")

# molecule: windows in micron
BANDS = {
    "H2O": ((1.80, 2.05), (2.48, 2.97)),
    "CO2": ((1.95, 2.15), (2.64, 2.98)),
    "CH4": ((2.15, 2.60), (3.00, 3.75)),
    "CO": ((2.29, 2.45),),
    "NH3": ((1.95, 2.05), (2.15, 2.32), (2.88, 3.08)),
    "SO2": ((3.93, 4.15),),
}
REGIONS = 8

Pair = tuple[int, int]


@dataclass(frozen=True)
class WavelengthGraph:
    """A symmetric graph without self loops or duplicate edges within a relation.

    wavelength  (node,)      micron
    edge_index  (2, edge)    int64, source and target node
    edge_type   (edge,)      int64, index into relations
    relations   names of the edge types
    """

    wavelength: Tensor
    edge_index: Tensor
    edge_type: Tensor
    relations: tuple[str, ...]


def wavelength_graph(wavelength: Sequence[float] | Tensor, relations: Iterable[str] = RELATIONS) -> WavelengthGraph:
    """Build the graph for wavelength (node,) in micron, FGS1 first, then AIRS ascending. relations: edge types to include.

    neighbour  AIRS bins one or two steps apart
    white      FGS1 and every AIRS bin
    molecule   bins in the bands of one molecule: a few within a band, and the corresponding bin of its other bands
    region     bins within one eighth of the detector's columns

    Raises SpectraMindError for invalid wavelengths or unknown or repeated relations.
    """
    wavelength = torch.tensor([float(value) for value in wavelength])
    if len(wavelength) == 0 or not bool((wavelength.isfinite() & (wavelength > 0)).all()):
        raise SpectraMindError(f"wavelength: expected one positive finite value per node, in micron, found {wavelength}")
    if bool((wavelength[1:].diff() <= 0).any()):
        raise SpectraMindError("wavelength: expected AIRS wavelengths (all but the first) to ascend, found others; sort them")
    relations = tuple(relations)
    unknown = set(relations) - set(RELATIONS)
    if unknown or len(set(relations)) < len(relations):
        raise SpectraMindError(f"relations: expected different names out of {RELATIONS}, found {relations}")
    pairs = {
        "neighbour": neighbour_pairs,
        "white": white_pairs,
        "molecule": molecule_pairs,
        "region": region_pairs,
    }
    edges = [
        (source, target, kind)
        for kind, name in enumerate(relations)
        for source, target in sorted(both_ways(pairs[name](wavelength)))
    ]
    table = torch.tensor(edges, dtype=torch.int64).reshape(-1, 3).T.contiguous()
    return WavelengthGraph(wavelength, table[:2], table[2], relations)


def both_ways(pairs: set[Pair]) -> set[Pair]:
    """Pairs in both directions, without duplicates."""
    return pairs | {(target, source) for source, target in pairs}


def neighbour_pairs(wavelength: Tensor) -> set[Pair]:
    """AIRS nodes one or two steps apart."""
    count = len(wavelength)
    return {(node, node + step) for step in (1, 2) for node in range(1, count - step)}


def white_pairs(wavelength: Tensor) -> set[Pair]:
    """FGS1 with every AIRS node."""
    return {(0, node) for node in range(1, len(wavelength))}


def molecule_pairs(wavelength: Tensor) -> set[Pair]:
    """Nodes within one band of a molecule, and corresponding nodes of its bands."""
    pairs: set[Pair] = set()
    for windows in BANDS.values():
        bands = [band_nodes(wavelength, *window) for window in windows]
        for place, band in enumerate(bands):
            pairs |= spread_pairs(band)
            for other in bands[place + 1 :]:
                pairs |= matching_pairs(band, other)
    return pairs


def region_pairs(wavelength: Tensor) -> set[Pair]:
    """Nodes within one of REGIONS equal ranges of detector columns."""
    nodes = list(range(1, len(wavelength)))
    borders = [len(nodes) * part // REGIONS for part in range(REGIONS + 1)]
    return {pair for start, end in pairwise(borders) for pair in spread_pairs(nodes[start:end])}


def band_nodes(wavelength: Tensor, low: float, high: float) -> list[int]:
    """AIRS nodes between two wavelengths in micron; FGS1, being broad, belongs to no band."""
    inside = (wavelength >= low) & (wavelength <= high)
    return [node for node in inside.nonzero().flatten().tolist() if node > 0]


def spread_pairs(nodes: list[int]) -> set[Pair]:
    """Each node with those at a quarter of the group's length and one further, at least 3 steps: at most four edges per node.

    Two steps without a common divisor connect the whole group; a single step would leave it in as many parts as the step.
    """
    step = max(3, len(nodes) // 4)
    return {(nodes[place], nodes[place + step]) for step in (step, step + 1) for place in range(len(nodes) - step)}


def matching_pairs(first: list[int], second: list[int]) -> set[Pair]:
    """Each node of the shorter band with the node at the same fraction of the longer band, if different."""
    short, long = sorted((first, second), key=len)
    partners = [long[place * len(long) // len(short)] for place in range(len(short))]
    return {(min(pair), max(pair)) for pair in zip(short, partners, strict=True) if pair[0] != pair[1]}
