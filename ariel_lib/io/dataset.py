"""One split of a data set: folder, planets, light curves, stars and labels in one immutable object.

Made once by the API, a command or a notebook, and passed on. Contains the rule that locates the light curves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np

from ariel_lib.errors import ArchiveError, SpectraMindError
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import SPLITS, Spectra, Star, is_plain_name, light_curves_path, list_light_curves
from ariel_lib.io.light_curves import LightCurves, find_damage, load_light_curves
from ariel_lib.io.placement import hint_at_light_curves

LIGHT_CURVES = "lightcurves"  # the folder of light curves in a simulated data set, or in a scratch folder


@dataclass(frozen=True, init=False, repr=False)
class Dataset:
    """One split of a data set in Kaggle's layout (2024 or 2025), read only.

    archive       reader of the folder's files
    root          the folder
    split         train or test
    selected      planet ids to use, or None for all
    given_curves  folder written by `spectramind calibrate`, or None; see light_curve_folder
    scratch       folder where light curves and fits are stored between runs, or None

    >>> from ariel_lib import Dataset
    >>> dataset = Dataset(folder, split="test")
    >>> len(dataset.planets), dataset.wavelengths.shape
    (2, (283,))
    >>> Dataset(folder, split="train").labels().depth.shape
    (8, 283)
    """

    archive: Archive = field(compare=False)
    root: Path
    split: str
    selected: tuple[str, ...] | None
    given_curves: Path | None
    scratch: Path | None

    def __init__(
        self,
        root: Path | str,
        split: str = "test",
        *,
        planets: Sequence[str] | None = None,
        light_curves: Path | str | None = None,
        scratch: Path | str | None = None,
    ):
        """Open a data set.

        root          folder in Kaggle's layout, or a lakefs:// reference
        split         train or test
        planets       ids of the planets that are wanted; default: all
        light_curves  folder that `spectramind calibrate` wrote; default: see light_curve_folder
        scratch       folder where light curves and fits are kept between runs
        Raises ArchiveError where there is no such folder, SpectraMindError for another split than train and test.
        """
        if split not in SPLITS:
            raise SpectraMindError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
        archive = Archive(root)
        values = {
            "archive": archive, "root": archive.root, "split": split, "selected": None if planets is None else tuple(planets),
            "given_curves": None if light_curves is None else Path(light_curves), "scratch": None if scratch is None else Path(scratch),
        }  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        count = len(self.planets)
        return f"Dataset({str(self.root)!r}, split={self.split!r}, {count} planet{'s' * (count != 1)})"

    def _repr_html_(self) -> str:
        lines = {
            "folder": self.root, "split": self.split, "planets": len(self.planets), "light curves": self.light_curve_folder,
            "scratch": self.scratch or "none",
        }  # fmt: skip
        rows = "".join(f"<tr><td>{name}</td><td>{escape(str(value))}</td></tr>" for name, value in lines.items())
        return f"<table>{rows}</table>"

    def select(self, planets: Sequence[str]) -> "Dataset":
        """The data set restricted to these planets."""
        return self._with(selected=tuple(planets))

    def with_split(self, split: str) -> "Dataset":
        """The given split of the same data set, with all its planets."""
        return self._with(split=split, selected=None)

    def with_scratch(self, folder: Path | str) -> "Dataset":
        """The same data set with another scratch folder."""
        return self._with(scratch=Path(folder))

    def _with(self, **changes: object) -> "Dataset":
        copy = object.__new__(Dataset)
        for name in ("archive", "root", "split", "selected", "given_curves", "scratch"):
            object.__setattr__(copy, name, changes.get(name, getattr(self, name)))
        return copy

    # Planets

    @cached_property
    def planets(self) -> tuple[str, ...]:
        """Planet ids: those selected; else, for the test split, those of sample_submission.csv; else those on disk."""
        if self.selected is not None:
            return self.selected
        requested = self.archive.requested_planets() if self.split == "test" else ()
        return requested or self.on_disk

    @property
    def submission_columns(self) -> tuple[str, ...] | None:
        """Columns of a submission of the test split in the order of sample_submission.csv; None without one."""
        sample = self.archive.sample() if self.split == "test" else None
        return None if sample is None else sample.columns

    @cached_property
    def on_disk(self) -> tuple[str, ...]:
        """Planets of the split that have frames, else those that have light curves, in numeric order."""
        return self.archive.planets(self.split) or tuple(self.light_curve_visits)

    def star(self, planet: str) -> Star | None:
        """The planet's row of {split}_star_info.csv; None where there is no such table (2024).

        What the table lacks is NaN, see Star.missing. Raises ArchiveError unless the planet has one row.
        """
        return self.archive.star(self.split, planet)

    def find_star(self, planet: str) -> tuple[Star | None, str | None]:
        """The planet's star, or None, and what is wrong with its row or which of its values are missing."""
        try:
            star = self.star(planet)
        except ArchiveError as error:
            return None, f"no star is used: {error}"
        return star, f"the star table has no usable {', '.join(star.missing)}" if star and star.missing else None

    def labels(self) -> Spectra:
        """The labelled spectra of the split: (Rp/Rs)², all planets of the file. Raises ArchiveError."""
        return self.archive.labels(self.split)

    @cached_property
    def wavelengths(self) -> np.ndarray:
        """Wavelengths of a spectrum, micron: FGS1 first, then AIRS ascending, (wavelength,). Raises ArchiveError."""
        return self.archive.wavelengths()

    # Light curves

    @cached_property
    def light_curve_folder(self) -> Path:
        """given_curves; else {root}/lightcurves if it has the split or there is no scratch folder; else {scratch}/lightcurves, which
        `fit_planets` fills from the frames."""
        beside = self.root / LIGHT_CURVES
        if self.given_curves is not None:
            return self.given_curves
        if (beside / self.split).is_dir() or self.scratch is None:
            return beside
        return self.scratch / LIGHT_CURVES

    @property
    def is_calibrated_on_demand(self) -> bool:
        """Whether missing light curves are calibrated from the frames: true if light_curve_folder lies in the scratch folder."""
        return self.scratch is not None and self.light_curve_folder == self.scratch / LIGHT_CURVES and self.given_curves is None

    @property
    def light_curve_visits(self) -> dict[str, tuple[int, ...]]:
        """Planet id → visits whose light curves are on disk."""
        return list_light_curves(self.light_curve_folder, self.split)

    def require_light_curves(self) -> None:
        """Raise ArchiveError where a folder of light curves was given that has none of the split, with a hint at where there are some."""
        if self.given_curves is None or self.light_curve_visits:
            return
        folder = self.given_curves / self.split
        found = "none" if folder.is_dir() else "no such folder"
        expected = f"light curves PLANET_VISIT.safetensors of `spectramind calibrate --split {self.split}`"
        raise ArchiveError(folder, expected, found, hint_at_light_curves(self.given_curves, self.split))

    def light_curve_path(self, planet: str, visit: int) -> Path:
        """The file of one visit's light curves."""
        return light_curves_path(self.light_curve_folder, self.split, planet, visit)

    def light_curves(self, planet: str) -> list[LightCurves]:
        """The light curves of every visit of a planet that is on disk. Raises StorageError for a damaged file."""
        visits = list_light_curves(self.light_curve_folder, self.split, planet).get(planet, ())
        return [load_light_curves(self.light_curve_path(planet, visit)) for visit in visits]

    def find_light_curves(self, planet: str, visits: Sequence[int]) -> tuple[tuple[Path, ...], str | None]:
        """The files of these visits that can be read, and what is wrong with the others, if any."""
        paths = {visit: self.light_curve_path(planet, visit) for visit in visits}
        damage = {visit: wrong for visit, path in paths.items() if (wrong := find_damage(path))}
        wrong = "; ".join(f"visit {visit} is left out: {reason}" for visit, reason in damage.items())
        return tuple(path for visit, path in paths.items() if visit not in damage), wrong or None

    def fit_path(self, planet: str) -> Path:
        """The file of the planet's transit fit. Raises SpectraMindError without a scratch folder."""
        if self.scratch is None:
            raise SpectraMindError(f"{self!r}: expected a scratch folder for fits, found none. Give Dataset(..., scratch=FOLDER).")
        if not is_plain_name(planet):
            raise SpectraMindError(f"planet id {planet!r}: expected a plain name without a path separator")
        return self.scratch / "estimates" / self.split / f"{planet}.safetensors"
