"""Approximate molecular opacities: Gaussian bands in log cross-section, and Rayleigh scattering, against wavelength (micron).

Used by the simulator to draw spectra, by the symbolic rules to fit them, and by the wavelength graph to join bins.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Molecule:
    """Opacity of one molecule.

    visible  log10 cross-section (cm²) below 1 micron
    floor    log10 cross-section (cm²) between the infrared bands
    bands    infrared bands: height (dex above floor), centre and standard deviation (micron)
    windows  wavelength ranges (micron) of its main bands within the challenge's spectrum, by which the wavelength graph joins bins
    """

    visible: float
    floor: float
    bands: tuple[tuple[float, float, float], ...]
    windows: tuple[tuple[float, float], ...] = ()


# H2O, CO2, CH4: fits to cross-sections at 1200 K and 1 mbar, R = 80. CO: 2-0 band at 2.35; NH3 at 1.97, 2.24, 2.98; SO2
# at 3.98: strong bands of the line lists, with rounded heights.
# Windows around the band centres of Tinetti, Encrenaz & Coustenis 2013 (A&ARv 21, 63), wide enough to cover the bands in
# R ≈ 80 cross-sections at 1200 K. SO2 has none: its band (4.05 µm in Tsai et al. 2023, Nature 617, 483) begins beyond the
# challenge's last bin, 3.895 µm.
MOLECULES = {
    "H2O": Molecule(-24.4, -22.8, (
        (1.80, 1.992, 0.048), (2.56, 2.525, 0.037), (2.55, 2.785, 0.18), (1.29, 3.231, 0.126), (0.97, 3.528, 0.158)),
        ((1.80, 2.05), (2.48, 2.97))),
    "CO2": Molecule(-27.9, -25.7, (
        (4.28, 2.014, 0.126), (1.49, 2.204, 0.072), (1.13, 2.700, 0.046), (5.84, 2.840, 0.22), (2.17, 3.528, 0.19),
        (1.70, 3.883, 0.07)), ((1.95, 2.15), (2.64, 2.98))),
    "CH4": Molecule(-24.9, -28.8, (
        (3.38, 2.094, 0.026), (4.05, 2.199, 0.080), (6.98, 2.429, 0.204), (6.24, 3.122, 0.352), (7.02, 3.883, 0.517)),
        ((2.15, 2.60), (3.00, 3.75))),
    "CO": Molecule(-28.0, -26.0, ((4.6, 2.35, 0.045),), ((2.29, 2.45),)),
    "NH3": Molecule(-25.5, -23.0, ((2.3, 1.97, 0.045), (2.1, 2.24, 0.055), (2.6, 2.98, 0.10)),
        ((1.95, 2.05), (2.15, 2.32), (2.88, 3.08))),
    "SO2": Molecule(-27.0, -24.0, ((3.2, 3.98, 0.05),)),
}  # fmt: skip
RAYLEIGH_H2 = (2.52e-28, 0.75)  # cross-section (cm²) at wavelength (micron), Lecavelier des Etangs et al. 2008


def cross_section(molecule: str, wavelength: np.ndarray) -> np.ndarray:
    """Cross-section of one molecule, cm², same shape as wavelength (micron)."""
    absorber = MOLECULES[molecule]
    infrared = absorber.floor + sum(
        height * np.exp(-0.5 * ((wavelength - centre) / width) ** 2) for height, centre, width in absorber.bands
    )
    return 10 ** np.where(wavelength < 1.0, absorber.visible, infrared)
