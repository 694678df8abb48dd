"""Bins that share a molecule, by the windows of `molecules.MOLECULES`."""

from torch import Tensor

from ariel_lib.models.relations.node_pairs import Pair, band_nodes, matching_pairs, spread_pairs
from ariel_lib.molecules import MOLECULES


def pairs(wavelength: Tensor) -> set[Pair]:
    """Nodes within one band of a molecule, and corresponding nodes of its bands. wavelength (node,) micron, FGS1 first."""
    found: set[Pair] = set()
    for molecule in MOLECULES.values():
        bands = [band_nodes(wavelength, *window) for window in molecule.windows]
        for place, band in enumerate(bands):
            found |= spread_pairs(band)
            for other in bands[place + 1 :]:
                found |= matching_pairs(band, other)
    return found
