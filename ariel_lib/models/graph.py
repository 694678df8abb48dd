"""The wavelength graph: typed edges between the bins of a spectrum, a function of their wavelengths only.

Node 0 is FGS1, the others are AIRS bins in ascending wavelength.
The edge types are the modules of models/relations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor

from ariel_lib.config import RELATIONS
from ariel_lib.errors import SpectraMindError


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
    modules = {name: import_module(f"ariel_lib.models.relations.{name}") for name in relations}
    edges = [
        (source, target, kind)
        for kind, name in enumerate(relations)
        for source, target in sorted(both_ways(modules[name].pairs(wavelength)))
    ]
    table = torch.tensor(edges, dtype=torch.int64).reshape(-1, 3).T.contiguous()
    return WavelengthGraph(wavelength, table[:2], table[2], relations)


def both_ways(pairs: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Pairs in both directions, without duplicates."""
    return pairs | {(target, source) for source, target in pairs}
