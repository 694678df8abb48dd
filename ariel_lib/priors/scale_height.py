"""Expected size of spectral features: the transit depth that one atmospheric scale height adds.

(Rp/Rs)² increases by 2 k H / R★ where the opaque radius increases by H = k_B T / (μ g) (Seager & Sasselov 2000, ApJ 537, 916;
Winn 2010, arXiv:1001.2010, eq. 36). T is the equilibrium temperature, g follows from mass and radius. Clouds only reduce it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.constants import Boltzmann, atomic_mass

from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Spectra, Star

MEAN_MOLECULAR_MASS = 2.3 * atomic_mass  # kg, hydrogen and helium in solar proportion
SOLAR_RADIUS = 6.957e8  # m, IAU 2015 resolution B3, as the next
JUPITER_GM = 1.2668653e17  # m³ / s²


def scale_height_depth(star: Star | None, white_depth: float) -> float:
    """Increase in (Rp/Rs)² by one scale height; NaN without a star, or where mass or depth is not positive.

    star         Mp in Jupiter masses, Rs in solar radii, sma in stellar radii, Ts in K; equilibrium temperature Ts √(Rs / 2a), zero albedo
    white_depth  (Rp/Rs)²
    """
    if star is None or not star.Mp > 0 or not white_depth > 0:
        return math.nan
    k, stellar_radius = math.sqrt(white_depth), star.Rs * SOLAR_RADIUS
    gravity = JUPITER_GM * star.Mp / (k * stellar_radius) ** 2
    height = Boltzmann * star.Ts * math.sqrt(0.5 / star.sma) / (MEAN_MOLECULAR_MASS * gravity)
    return 2 * k * height / stellar_radius


@dataclass(frozen=True)
class LabelledSpectra:
    """Labels, and the depth that one scale height adds to each planet: scale (planet,), NaN where the star table has no usable row."""

    labels: Spectra
    scale: np.ndarray

    @classmethod
    def read(cls, dataset: Dataset) -> "LabelledSpectra":
        """The labels of a data set's split. Raises ArchiveError for labels that are missing or damaged."""
        labels = dataset.labels()
        rows = zip(labels.planet_ids, labels.depth)
        return cls(labels, np.array([scale_height_depth(dataset.find_star(planet)[0], depth[1:].mean()) for planet, depth in rows]))

    def unscaled(self) -> "LabelledSpectra":
        """The same labels with every scale height unknown (NaN)."""
        return LabelledSpectra(self.labels, np.full_like(self.scale, np.nan))

    def without(self, planets: Iterable[str]) -> "LabelledSpectra":
        """The labels of all other planets."""
        out = set(planets)
        keep = [n for n, planet in enumerate(self.labels.planet_ids) if planet not in out]
        return LabelledSpectra(Spectra(tuple(self.labels.planet_ids[n] for n in keep), self.labels.depth[keep]), self.scale[keep])
