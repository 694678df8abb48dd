"""Reading the tables of a data set, CSV and Parquet, with planet ids as text. Malformed tables raise ArchiveError.

Every csv that the library reads passes through read_csv. Its cells are text; as_number gives the nearest double of one, which the
readers of pandas do on some versions only.
"""

import csv
import gzip
import re
import zipfile
import zlib
from collections.abc import Iterable
from io import BytesIO, StringIO
from numbers import Real
from pathlib import Path

import numpy as np
import pandas as pd

from ariel_lib.errors import ArchiveError
from ariel_lib.io.checksums import read_noting
from ariel_lib.io.layout import Spectra, is_hidden, normalise_planet_id
from ariel_lib.io.parquet import read_columns

MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none"}  # a missing value, in lower case
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}  # of csv tables that are none
ROW_NUMBERS = re.compile(r"(?:Unnamed: ?\d+)?")  # name of the column in which pandas writes its index


def read_csv(path: Path | str, error: type[ArchiveError] = ArchiveError, digests: dict[Path, str] | None = None) -> pd.DataFrame:
    """A csv in UTF-8, plain or compressed by gzip or zip, cell by cell as text.

    digests  path → SHA-256, to which the file's is added

    Left out are empty rows and columns of row numbers, as DataFrame.to_csv writes them without index=False.
    Raises `error` for a file that cannot be read, rows of another length than the header, repeated or missing column names.
    """
    path = Path(path)
    if not path.is_file():
        raise error(path, "a csv table", "no such file", "Check the path.")
    try:
        text = _content(path, error, digests).decode("utf-8-sig")
        rows = [[cell.strip() for cell in row] for row in csv.reader(StringIO(text, newline=""), skipinitialspace=True, strict=True)]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise error(path, "a csv table in UTF-8", f"{type(fault).__name__}: {fault}", "Write it again.") from fault
    if "\0" in text:
        raise error(path, "a csv table", "zero bytes, as in a damaged file", "Write it again.")
    rows = [(line, row) for line, row in enumerate(rows, 1) if any(row)]
    if not rows:
        raise error(path, "a csv table", "an empty file", "Write it again.")
    header, body = rows[0][1], rows[1:]
    if len(header) == 1 and (others := [name for mark, name in SEPARATORS.items() if mark in header[0]]):
        raise error(path, "commas between the cells", others[0], "Write it again with commas, and with points in the numbers.")
    for line, row in body:
        if len(row) != len(header):
            found = f"{len(row)} cells in row {line}"
            raise error(path, f"{len(header)} cells in every row, as in the header", found, "Look for missing or surplus commas.")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise error(path, "each column once", f"{twice[0]!r} more than once", "Keep one of each.")
    table = pd.DataFrame({name: pd.Series([row[n] for _, row in body], dtype=object) for n, name in enumerate(header)})
    for name in [name for name in header if ROW_NUMBERS.fullmatch(name)]:
        if not all(cell == "" or re.fullmatch(r"[0-9]+", cell) for cell in table.pop(name)):
            raise error(path, "a name for every column", f"none for column {1 + header.index(name)}", "Name it or remove it.")
    return table[(table != "").any(axis=1)].reset_index(drop=True)  # a numbered row may be empty as well


def _content(path: Path, error: type[ArchiveError], digests: dict[Path, str] | None) -> bytes:
    """Bytes of a file, decompressed where they are gzip or zip, whatever its name is."""
    content = read_noting(path, digests)
    try:
        if content.startswith(b"\x1f\x8b"):
            return gzip.decompress(content)
        if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            with zipfile.ZipFile(BytesIO(content)) as bundle:
                members = [m for m in bundle.infolist() if not m.is_dir() and not any(map(is_hidden, Path(m.filename).parts))]
                if len(members) != 1 or members[0].flag_bits & 1:
                    found = "an encrypted one" if len(members) == 1 else f"{len(members)} files"
                    raise error(path, "one csv table in the zip file", found, "Unpack it.")
                return bundle.read(members[0])
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as fault:
        raise error(path, "a whole gzip or zip file", f"{type(fault).__name__}: {fault}", "Write or download it again.") from fault
    return content


def as_number(cell: object) -> float:
    """The nearest double of a cell; NaN for a missing value and for what is no number."""
    if isinstance(cell, str):
        try:
            return np.nan if "_" in cell else float(cell)  # Python reads 1_000 as a number
        except ValueError:
            return np.nan
    return float(cell) if isinstance(cell, Real) else np.nan


def as_numbers(cells: Iterable[object]) -> np.ndarray:
    """as_number of each cell, (cell,)."""
    if isinstance(cells, pd.Series) and pd.api.types.is_numeric_dtype(cells):
        return cells.to_numpy(dtype=float, na_value=np.nan)
    return np.array([as_number(cell) for cell in cells], dtype=float)


def present(cells: pd.Series) -> np.ndarray:
    """Which cells of a column hold a value, (cell,): neither null nor a text that stands for a missing value, such as "nan"."""
    return cells.notna().to_numpy() & np.array([not (isinstance(cell, str) and cell.strip().lower() in MISSING) for cell in cells], bool)


def read_table(path: Path, digests: dict[Path, str] | None = None) -> pd.DataFrame:
    """Read a CSV or Parquet table: planet_id, if there is one, as text, other columns as floats unless text is in them.

    digests  path → SHA-256, to which the file's is added

    Raises ArchiveError.
    """
    if path.suffix == ".parquet":
        table = read_columns(path, digests)
    else:
        table = read_csv(path, digests=digests)
        for name in table.columns.drop("planet_id", errors="ignore"):
            numbers = as_numbers(table[name])
            if all(table[name][row].lower() in MISSING for row in np.flatnonzero(np.isnan(numbers))):
                table[name] = numbers
    if "planet_id" in table:
        missing = table["planet_id"].isna() | (table["planet_id"] == "")
        if missing.any():
            raise ArchiveError(path, "a planet_id in every row", f"none in {missing.sum()} of {len(table)} rows")
        table["planet_id"] = pd.Series([normalise_planet_id(value) for value in table["planet_id"]], table.index, dtype=object)
    return table


def read_spectra(path: Path | str, digests: dict[Path, str] | None = None) -> Spectra:
    """Read spectra from a CSV with columns planet_id, wl_1 … wl_N. Raises ArchiveError for other columns, NaN, a repeated or no planet.

    digests  path → SHA-256, to which the file's is added
    """
    path = Path(path)
    table = read_table(path, digests)
    depth = numbered_columns(table, "wl", path)
    ids = planet_ids_of(table, path)
    if not ids:
        raise ArchiveError(path, "a spectrum of at least one planet", "no row")
    require_distinct(ids, path)
    if not np.isfinite(depth).all():
        row, column = np.argwhere(~np.isfinite(depth))[0]
        raise ArchiveError(path, "finite depths", f"NaN for planet {ids[row]}, wl_{column + 1} (a gap, text or infinity)")
    return Spectra(ids, depth)


def require_distinct(ids: tuple[str, ...], path: Path, error: type[ArchiveError] = ArchiveError) -> None:
    """Raise `error` for a planet that is listed more than once."""
    seen: set[str] = set()
    if twice := sorted({planet for planet in ids if planet in seen or seen.add(planet)}):
        raise error(path, "each planet once", f"planet {', '.join(twice[:5])} more than once", "Keep one row for each.")


def planet_ids_of(table: pd.DataFrame, path: Path) -> tuple[str, ...]:
    """The column planet_id of a table, in file order. Raises ArchiveError without one."""
    if "planet_id" not in table:
        raise ArchiveError(path, "a column planet_id", f"columns {', '.join(str(name)[:40] for name in table.columns[:5])}")
    return tuple(table["planet_id"])


def numbered_columns(table: pd.DataFrame, prefix: str, path: Path, error: type[ArchiveError] = ArchiveError) -> np.ndarray:
    """Columns prefix_1 … prefix_N of a table, in any order, as floats (row, N), NaN for text. Raises `error` for a gap."""
    numbers = sorted(int(m[1]) for name in table.columns if (m := re.fullmatch(rf"{prefix}_([1-9][0-9]*)", str(name))))
    if not numbers or numbers[-1] != len(numbers):
        found = f"{len(numbers)} such columns" + (f", the last {prefix}_{numbers[-1]}" if numbers else "")
        raise error(path, f"columns {prefix}_1 … {prefix}_N without a gap", found, "Keep the columns of the challenge's files.")
    return np.stack([as_numbers(table[f"{prefix}_{n}"]) for n in numbers], axis=1)
