"""Bins that share a region of the detector."""

from itertools import pairwise

from torch import Tensor

from ariel_lib.models.relations.node_pairs import Pair, spread_pairs

REGIONS = 8


def pairs(wavelength: Tensor) -> set[Pair]:
    """Nodes within one of REGIONS equal ranges of detector columns. wavelength (node,) micron, FGS1 first."""
    nodes = list(range(1, len(wavelength)))
    borders = [len(nodes) * part // REGIONS for part in range(REGIONS + 1)]
    return {pair for start, end in pairwise(borders) for pair in spread_pairs(nodes[start:end])}
