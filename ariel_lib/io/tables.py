"""Reading the tables of a data set, CSV and Parquet, with planet ids as text. Malformed tables raise ArchiveError."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ariel_lib.errors import ArchiveError
from ariel_lib.io.layout import Spectra, normalise_planet_id

# pandas before 3.1 reads most decimals one bit off unless told otherwise; 3.1 reads the nearest double and deprecates the option.
EXACT = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}


def read_csv(path: Path | str, **options) -> pd.DataFrame:
    """A csv by pandas: planet_id as text, every decimal as the nearest double. Raises OSError or ValueError for no table."""
    return pd.read_csv(path, **({"dtype": {"planet_id": str}} | EXACT | options))


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or Parquet table, with the column planet_id, if there is one, as text. Raises ArchiveError."""
    if not path.is_file():
        raise ArchiveError(path, "a table", "no such file")
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else read_csv(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArchiveError(path, "a readable table", f"{type(error).__name__}: {error}") from error
    if "planet_id" in table:
        table["planet_id"] = table["planet_id"].map(normalise_planet_id)
    return table


def read_spectra(path: Path | str) -> Spectra:
    """Read spectra from a CSV with columns planet_id, wl_1 … wl_N. Raises ArchiveError for other columns, NaN or a repeated planet."""
    path = Path(path)
    table = read_table(path)
    depth = numbered_columns(table, "wl", path)
    ids = planet_ids_of(table, path)
    twice = sorted({planet for planet in ids if ids.count(planet) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise ArchiveError(path, "each planet once", f"planet {', '.join(twice[:5])} more than once")
    if not np.isfinite(depth).all():
        raise ArchiveError(path, "finite depths", f"NaN for planet {ids[int(np.argwhere(~np.isfinite(depth))[0, 0])]}")
    return Spectra(ids, depth)


def planet_ids_of(table: pd.DataFrame, path: Path) -> tuple[str, ...]:
    """The column planet_id of a table, in file order. Raises ArchiveError without one."""
    if "planet_id" not in table:
        raise ArchiveError(path, "a column planet_id", f"columns {', '.join(map(str, table.columns[:5]))}")
    return tuple(table["planet_id"])


def numbered_columns(table: pd.DataFrame, prefix: str, path: Path) -> np.ndarray:
    """Columns prefix_1 … prefix_N of a table, in any order, as floats (row, N). Raises ArchiveError for a gap."""
    numbers = sorted(int(m.group(1)) for c in table.columns if (m := re.fullmatch(rf"{prefix}_(\d+)", str(c))))
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise ArchiveError(path, f"columns {prefix}_1 … {prefix}_N without a gap", f"{len(numbers)} such columns")
    return table[[f"{prefix}_{n}" for n in numbers]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
