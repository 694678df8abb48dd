"""Neighbouring wavelengths."""

from torch import Tensor

from ariel_lib.models.relations.node_pairs import Pair


def pairs(wavelength: Tensor) -> set[Pair]:
    """AIRS nodes one or two steps apart. wavelength (node,) micron, FGS1 first."""
    count = len(wavelength)
    return {(node, node + step) for step in (1, 2) for node in range(1, count - step)}
