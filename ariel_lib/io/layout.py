"""Where things lie in a data set of Kaggle's layout (2024 and 2025), how files and columns are named, and what a row or a
folder holds as an object. Opens no file.
"""

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ariel_lib.errors import SpectraMindError

SPLITS = ("train", "test")
STAR_COLUMNS = ("planet_id", "Rs", "Ms", "Ts", "Mp", "e", "P", "sma", "i")


@dataclass(frozen=True)
class Star:
    """A row of star_info.csv. Rs and Ms in solar, Mp in Jupiter units, Ts K, P days, sma = a/Rs, i degrees."""

    planet_id: str
    Rs: float
    Ms: float
    Ts: float
    Mp: float
    e: float
    P: float
    sma: float
    i: float


@dataclass(frozen=True)
class Converter:
    """Analogue to digital: counts = floor((electrons − offset) · gain). gain counts/electron, offset electrons."""

    gain: float
    offset: float


@dataclass(frozen=True)
class CalibrationMaps:
    """One visit's maps of one instrument, each (row, column).

    dark electrons/s, flat relative, read_noise electrons a read, dead bool,
    linearity (6, row, column): ascending powers, detected counts in electrons → true electrons.
    """

    dark: np.ndarray
    flat: np.ndarray
    read_noise: np.ndarray
    dead: np.ndarray
    linearity: np.ndarray


@dataclass(frozen=True)
class Spectra:
    """Labels: planet_ids in file order and depth (planet, wavelength), (Rp/Rs)²."""

    planet_ids: tuple[str, ...]
    depth: np.ndarray

    def of(self, planet_ids: Iterable[str]) -> np.ndarray:
        """Rows of the given planets, (planet, wavelength). Raises KeyError naming the first unknown one."""
        index = {planet: row for row, planet in enumerate(self.planet_ids)}
        return self.depth[[index[planet] for planet in planet_ids]]


def normalise_planet_id(value: object) -> str:
    """A planet id as text: 1103775, 1103775.0 and '1103775.0' (as in test_star_info.csv) are one planet."""
    return re.sub(r"\.0+$", "", str(value).strip())


def is_plain_name(planet_id: str) -> bool:
    """Whether an id from a table can name a file: no separator, no way up, nothing empty."""
    return planet_id not in ("", ".", "..") and not set(planet_id) & set("/\\\0")


def numeric_order(planet_id: str) -> tuple[int, int, str]:
    """Sort key of planet ids: numbers by value, before all other names."""
    return (0, int(planet_id), "") if planet_id.isdecimal() else (1, 0, planet_id)


def light_curves_path(folder: Path | str, split: str, planet_id: str, visit: int) -> Path:
    """Where the visit lies under a light-curve folder: {folder}/{split}/{planet_id}_{visit}.safetensors."""
    if not is_plain_name(planet_id):
        raise SpectraMindError(f"planet id {planet_id!r}: expected a plain name without a path separator")
    return Path(folder) / split / f"{planet_id}_{visit}.safetensors"


def list_light_curves(folder: Path | str, split: str, planet_id: str = "*") -> dict[str, tuple[int, ...]]:
    """Planet id → visits present under {folder}/{split}, planets and visits in order; of one planet where its id is given."""
    found: dict[str, list[int]] = {}
    pattern = planet_id if planet_id == "*" else glob.escape(planet_id)
    for path in (Path(folder) / split).glob(f"{pattern}_*.safetensors"):
        planet, _, visit = path.stem.rpartition("_")
        if visit.isdecimal():
            found.setdefault(planet, []).append(int(visit))
    return {planet: tuple(sorted(found[planet])) for planet in sorted(found, key=numeric_order)}
