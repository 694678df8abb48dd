"""Parquet files of a data set: tables, and detector files with one column a pixel, which are matched to the detector by name."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ariel_lib.errors import ArchiveError
from ariel_lib.io.checksums import read_noting

INDEX = re.compile(r"__index_level_\d+__")  # pandas' name for an index without one
PIXEL = re.compile(r"(?:column_)?(0|[1-9][0-9]*)")


def open_parquet(path: Path, digests: dict[Path, str] | None = None) -> pq.ParquetFile:
    """Open a Parquet file. Raises ArchiveError where it is missing or damaged.

    digests  path → SHA-256: the file is read into memory at once and its digest added; None: it is read in parts, when they are wanted
    """
    if not path.is_file():
        raise ArchiveError(path, "a parquet file", "no such file")
    try:
        whole = digests is not None  # given a path, pyarrow takes UTF-8 only
        file = pq.ParquetFile(pa.BufferReader(read_noting(path, digests)) if whole else pa.OSFile(os.fsencode(path), "rb"))
        file.schema_arrow.names  # noqa: B018 (decoded here: UnicodeDecodeError)
        return file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ArchiveError(path, "a readable parquet file", f"{type(error).__name__}: {error}") from error


def read_columns(path: Path, digests: dict[Path, str] | None = None) -> pd.DataFrame:
    """A Parquet table by column name, rows in file order. Raises ArchiveError where it is damaged or a name is repeated.

    digests  as for open_parquet
    """
    with open_parquet(path, digests) as file:
        names = file.schema_arrow.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ArchiveError(path, "each column once", f"{', '.join(twice[:5])} more than once")
        return _to_pandas(_read(file, path), path)


def pixel_columns(file: pq.ParquetFile, path: Path, shape: tuple[int, int]) -> list[str]:
    """Names of the pixel columns of a detector file, by pixel: column_0, column_1 … (or 0, 1 …), wherever they stand in the file.

    shape  (rows, columns) of what the columns are: of the detector for a signal, (1, columns) for a map

    An index that pandas stored as a column is left out. Raises ArchiveError for other names, repeated or missing ones, and where
    the stored index says that the rows are in another order than that of time or detector rows.
    """
    index = _stored_index(file, path)
    names = [name for name in file.schema_arrow.names if name not in index]
    pixels = shape[0] * shape[1]
    if len(names) != pixels:
        expected = f"{pixels} pixel columns" + (f" ({shape[0]} x {shape[1]})" if shape[0] > 1 else "")
        raise ArchiveError(path, expected, f"{len(names)}")
    numbers = [int(match[1]) if (match := PIXEL.fullmatch(name)) else -1 for name in names]
    expected, remedy = f"columns column_0 … column_{pixels - 1}, each once", "Columns are matched to pixels by name."
    if -1 in numbers:
        raise ArchiveError(path, expected, f"a column {names[numbers.index(-1)]!r}", remedy)
    if repeated := sorted({number for number in numbers if numbers.count(number) > 1} if len(set(numbers)) < pixels else ()):
        raise ArchiveError(path, expected, f"column_{repeated[0]} more than once", remedy)
    if gaps := set(range(pixels)) - set(numbers):
        raise ArchiveError(path, expected, f"no column_{min(gaps)}, but column_{max(numbers)}", remedy)
    return [names[n] for n in np.argsort(numbers)]


def read_map(path: Path, shape: tuple[int, int], dtype: type, digests: dict[Path, str] | None = None) -> np.ndarray:
    """Read a calibration map (row, column), float or bool. Raises ArchiveError for another shape or type.

    digests  as for open_parquet
    """
    with open_parquet(path, digests) as file:
        names = pixel_columns(file, path, (1, shape[1]))
        if file.metadata.num_rows != shape[0]:
            raise ArchiveError(path, f"{shape[0]} rows x {shape[1]} columns", f"{file.metadata.num_rows} x {len(names)}")
        table = _read(file, path).select(names)
    number = pa.types.is_floating if dtype is float else pa.types.is_boolean
    foreign = sorted({str(kind) for kind in table.schema.types if not (number(kind) or pa.types.is_integer(kind))})
    if foreign:
        raise ArchiveError(path, f"{dtype.__name__} values", f"columns of type {', '.join(foreign)}")
    array = np.stack([column.to_numpy() for column in table.columns], axis=1)  # nulls become NaN or None
    if dtype is bool and not np.isin(array, (0, 1)).all():
        raise ArchiveError(path, "true or false for each pixel", "nulls or numbers other than 0 and 1")
    return array.astype(dtype)


def _stored_index(file: pq.ParquetFile, path: Path) -> set[str]:
    """Columns that hold an index of pandas. Raises ArchiveError where it does not ascend: the rows were sorted otherwise."""
    schema = file.schema_arrow
    try:
        stored = (schema.pandas_metadata or {}).get("index_columns", [])
    except ValueError as error:
        raise ArchiveError(path, "metadata of pandas, if any, in JSON", str(error)) from error
    ranges = [entry for entry in stored if isinstance(entry, dict)]
    columns = {entry for entry in stored if isinstance(entry, str)} | {name for name in schema.names if INDEX.fullmatch(name)}
    columns &= set(schema.names)
    descends = any(entry.get("step", 1) < 0 for entry in ranges)
    for name in columns:
        values = _to_pandas(_read(file, path, [name]), path)[name]
        descends |= not values.is_monotonic_increasing
    if descends:
        remedy = "Apply sort_index() before it is written."
        raise ArchiveError(path, "rows in their original order", "an index of pandas that does not ascend", remedy)
    return columns


def _read(file: pq.ParquetFile, path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return file.read(columns, use_threads=False)  # columns are short: threads would be slower
    except (pa.ArrowException, OSError) as error:
        raise ArchiveError(path, "a readable parquet file", f"{type(error).__name__}: {error}") from error


def _to_pandas(table: pa.Table, path: Path) -> pd.DataFrame:
    """Columns as they are: the metadata of pandas would make some of them an index, and may be damaged."""
    try:
        return table.replace_schema_metadata(None).to_pandas()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ArchiveError(path, "a readable parquet file", f"{type(error).__name__}: {error}") from error
