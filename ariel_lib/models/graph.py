"""Which wavelengths speak to which: a typed graph over the bins of a spectrum, from their wavelengths alone.

Node 0 is FGS1, the others are AIRS bins in ascending wavelength. It knows nothing of planets or weights.

Band centres: Tinetti, Encrenaz & Coustenis 2013 (A&ARv 21, 63) for H2O 1.9 and 2.7, CO2 2.03 and 2.7, CH4 2.3 and 3.3,
CO 2.35, NH3 2.0, 2.25 and 2.96 µm; Tsai et al. 2023 (Nature 617, 483) for SO2 4.05 µm, beyond the challenge's last bin.
The widths are ours: a window spans what stands out of the R ≈ 80 cross-sections at 1200 K.
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
    """A symmetric graph without self loops; no pair stands twice in one relation.

    wavelength  (node,)      micron
    edge_index  (2, edge)    int64, from row 0 to row 1
    edge_type   (edge,)      int64, index into `relations`
    relations   names, in the order of the types
    """

    wavelength: Tensor
    edge_index: Tensor
    edge_type: Tensor
    relations: tuple[str, ...]


def wavelength_graph(wavelength: Sequence[float] | Tensor, relations: Iterable[str] = RELATIONS) -> WavelengthGraph:
    """wavelength (node,) in micron: FGS1 first, then AIRS ascending. `relations`: which kinds of edge to draw.

    neighbour  AIRS bins one or two steps apart
    white      FGS1 and every AIRS bin
    molecule   bins in one molecule's bands: a few spread over the band, and the like place in its other bands
    region     bins read from one eighth of the detector's columns, a few spread over it
    """
    wavelength = torch.tensor([float(value) for value in wavelength])
    if len(wavelength) == 0 or not bool((wavelength.isfinite() & (wavelength > 0)).all()):
        raise SpectraMindError(f"wavelength is {wavelength}; expected one positive finite value a node, in micron")
    if bool((wavelength[1:].diff() <= 0).any()):
        raise SpectraMindError("AIRS wavelengths (all but the first) must ascend; reverse them before building the graph")
    relations = tuple(relations)
    unknown = set(relations) - set(RELATIONS)
    if unknown or len(set(relations)) < len(relations):
        raise SpectraMindError(f"relations are {relations}; expected different names out of {RELATIONS}")
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
    """Each pair in both directions, once."""
    return pairs | {(target, source) for source, target in pairs}


def neighbour_pairs(wavelength: Tensor) -> set[Pair]:
    count = len(wavelength)
    return {(node, node + step) for step in (1, 2) for node in range(1, count - step)}


def white_pairs(wavelength: Tensor) -> set[Pair]:
    return {(0, node) for node in range(1, len(wavelength))}


def molecule_pairs(wavelength: Tensor) -> set[Pair]:
    pairs: set[Pair] = set()
    for windows in BANDS.values():
        bands = [band_nodes(wavelength, *window) for window in windows]
        for place, band in enumerate(bands):
            pairs |= spread_pairs(band)
            for other in bands[place + 1 :]:
                pairs |= matching_pairs(band, other)
    return pairs


def region_pairs(wavelength: Tensor) -> set[Pair]:
    """AIRS bins are equal runs of detector columns, so equal runs of nodes are regions of the detector."""
    nodes = list(range(1, len(wavelength)))
    borders = [len(nodes) * part // REGIONS for part in range(REGIONS + 1)]
    return {pair for start, end in pairwise(borders) for pair in spread_pairs(nodes[start:end])}


def band_nodes(wavelength: Tensor, low: float, high: float) -> list[int]:
    """AIRS nodes inside a window in micron; FGS1 is broad and belongs to no band."""
    inside = (wavelength >= low) & (wavelength <= high)
    return [node for node in inside.nonzero().flatten().tolist() if node > 0]


def spread_pairs(nodes: list[int]) -> set[Pair]:
    """Each node with those a quarter of the group away, and one further: at most four links, no step below 3.

    Two steps without a common divisor connect the whole group; one would leave it in as many pieces as its length.
    """
    step = max(3, len(nodes) // 4)
    return {(nodes[place], nodes[place + step]) for step in (step, step + 1) for place in range(len(nodes) - step)}


def matching_pairs(first: list[int], second: list[int]) -> set[Pair]:
    """Each node of the shorter band with the node at the same fraction of the longer one, where they differ."""
    short, long = sorted((first, second), key=len)
    partners = [long[place * len(long) // len(short)] for place in range(len(short))]
    return {(min(pair), max(pair)) for pair in zip(short, partners, strict=True) if pair[0] != pair[1]}
