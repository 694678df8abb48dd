"""Kaggle's layout of a data set (2024 and 2025): names of files and columns, and the objects that tables and folders hold."""

import glob
import os
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
    """A row of {split}_star_info.csv, a star and the orbit of its planet, as `Dataset.star` reads it. NaN: the table has no usable value.

    planet_id
    Rs, Ms  radius and mass of the star, solar units
    Ts      effective temperature, K
    Mp      mass of the planet, Jupiter masses
    e       eccentricity of the orbit
    P       period, days
    sma     semi-major axis, stellar radii
    i       inclination, degrees

    >>> from ariel_lib import Dataset, Star
    >>> Star("42", Rs=1.0, Ms=1.0, Ts=5500.0, Mp=0.8, e=0.0, P=3.5, sma=9.0, i=88.0).sma
    9.0
    >>> dataset = Dataset(folder, split="test")
    >>> dataset.star(dataset.planets[0]).planet_id == dataset.planets[0]
    True
    """

    planet_id: str
    Rs: float
    Ms: float
    Ts: float
    Mp: float
    e: float
    P: float
    sma: float
    i: float

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the parameters that the table lacks."""
        return tuple(name for name in STAR_COLUMNS[1:] if not np.isfinite(getattr(self, name)))


@dataclass(frozen=True)
class Converter:
    """Analogue-to-digital converter: counts = floor((electrons − offset) · gain). gain counts/electron, offset electrons."""

    gain: float
    offset: float


@dataclass(frozen=True)
class CalibrationMaps:
    """Calibration maps of one instrument in one visit.

    dark        (row, column)     electrons/s
    flat        (row, column)     relative response
    read_noise  (row, column)     electrons a read
    dead        (row, column)     True for a dead pixel
    linearity   (6, row, column)  coefficients of ascending powers: detected electrons → true electrons
    """

    dark: np.ndarray
    flat: np.ndarray
    read_noise: np.ndarray
    dead: np.ndarray
    linearity: np.ndarray


@dataclass(frozen=True)
class Spectra:
    """Spectra of several planets: planet_ids in file order and depth (planet, wavelength), (Rp/Rs)²."""

    planet_ids: tuple[str, ...]
    depth: np.ndarray

    def of(self, planet_ids: Iterable[str]) -> np.ndarray:
        """Rows of the given planets, (planet, wavelength). Raises KeyError naming the first unknown one."""
        index = {planet: row for row, planet in enumerate(self.planet_ids)}
        return self.depth[[index[planet] for planet in planet_ids]]


def normalise_planet_id(value: object) -> str:
    """A planet id as text: 1103775, 1103775.0 and '1103775.0' (as in test_star_info.csv) give the same id."""
    return re.sub(r"\.0+$", "", str(value).strip())


def is_plain_name(planet_id: str) -> bool:
    """Whether an id can be a file name and be written to a table: not empty, no separator, not . or .., in the encodings of both."""
    try:
        planet_id.encode(), os.fsencode(planet_id)
    except UnicodeEncodeError:
        return False
    return planet_id not in ("", ".", "..") and not set(planet_id) & set("/\\\0")


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that systems leave beside data: .DS_Store, .ipynb_checkpoints, __MACOSX, @eaDir …"""
    return name.startswith((".", "__", "@", "#", "$")) or name == "lost+found"


def numeric_order(planet_id: str) -> tuple[int, int, str]:
    """Sort key of planet ids: numbers by value, before all other names."""
    return (0, int(planet_id), "") if planet_id.isdecimal() else (1, 0, planet_id)


def light_curves_path(folder: Path | str, split: str, planet_id: str, visit: int) -> Path:
    """File of a visit's light curves: {folder}/{split}/{planet_id}_{visit}.safetensors. Raises SpectraMindError for an unsafe id."""
    if not is_plain_name(planet_id):
        raise SpectraMindError(f"planet id {planet_id!r}: expected a plain name without a path separator")
    return Path(folder) / split / f"{planet_id}_{visit}.safetensors"


def list_light_curves(folder: Path | str, split: str, planet_id: str = "*") -> dict[str, tuple[int, ...]]:
    """Planet id → visits with light curves under {folder}/{split}, in numeric order; of one planet if its id is given."""
    found: dict[str, list[int]] = {}
    pattern = planet_id if planet_id == "*" else glob.escape(planet_id)
    for path in (Path(folder) / split).glob(f"{pattern}_*.safetensors"):
        planet, _, visit = path.stem.rpartition("_")
        if visit.isdecimal() and not is_hidden(planet):
            found.setdefault(planet, []).append(int(visit))
    return {planet: tuple(sorted(found[planet])) for planet in sorted(found, key=numeric_order)}
