"""Bins that share a molecule.

Band centres: Tinetti, Encrenaz & Coustenis 2013 (A&ARv 21, 63) for H2O 1.9 and 2.7, CO2 2.03 and 2.7, CH4 2.3 and 3.3,
CO 2.35, NH3 2.0, 2.25 and 2.96 µm; Tsai et al. 2023 (Nature 617, 483) for SO2 4.05 µm, beyond the challenge's last bin.
The widths of the windows were chosen to cover the bands in R ≈ 80 cross-sections at 1200 K.
"""

from torch import Tensor

from ariel_lib.models.relations.node_pairs import Pair, band_nodes, matching_pairs, spread_pairs

# windows in micron
BANDS = {
    "H2O": ((1.80, 2.05), (2.48, 2.97)),
    "CO2": ((1.95, 2.15), (2.64, 2.98)),
    "CH4": ((2.15, 2.60), (3.00, 3.75)),
    "CO": ((2.29, 2.45),),
    "NH3": ((1.95, 2.05), (2.15, 2.32), (2.88, 3.08)),
    "SO2": ((3.93, 4.15),),
}


def pairs(wavelength: Tensor) -> set[Pair]:
    """Nodes within one band of a molecule, and corresponding nodes of its bands. wavelength (node,) micron, FGS1 first."""
    found: set[Pair] = set()
    for windows in BANDS.values():
        bands = [band_nodes(wavelength, *window) for window in windows]
        for place, band in enumerate(bands):
            found |= spread_pairs(band)
            for other in bands[place + 1 :]:
                found |= matching_pairs(band, other)
    return found
