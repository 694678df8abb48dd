"""FGS1 and the spectrum."""

from torch import Tensor

from ariel_lib.models.relations.node_pairs import Pair


def pairs(wavelength: Tensor) -> set[Pair]:
    """FGS1 with every AIRS node. wavelength (node,) micron, FGS1 first."""
    return {(0, node) for node in range(1, len(wavelength))}
