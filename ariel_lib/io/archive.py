"""Reader of a data set in Kaggle's layout (2024 and 2025): planets, visits, tables and detector files as typed objects.

Malformed input raises ArchiveError with the file, what was expected and what was found.
"""

import copy
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ariel_lib.errors import ArchiveError
from ariel_lib.instrument import AIRS, FGS1_INTEGRATION_TIMES, INSTRUMENTS, LINEARITY_ORDERS, Instrument
from ariel_lib.io import time_axis
from ariel_lib.io.checksums import sha256
from ariel_lib.io.lakefs import local_folder
from ariel_lib.io.layout import (
    STAR_COLUMNS,
    CalibrationMaps,
    Converter,
    Spectra,
    Star,
    is_hidden,
    is_plain_name,
    numeric_order,
)
from ariel_lib.io.parquet import read_map
from ariel_lib.io.placement import MOST_FOLDERS, SIGNAL, hint_at_data, hint_at_signals
from ariel_lib.io.signal import Signal
from ariel_lib.io.submission import Sample, read_sample
from ariel_lib.io.tables import as_number, numbered_columns, planet_ids_of, read_spectra, read_table
from ariel_lib.io.time_axis import axis_column, read_integration_times, read_start_times, require_one_clock

MAPS = ("dark", "flat", "read", "dead", "linear_corr")  # names of the calibration files of one instrument in one visit
POSITIVE = ("Rs", "Ts", "P", "sma")  # of a star
MISSING_COLUMN = pd.Series([np.nan])


class Archive:
    """A data set in Kaggle's layout, read only.

    root         folder with train/, test/, axis_info.parquet, adc_info.csv or {train,test}_adc_info.csv, and the tables; or a lakeFS
                 reference, which is copied
    files        path → SHA-256 of the tables read so far, and of the light curves that callers note here
    visits_read  (split, planet, visit) → visit_digest of the frames that callers note here
    frames       path → SHA-256 of the detector files read so far, each of them at once (noting_frames); None: not noted

    A table is opened once, and again only where its file has changed since.
    Raises ArchiveError when the folder does not exist.
    """

    def __init__(self, root: Path | str):
        self.root = local_folder(root)
        if not self.root.is_dir():
            raise ArchiveError(self.root, "a data folder in Kaggle's layout", "no such folder", "Check data.root / --data.")
        self.files: dict[Path, str] = {}
        self.visits_read: dict[tuple[str, str, int], str] = {}
        self.frames: dict[Path, str] | None = None
        self._tables: dict[Path, tuple[tuple[int, ...], object]] = {}
        self._checked: set[str] = set()

    def noting_frames(self) -> "Archive":
        """The same archive with these tables, which reads detector files whole and notes their digests for visit_digest."""
        other = copy.copy(self)
        other.frames = {}
        return other

    # Planets and visits

    def planets(self, split: str) -> tuple[str, ...]:
        """Planet ids, in numeric order: the folders of the split that hold signal files, or that its star table lists.

        Raises ArchiveError for a name that cannot be written to a submission.
        """
        found, _ = self._sort_folders(split)
        if foreign := [name for name in found if not is_plain_name(name)]:
            hint = "Rename it; where the locale's encoding is ASCII, set PYTHONUTF8=1."
            raise ArchiveError(self.root / split, "planets named in UTF-8", repr(foreign[0]), hint)
        return tuple(found)

    def ignored(self, split: str) -> tuple[str, ...]:
        """Folders of the split that are no planets: without signal files, and not in its star table."""
        return tuple(self._sort_folders(split)[1])

    def _sort_folders(self, split: str) -> tuple[list[str], list[str]]:
        """Names of the folders of a split that are planets, and of the others, without those that systems hide."""
        folder = self.root / split
        if not folder.is_dir():
            return [], []
        names = sorted((p.name for p in folder.iterdir() if p.is_dir() and not is_hidden(p.name)), key=numeric_order)
        planets = {name for name in names if any(SIGNAL.fullmatch(each) for each in os.listdir(folder / name))}
        if others := [name for name in names if name not in planets]:
            planets |= self._catalogue(split) & set(others)
        return [name for name in names if name in planets], [name for name in others if name not in planets]

    def _catalogue(self, split: str) -> set[str]:
        """Planets of the split's star table; empty without one that can be read, which `star` reports."""
        path = self.root / f"{split}_star_info.csv"
        try:
            return set(planet_ids_of(self._once(path, read_table), path)) if path.is_file() else set()
        except ArchiveError:
            return set()

    def require_planets(self, split: str) -> None:
        """Raise ArchiveError for a split without planets, which says where there are some."""
        if not self.planets(split):
            folder, ignored = self.root / split, self.ignored(split)
            found = f"none in {', '.join(ignored[:3])}" if ignored else "no folder of a planet" if folder.is_dir() else "no such folder"
            hint = next(filter(None, [hint_at_data(self.root), *(hint_at_signals(folder / name) for name in ignored[:MOST_FOLDERS])]), "")
            raise ArchiveError(folder, "planets, one folder each with AIRS-CH0_signal_0.parquet", found, hint)

    def require_shared_tables(self, split: str) -> None:
        """Raise ArchiveError where a table that all visits of a split share is of no use for any of them: axis_info.parquet, adc_info.csv.

        The numbers of reads are those of the first visit that fits the axes; where none does, the first is the one that is named.
        """
        path, table = self._table("axis_info.parquet")
        _, converters = self._table("adc_info.csv", f"{split}_adc_info.csv")
        if split in self._checked:
            return
        axes = {name: read_start_times(table, path, instrument) for name, instrument in INSTRUMENTS.items()}
        require_one_clock(table, path)
        read_integration_times(table, path, AIRS, len(axes[AIRS.name]))
        for instrument in INSTRUMENTS.values() if "planet_id" not in converters else ():
            self.converter(split, "all", instrument)
        if (self.root / "wavelengths.csv").is_file():
            time_axis.require_columns(self.column_wavelengths(), self.wavelengths(), path)
        found = list(self._numbers_of_reads(split, {name: len(axis) for name, axis in axes.items()}))
        for instrument in INSTRUMENTS.values():
            numbers = [n_reads for each, n_reads in found if each is instrument]
            if numbers and len(axes[instrument.name]) not in numbers:
                read_start_times(table, path, instrument, numbers[0])
        self._checked.add(split)

    def _numbers_of_reads(self, split: str, wanted: dict[str, int]) -> Iterator[tuple[Instrument, int]]:
        """The numbers of reads of the signals that can be opened, until there is the wanted one of each instrument."""
        missing = set(wanted)
        for planet in self.planets(split):
            try:
                for visit in self.visits(split, planet):
                    for instrument in INSTRUMENTS.values():
                        signal = Signal(self._signal_path(split, planet, visit, instrument), instrument)  # its footer
                        signal.close()
                        yield instrument, signal.n_reads
                        if signal.n_reads == wanted[instrument.name]:
                            missing.discard(instrument.name)
                    if not missing:
                        return
            except ArchiveError:
                continue  # a fault of this planet alone

    def visits(self, split: str, planet_id: str) -> tuple[int, ...]:
        """Numbers of the visits with a signal file (2024: visit 0, without a suffix). Raises ArchiveError without any."""
        folder = self._planet_folder(split, planet_id)
        found = {int(match[1] or 0) for path in folder.glob("*_signal*.parquet") if (match := SIGNAL.fullmatch(path.name))}
        if not found:
            raise ArchiveError(folder, "AIRS-CH0_signal_0.parquet and FGS1_signal_0.parquet", "no signal file", hint_at_signals(folder))
        return tuple(sorted(found))

    def requested_planets(self) -> tuple[str, ...]:
        """Planets required in a submission: those of sample_submission.csv, else the folders of test/."""
        sample = self.sample()
        return self.planets("test") if sample is None else sample.planet_ids

    def sample(self) -> Sample | None:
        """Planets and columns of sample_submission.csv; None without one. Raises SubmissionError."""
        path = self.root / "sample_submission.csv"
        return self._once(path, read_sample) if path.is_file() else None

    # Tables

    def star(self, split: str, planet_id: str) -> Star | None:
        """The planet's row of {split}_star_info.csv; None for a data set without that table (2024).

        What the table lacks is NaN: a column that is not there, an entry that is no finite number, an Rs, Ts, P or sma that is not
        positive. Raises ArchiveError unless the planet has one row.
        """
        path = self.root / f"{split}_star_info.csv"
        if not path.is_file():
            return None
        table = self._once(path, read_table)
        row = table[np.array(planet_ids_of(table, path)) == planet_id]
        if len(row) != 1:
            raise ArchiveError(path, f"one row of planet {planet_id}", f"{len(row)} rows")
        values = {name: float(as_number(row.get(name, MISSING_COLUMN).iloc[0])) for name in STAR_COLUMNS[1:]}
        usable = {name: np.isfinite(value) and (value > 0 or name not in POSITIVE) for name, value in values.items()}
        return Star(planet_id, **{name: value if usable[name] else float("nan") for name, value in values.items()})

    def labels(self, split: str = "train") -> Spectra:
        """Labels from {split}.csv (2025) or {split}_labels.csv (2024). Only the simulator writes those of the test split."""
        path = self._first_file(f"{split}.csv", f"{split}_labels.csv")
        spectra = self._once(path, read_spectra)
        stars = self.root / f"{split}_star_info.csv"
        if stars.is_file():
            known = set(planet_ids_of(self._once(stars, read_table), stars))
            if spectra.planet_ids and known.isdisjoint(spectra.planet_ids):
                raise ArchiveError(path, f"planets that {stars.name} lists", f"none of them, such as {', '.join(spectra.planet_ids[:5])}",
                                   "Check that both files belong to the same data set.")
        if (self.root / "wavelengths.csv").is_file() and spectra.depth.shape[1] != (expected := len(self.wavelengths())):
            raise ArchiveError(path, f"wl_1 … wl_{expected} as in wavelengths.csv", f"{spectra.depth.shape[1]} wavelengths")
        return spectra

    def wavelengths(self) -> np.ndarray:
        """Wavelengths of a spectrum from wavelengths.csv, (wavelength,), micron: FGS1 first, then AIRS ascending."""
        path, table = self._table("wavelengths.csv")
        if len(table) != 1:
            raise ArchiveError(path, "one row with columns wl_1, wl_2, …", f"{len(table)} rows")
        wavelengths = numbered_columns(table, "wl", path)[0]
        if not np.isfinite(wavelengths).all() or np.any(np.diff(wavelengths) <= 0):
            raise ArchiveError(path, "ascending finite wavelengths in micron", "NaN or descending values")
        return wavelengths

    def converter(self, split: str, planet_id: str, instrument: Instrument) -> Converter:
        """Gain and offset of the ADC: one row for all planets (2025) or one row a planet (2024)."""
        path, table = self._table("adc_info.csv", f"{split}_adc_info.csv")
        columns = [f"{instrument.name}_adc_gain", f"{instrument.name}_adc_offset"]
        if any(column not in table for column in columns):
            raise ArchiveError(path, f"columns {', '.join(columns)}", f"columns {', '.join(map(str, table.columns))}")
        row = table[table["planet_id"] == planet_id] if "planet_id" in table else table
        if len(row) != 1:
            raise ArchiveError(path, f"one row for planet {planet_id}", f"{len(row)} rows")
        gain, offset = (as_number(row[column].iloc[0]) for column in columns)
        if not (gain > 0 and np.isfinite([gain, offset]).all()):
            raise ArchiveError(path, f"a positive, finite gain and a finite offset for planet {planet_id}", f"gain {gain}, offset {offset}")
        return Converter(gain, offset)

    # Detector files

    def read_times(self, instrument: Instrument, n_reads: int) -> tuple[np.ndarray, np.ndarray]:
        """Start (h) and integration time (s) of the n_reads reads of a visit, each (time,), from axis_info.parquet."""
        path, table = self._table("axis_info.parquet")
        start = read_start_times(table, path, instrument, n_reads)
        require_one_clock(table, path)
        if instrument is AIRS:
            return start, read_integration_times(table, path, instrument, n_reads)
        return start, np.tile(FGS1_INTEGRATION_TIMES, (n_reads + 1) // 2)[:n_reads]

    def column_wavelengths(self) -> np.ndarray:
        """Wavelength of every AIRS detector column, (column,), micron, in detector order (descending)."""
        path, table = self._table("axis_info.parquet")
        return axis_column(table, "AIRS-CH0-axis2-um", path, "wavelengths of the AIRS columns in micron")

    def calibration_maps(self, split: str, planet_id: str, visit: int, instrument: Instrument) -> CalibrationMaps:
        """The five calibration maps of one visit. Raises ArchiveError for a missing file or a wrong shape."""
        folder, shape = self._calibration_folder(split, planet_id, visit, instrument), (instrument.rows, instrument.columns)
        linear = read_map(folder / "linear_corr.parquet", (LINEARITY_ORDERS * shape[0], shape[1]), float, self.frames)
        return CalibrationMaps(
            dark=read_map(folder / "dark.parquet", shape, float, self.frames),
            flat=read_map(folder / "flat.parquet", shape, float, self.frames),
            read_noise=read_map(folder / "read.parquet", shape, float, self.frames),
            dead=read_map(folder / "dead.parquet", shape, bool, self.frames),
            linearity=linear.reshape(LINEARITY_ORDERS, *shape),
        )

    def signal(self, split: str, planet_id: str, visit: int, instrument: Instrument) -> Signal:
        """Open the raw reads of one visit; only the footer of the file is read, or all of it into memory where digests are noted."""
        return Signal(self._signal_path(split, planet_id, visit, instrument), instrument, self.frames)

    def visit_digest(self, split: str, planet_id: str, visit: int) -> str:
        """SHA-256 of the names and contents of the visit's signal files and calibration maps; those that `frames` lists are not read."""
        digest, known = hashlib.sha256(), self.frames or {}
        for instrument in INSTRUMENTS.values():
            maps = self._calibration_folder(split, planet_id, visit, instrument)
            paths = [self._signal_path(split, planet_id, visit, instrument), *(maps / f"{name}.parquet" for name in MAPS)]
            for path in paths:
                digest.update(f"{path.name} {known.get(path) or (sha256(path) if path.is_file() else 'missing')}\n".encode())
        return digest.hexdigest()

    def axis_digest(self) -> str:
        """SHA-256 of axis_info.parquet. Raises ArchiveError without one."""
        path = self._first_file("axis_info.parquet")
        with suppress(ArchiveError):  # a damaged table has a digest too
            self._once(path, read_table)
        return self.files.get(path) or sha256(path)

    # Names on disk

    def _planet_folder(self, split: str, planet_id: str) -> Path:
        folder = self.root / split / planet_id
        if not is_plain_name(planet_id) or not folder.is_dir():
            raise ArchiveError(folder, "a planet's folder", "no such folder", hint_at_data(self.root))
        return folder

    def _signal_path(self, split: str, planet_id: str, visit: int, instrument: Instrument) -> Path:
        folder = self._planet_folder(split, planet_id)
        path = folder / f"{instrument.name}_signal_{visit}.parquet"
        plain = folder / f"{instrument.name}_signal.parquet"  # 2024
        return plain if visit == 0 and not path.is_file() and plain.is_file() else path

    def _calibration_folder(self, split: str, planet_id: str, visit: int, instrument: Instrument) -> Path:
        folder = self._planet_folder(split, planet_id)
        path = folder / f"{instrument.name}_calibration_{visit}"
        plain = folder / f"{instrument.name}_calibration"  # 2024
        return plain if visit == 0 and not path.is_dir() and plain.is_dir() else path

    def _first_file(self, *names: str) -> Path:
        for name in names:
            if (self.root / name).is_file():
                return self.root / name
        raise ArchiveError(self.root, " or ".join(names), "no such file", hint_at_data(self.root))

    def _table(self, *names: str) -> tuple[Path, pd.DataFrame]:
        """The first of these tables that there is, with its path."""
        path = self._first_file(*names)
        return path, self._once(path, read_table)

    def _once(self, path: Path, read: Callable[[Path, dict[Path, str]], Any]) -> Any:
        """The content of a table by one of the readers of io, with its digest in `files`; read on the first call, and after a change."""
        now = path.stat()
        stamp = (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
        if path not in self._tables or self._tables[path][0] != stamp:
            if self._tables.pop(path, None):
                self._checked.clear()
            self._tables[path] = stamp, read(path, self.files)
        return self._tables[path][1]
