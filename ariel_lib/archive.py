"""Kaggle's folders and files, 2024 and 2025: the only module that knows where things lie and how they are spelled.

Files in, typed objects out, and back again for the simulator. Everything malformed ends here in an ArchiveError that
names the file, what was expected and what was found. Knows nothing of calibration.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ariel_lib.instrument import AIRS, FGS1, FGS1_INTEGRATION_TIMES, INSTRUMENTS, LINEARITY_ORDERS, Instrument
from ariel_lib.lineage import local_folder

SPLITS = ("train", "test")
ROW_GROUP_BYTES = 280_000_000  # a full visit is one row group (FGS1: 276 MB); bounds what a streaming reader or writer holds
_STAR_COLUMNS = ("planet_id", "Rs", "Ms", "Ts", "Mp", "e", "P", "sma", "i")


class ArchiveError(ValueError):
    """A file of the data set is missing or malformed: names the file, what was expected and what was found."""

    def __init__(self, path: Path | str, expected: str, found: str, hint: str = ""):
        super().__init__(f"{path}: expected {expected}, found {found}." + (f" {hint}" if hint else ""))
        self.path = str(path)

    def __reduce__(self):
        return (_rebuild_error, (self.path, str(self)))


def _rebuild_error(path: str, message: str) -> ArchiveError:
    error = ArchiveError.__new__(ArchiveError)
    ValueError.__init__(error, message)
    error.path = path
    return error


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


class Archive:
    """A data set in Kaggle's layout, read only.

    root: folder with train/, test/, axis_info.parquet, adc_info.csv or {train,test}_adc_info.csv, and the tables; or the lakeFS
    reference of one, which is copied. Raises ArchiveError when the folder does not exist.
    """

    def __init__(self, root: Path | str):
        self.root = local_folder(root)
        if not self.root.is_dir():
            raise ArchiveError(self.root, "a data folder in Kaggle's layout", "no such folder", "Check data.root / --data.")
        self._tables: dict[Path, pd.DataFrame] = {}

    # What there is

    def planets(self, split: str) -> tuple[str, ...]:
        """Planet ids with a folder under the split, in numeric order."""
        folder = self.root / split
        if not folder.is_dir():
            return ()
        return tuple(sorted((p.name for p in folder.iterdir() if p.is_dir()), key=_numeric_order))

    def visits(self, split: str, planet_id: str) -> tuple[int, ...]:
        """Numbers of the visits for which any signal file exists (2024: visit 0 without a suffix)."""
        folder = self._planet_folder(split, planet_id)
        found = set()
        for path in folder.glob("*_signal*.parquet"):
            match = re.fullmatch(r"(?:AIRS-CH0|FGS1)_signal(?:_(\d+))?\.parquet", path.name)
            if match:
                found.add(int(match.group(1) or 0))
        if not found:
            raise ArchiveError(folder, "AIRS-CH0_signal_0.parquet and FGS1_signal_0.parquet", "no signal file")
        return tuple(sorted(found))

    def requested_planets(self) -> tuple[str, ...]:
        """Planets that a submission must hold: sample_submission.csv's, else the folders of test/."""
        path = self.root / "sample_submission.csv"
        return self._ids(self._table(path), path) if path.is_file() else self.planets("test")

    # Tables

    def star(self, split: str, planet_id: str) -> Star | None:
        """The planet's row of {split}_star_info.csv, or None where the data set has no such table (2024)."""
        path = self.root / f"{split}_star_info.csv"
        if not path.is_file():
            return None
        table = self._table(path)
        missing = [name for name in _STAR_COLUMNS if name not in table]
        if missing:
            raise ArchiveError(path, f"columns {', '.join(_STAR_COLUMNS)}", f"no column {', '.join(missing)}")
        row = table[table["planet_id"] == planet_id]
        if len(row) != 1:
            raise ArchiveError(path, f"one row of planet {planet_id}", f"{len(row)} rows")
        values = {name: pd.to_numeric(row[name], errors="coerce").iloc[0] for name in _STAR_COLUMNS[1:]}
        bad = [name for name, value in values.items() if not np.isfinite(value)]
        if bad:
            raise ArchiveError(path, f"finite numbers for planet {planet_id}", f"NaN or text in {', '.join(bad)}")
        impossible = [name for name in ("Rs", "Ts", "P", "sma") if values[name] <= 0]
        if impossible:
            raise ArchiveError(path, f"positive Rs, Ts, P, sma for planet {planet_id}", f"not positive: {', '.join(impossible)}")
        return Star(planet_id, **{name: float(value) for name, value in values.items()})

    def labels(self, split: str = "train") -> Spectra:
        """train.csv (2025) or train_labels.csv (2024); the simulator also writes test.csv."""
        path = self._first_file(f"{split}.csv", f"{split}_labels.csv")
        spectra = read_spectra(path)
        stars = self.root / f"{split}_star_info.csv"
        if stars.is_file():
            known = set(self._ids(self._table(stars), stars))
            unknown = [planet for planet in spectra.planet_ids if planet not in known]
            if unknown:
                raise ArchiveError(path, f"only planets that {stars.name} lists", f"unknown planet {', '.join(unknown[:5])}"
                                   + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""),
                                   "Do the two files belong to one data set?")
        return spectra

    def wavelengths(self) -> np.ndarray:
        """wavelengths.csv, micron: FGS1 first, then AIRS ascending, shape (wavelength,)."""
        path = self._first_file("wavelengths.csv")
        table = self._table(path)
        if len(table) != 1 or list(table.columns) != [f"wl_{n + 1}" for n in range(table.shape[1])]:
            raise ArchiveError(path, "one row with columns wl_1, wl_2, …", f"{len(table)} rows, columns {list(table.columns[:3])}")
        wavelengths = table.iloc[0].to_numpy(float)
        if not np.isfinite(wavelengths).all() or np.any(np.diff(wavelengths) <= 0):
            raise ArchiveError(path, "ascending finite wavelengths in micron", "NaN or descending values")
        return wavelengths

    def converter(self, split: str, planet_id: str, instrument: Instrument) -> Converter:
        """Gain and offset: one row for all planets (2025) or one row a planet (2024)."""
        path = self._first_file("adc_info.csv", f"{split}_adc_info.csv")
        table = self._table(path)
        columns = [f"{instrument.name}_adc_gain", f"{instrument.name}_adc_offset"]
        if any(column not in table for column in columns):
            raise ArchiveError(path, f"columns {', '.join(columns)}", f"columns {', '.join(map(str, table.columns))}")
        row = table[table["planet_id"] == planet_id] if "planet_id" in table else table
        if len(row) != 1:
            raise ArchiveError(path, f"one row for planet {planet_id}", f"{len(row)} rows")
        gain, offset = (float(pd.to_numeric(row[column], errors="coerce").iloc[0]) for column in columns)
        if not (gain > 0 and np.isfinite(offset)):
            raise ArchiveError(path, f"a positive gain and a finite offset for planet {planet_id}", f"gain {gain}, offset {offset}")
        return Converter(gain, offset)

    # Detector files

    def read_times(self, instrument: Instrument, n_reads: int) -> tuple[np.ndarray, np.ndarray]:
        """Start of each read (h) and its integration time (s), each (time,): the first n_reads rows of axis_info."""
        path = self._first_file("axis_info.parquet")
        table = self._table(path)
        needed = [f"{instrument.name}-axis0-h"] + (["AIRS-CH0-integration_time"] if instrument is AIRS else [])
        missing = [name for name in needed if name not in table]
        if missing:
            raise ArchiveError(path, f"columns {', '.join(needed)}", f"no column {', '.join(missing)}")
        axis = table[needed[0]].dropna().to_numpy(float)
        if len(axis) < n_reads:
            raise ArchiveError(path, f"at least {n_reads} times for {instrument.name}", f"{len(axis)}")
        if instrument is AIRS:
            integration = table[needed[1]].dropna().to_numpy(float)[:n_reads]
        else:
            integration = np.tile(FGS1_INTEGRATION_TIMES, (n_reads + 1) // 2)[:n_reads]
        return axis[:n_reads], integration

    def column_wavelengths(self) -> np.ndarray:
        """Wavelength of every AIRS detector column, micron, in detector order (descending): shape (column,)."""
        table = self._table(self._first_file("axis_info.parquet"))
        return table["AIRS-CH0-axis2-um"].dropna().to_numpy(float)

    def calibration_maps(self, split: str, planet_id: str, visit: int, instrument: Instrument) -> CalibrationMaps:
        """The five maps of one visit. Raises ArchiveError for a missing file or a wrong shape."""
        folder = self._calibration_folder(split, planet_id, visit, instrument)
        shape = (instrument.rows, instrument.columns)
        linear = _read_map(folder / "linear_corr.parquet", (LINEARITY_ORDERS * instrument.rows, instrument.columns), float)
        return CalibrationMaps(
            dark=_read_map(folder / "dark.parquet", shape, float),
            flat=_read_map(folder / "flat.parquet", shape, float),
            read_noise=_read_map(folder / "read.parquet", shape, float),
            dead=_read_map(folder / "dead.parquet", shape, bool),
            linearity=linear.reshape(LINEARITY_ORDERS, *shape),
        )

    def signal(self, split: str, planet_id: str, visit: int, instrument: Instrument) -> "Signal":
        """Open the raw reads of one visit; nothing but the footer is read yet."""
        return Signal(self._signal_path(split, planet_id, visit, instrument), instrument)

    def signal_bytes(self, split: str, planet_id: str, visit: int) -> tuple[int, ...]:
        """Sizes of the visit's signal files (0 where missing): a cheap fingerprint of the input."""
        paths = [self._signal_path(split, planet_id, visit, instrument) for instrument in INSTRUMENTS.values()]
        return tuple(path.stat().st_size if path.is_file() else 0 for path in paths)

    # Names on disk

    def _planet_folder(self, split: str, planet_id: str) -> Path:
        folder = self.root / split / planet_id
        if not is_plain_name(planet_id) or not folder.is_dir():
            raise ArchiveError(folder, "a planet's folder", "no such folder")
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
        raise ArchiveError(self.root, " or ".join(names), "no such file")

    def _table(self, path: Path) -> pd.DataFrame:
        if path not in self._tables:
            self._tables[path] = _read_table(path)
        return self._tables[path]

    @staticmethod
    def _ids(table: pd.DataFrame, path: Path) -> tuple[str, ...]:
        if "planet_id" not in table:
            raise ArchiveError(path, "a column planet_id", f"columns {', '.join(map(str, table.columns[:5]))}")
        return tuple(table["planet_id"])


class Signal:
    """The raw reads of one instrument in one visit, streamed as uint16.

    n_reads: number of reads (rows of the file), even: reads come in pairs.
    """

    def __init__(self, path: Path, instrument: Instrument):
        self.path, self.instrument = path, instrument
        self._file = _open_parquet(path)
        schema = self._file.schema_arrow
        self._names = schema.names
        if len(schema.names) != instrument.pixels:
            expected = f"{instrument.pixels} pixel columns ({instrument.rows} x {instrument.columns})"
            raise ArchiveError(path, expected, f"{len(schema.names)}")
        if set(schema.types) != {pa.uint16()}:
            raise ArchiveError(path, "uint16 counts", f"columns of type {', '.join(sorted({str(t) for t in schema.types}))}")
        self.n_reads = self._file.metadata.num_rows
        if self.n_reads < 2:
            raise ArchiveError(path, "at least one pair of reads", f"{self.n_reads} rows")

    def close(self) -> None:
        self._file.close()

    def blocks(self, reads: int = 1024, columns: tuple[int, int] | None = None) -> Iterator[np.ndarray]:
        """Yield counts (time, row, column), uint16, `reads` at a time; `columns` limits the detector columns read."""
        inst = self.instrument
        first, last = columns or (0, inst.columns)
        pixels = (np.arange(inst.rows)[:, None] * inst.columns + np.arange(first, last)).ravel()
        names = self._names
        try:
            for batch in self._file.iter_batches(batch_size=reads, columns=[names[pixel] for pixel in pixels]):
                counts = np.empty((len(pixels), batch.num_rows), np.uint16)
                for pixel, column in enumerate(batch.columns):
                    if column.null_count:
                        raise ArchiveError(self.path, "counts without gaps", f"{column.null_count} nulls in {names[pixels[pixel]]}")
                    counts[pixel] = column.to_numpy()
                yield counts.T.reshape(batch.num_rows, inst.rows, last - first)
        except (pa.ArrowException, OSError) as error:
            raise ArchiveError(self.path, "a readable parquet file", f"{type(error).__name__}: {error}") from error

    def decode_series(self, pixels: np.ndarray) -> list[pa.RecordBatch]:
        """All reads of the given pixels, pixel by pixel as the file stores them, for copy_series. By one thread at a time.

        pixels  numbers in the detector, row · columns + column, ascending
        """
        names = [self._names[pixel] for pixel in pixels]
        try:
            groups = range(self._file.num_row_groups)
            return [batch for group in groups for batch in self._file.read_row_group(group, columns=names).to_batches()]
        except (pa.ArrowException, OSError) as error:
            raise ArchiveError(self.path, "a readable parquet file", f"{type(error).__name__}: {error}") from error

    def copy_series(self, batches: list[pa.RecordBatch], counts: np.ndarray) -> None:
        """Fill counts (pixel, time), uint16, with the first counts.shape[1] reads of what decode_series gave."""
        first = 0
        for batch in batches:
            rows = slice(first, min(first + batch.num_rows, counts.shape[1]))
            for pixel, column in enumerate(batch.columns):
                if column.null_count:
                    raise ArchiveError(self.path, "counts without gaps", f"{column.null_count} nulls in {batch.schema.names[pixel]}")
                counts[pixel, rows] = column.to_numpy()[: rows.stop - rows.start]
            first = rows.stop


def return_memory() -> None:
    """Let Arrow's results lie in the system's memory, which takes them back: by default it keeps some 150 MB of each visit.

    What its parquet reader needs on the way follows ARROW_DEFAULT_MEMORY_POOL=system, set before Arrow is imported.
    """
    pa.set_memory_pool(pa.system_memory_pool())


def decoding_threads() -> int:
    """Threads that Arrow decodes with, one a core unless OMP_NUM_THREADS says otherwise: the right number for others too."""
    return pa.cpu_count()


def read_spectra(path: Path | str) -> Spectra:
    """Labels from a csv of planet_id, wl_1 … wl_N. Raises ArchiveError for other columns, NaN or a planet listed twice."""
    path = Path(path)
    table = _read_table(path)
    depth = numbered_columns(table, "wl", path)
    ids = Archive._ids(table, path)
    twice = sorted({planet for planet in ids if ids.count(planet) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise ArchiveError(path, "each planet once", f"planet {', '.join(twice[:5])} more than once")
    if not np.isfinite(depth).all():
        raise ArchiveError(path, "finite depths", f"NaN for planet {ids[int(np.argwhere(~np.isfinite(depth))[0, 0])]}")
    return Spectra(ids, depth)


def numbered_columns(table: pd.DataFrame, prefix: str, path: Path) -> np.ndarray:
    """Columns prefix_1 … prefix_N of a table as floats (row, N), whatever order they stand in."""
    numbers = sorted(int(m.group(1)) for c in table.columns if (m := re.fullmatch(rf"{prefix}_(\d+)", str(c))))
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise ArchiveError(path, f"columns {prefix}_1 … {prefix}_N without a gap", f"{len(numbers)} such columns")
    return table[[f"{prefix}_{n}" for n in numbers]].apply(pd.to_numeric, errors="coerce").to_numpy(float)


# Writing: what the simulator needs


def write_signal(root: Path, split: str, planet_id: str, visit: int, instrument: Instrument, blocks: Iterable[np.ndarray]) -> Path:
    """Write uint16 blocks (time, row, column) as {instrument}_signal_{visit}.parquet, one row group per ROW_GROUP_BYTES."""
    folder = Path(root) / split / planet_id
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{instrument.name}_signal_{visit}.parquet"
    schema = pa.schema([(f"column_{n}", pa.uint16()) for n in range(instrument.pixels)])
    per_group = max(1, ROW_GROUP_BYTES // (2 * instrument.pixels))
    temporary = path.with_suffix(".partial")
    with pq.ParquetWriter(temporary, schema, compression="snappy") as writer:  # with dictionaries, as Kaggle's files
        for group in _regroup(blocks, per_group, instrument.pixels):
            writer.write_table(pa.table([pa.array(pixel) for pixel in group], schema=schema))
    os.replace(temporary, path)
    return path


def _regroup(blocks: Iterable[np.ndarray], per_group: int, pixels: int) -> Iterator[np.ndarray]:
    """Collect (time, row, column) blocks into pixel-major groups (pixel, time) of at most per_group reads."""
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        block = block.reshape(len(block), pixels)
        while count + len(block) >= per_group:
            take = per_group - count
            yield np.ascontiguousarray(np.concatenate([*held, block[:take]]).T)
            held, count, block = [], 0, block[take:]
        if len(block):
            held.append(block)
            count += len(block)
    if held:
        yield np.ascontiguousarray(np.concatenate(held).T)


def write_calibration_maps(root: Path, split: str, planet_id: str, visit: int, instrument: Instrument, maps: CalibrationMaps) -> None:
    """Write the five maps of a visit as Kaggle's parquet files."""
    folder = Path(root) / split / planet_id / f"{instrument.name}_calibration_{visit}"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "dark": maps.dark, "flat": maps.flat, "read": maps.read_noise, "dead": maps.dead,
        "linear_corr": maps.linearity.reshape(-1, instrument.columns),
    }  # fmt: skip
    for name, array in arrays.items():
        table = pa.table({f"column_{n}": column for n, column in enumerate(np.ascontiguousarray(array.T))})
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")


def write_axis(root: Path, airs_time: np.ndarray, airs_integration: np.ndarray, fgs1_time: np.ndarray, wavelengths: np.ndarray) -> None:
    """Write axis_info.parquet. Times h (time,), integration times s (time,), wavelengths of all AIRS columns micron."""
    columns = {
        f"{AIRS.name}-axis0-h": airs_time, f"{AIRS.name}-axis2-um": wavelengths,
        f"{AIRS.name}-integration_time": airs_integration, f"{FGS1.name}-axis0-h": fgs1_time,
    }  # fmt: skip
    pd.DataFrame({name: pd.Series(values) for name, values in columns.items()}).to_parquet(Path(root) / "axis_info.parquet")


def write_stars(root: Path, split: str, stars: Iterable[Star]) -> None:
    """Write {split}_star_info.csv."""
    rows = [{field.name: getattr(star, field.name) for field in fields(Star)} for star in stars]
    pd.DataFrame(rows, columns=list(_STAR_COLUMNS)).to_csv(Path(root) / f"{split}_star_info.csv", index=False)


def write_spectra(path: Path, spectra: Spectra) -> None:
    """Write planet_id, wl_1 … wl_N."""
    table = pd.DataFrame(spectra.depth, columns=[f"wl_{n + 1}" for n in range(spectra.depth.shape[1])])
    table.insert(0, "planet_id", list(spectra.planet_ids))
    table.to_csv(path, index=False)


def write_converters(root: Path, converters: dict[str, Converter]) -> None:
    """Write adc_info.csv (2025: one row for all planets); converters by instrument name."""
    row = {}
    for name, converter in converters.items():
        row[f"{name}_adc_offset"], row[f"{name}_adc_gain"] = converter.offset, converter.gain
    pd.DataFrame([row]).to_csv(Path(root) / "adc_info.csv", index=False)


def write_wavelengths(root: Path, wavelengths: np.ndarray) -> None:
    """Write wavelengths.csv, micron, (wavelength,)."""
    names = [f"wl_{n + 1}" for n in range(len(wavelengths))]
    pd.DataFrame([wavelengths], columns=names).to_csv(Path(root) / "wavelengths.csv", index=False)


# Reading one file


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ArchiveError(path, "a table", "no such file")
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"planet_id": str})
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArchiveError(path, "a readable table", f"{type(error).__name__}: {error}") from error
    if "planet_id" in table:
        table["planet_id"] = table["planet_id"].map(normalise_planet_id)
    return table


def _open_parquet(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise ArchiveError(path, "a parquet file", "no such file")
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ArchiveError(path, "a readable parquet file", f"{type(error).__name__}: {error}") from error


def _read_map(path: Path, shape: tuple[int, int], dtype: type) -> np.ndarray:
    file = _open_parquet(path)
    found = (file.metadata.num_rows, file.metadata.num_columns)
    if found != shape:
        raise ArchiveError(path, f"{shape[0]} rows x {shape[1]} columns", f"{found[0]} x {found[1]}")
    try:
        columns = file.read(use_threads=False).columns  # short ones: threads cost more than they give
        array = np.stack([column.to_numpy() for column in columns], axis=1).astype(dtype)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArchiveError(path, f"{dtype.__name__} values", f"{type(error).__name__}: {error}") from error
    return array


def _numeric_order(planet_id: str) -> tuple[int, int | str]:
    return (0, int(planet_id)) if planet_id.isdigit() else (1, planet_id)
