"""Writer of data sets in Kaggle's layout, for the simulator."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ariel_lib.instrument import AIRS, FGS1, Instrument
from ariel_lib.io.layout import STAR_COLUMNS, CalibrationMaps, Converter, Spectra, Star
from ariel_lib.io.storage import atomic_path, write_atomically

ROW_GROUP_BYTES = 280_000_000  # a full visit is one row group (FGS1: 276 MB); limits the memory of streaming readers and writers


def write_signal(root: Path, split: str, planet_id: str, visit: int, instrument: Instrument, blocks: Iterable[np.ndarray]) -> Path:
    """Write uint16 blocks (time, row, column) as {instrument}_signal_{visit}.parquet, one row group per ROW_GROUP_BYTES."""
    path = Path(root) / split / planet_id / f"{instrument.name}_signal_{visit}.parquet"
    schema = pa.schema([(f"column_{n}", pa.uint16()) for n in range(instrument.pixels)])
    per_group = max(1, ROW_GROUP_BYTES // (2 * instrument.pixels))
    # snappy with dictionaries, as Kaggle's files
    with atomic_path(path) as temporary, temporary.open("wb") as file, pq.ParquetWriter(file, schema, compression="snappy") as writer:
        for group in _regroup(blocks, per_group, instrument.pixels):
            writer.write_table(pa.table([pa.array(pixel) for pixel in group], schema=schema))
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
    """Write the five calibration maps of a visit."""
    folder = Path(root) / split / planet_id / f"{instrument.name}_calibration_{visit}"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "dark": maps.dark, "flat": maps.flat, "read": maps.read_noise, "dead": maps.dead,
        "linear_corr": maps.linearity.reshape(-1, instrument.columns),
    }  # fmt: skip
    for name, array in arrays.items():
        table = pa.table({f"column_{n}": column for n, column in enumerate(np.ascontiguousarray(array.T))})
        with (folder / f"{name}.parquet").open("wb") as file:  # given a path, pyarrow takes UTF-8 only
            pq.write_table(table, file, compression="zstd")


def write_axis(root: Path, airs_time: np.ndarray, airs_integration: np.ndarray, fgs1_time: np.ndarray, wavelengths: np.ndarray) -> None:
    """Write axis_info.parquet. Times (time,) h, integration times (time,) s, wavelengths of all AIRS columns (column,) micron."""
    columns = {
        f"{AIRS.name}-axis0-h": airs_time, f"{AIRS.name}-axis2-um": wavelengths,
        f"{AIRS.name}-integration_time": airs_integration, f"{FGS1.name}-axis0-h": fgs1_time,
    }  # fmt: skip
    with atomic_path(Path(root) / "axis_info.parquet") as temporary, temporary.open("wb") as file:
        pd.DataFrame({name: pd.Series(values) for name, values in columns.items()}).to_parquet(file)


def write_stars(root: Path, split: str, stars: Iterable[Star]) -> None:
    """Write {split}_star_info.csv."""
    rows = [{field.name: getattr(star, field.name) for field in fields(Star)} for star in stars]
    write_csv(Path(root) / f"{split}_star_info.csv", pd.DataFrame(rows, columns=list(STAR_COLUMNS)))


def write_spectra(path: Path, spectra: Spectra) -> None:
    """Write a CSV with columns planet_id, wl_1 … wl_N."""
    table = pd.DataFrame(spectra.depth, columns=[f"wl_{n + 1}" for n in range(spectra.depth.shape[1])])
    table.insert(0, "planet_id", list(spectra.planet_ids))
    write_csv(path, table)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index, atomically."""
    write_atomically(path, table.to_csv(index=False))


def write_converters(root: Path, converters: dict[str, Converter]) -> None:
    """Write adc_info.csv (2025: one row for all planets); converters by instrument name."""
    row = {}
    for name, converter in converters.items():
        row[f"{name}_adc_offset"], row[f"{name}_adc_gain"] = converter.offset, converter.gain
    write_csv(Path(root) / "adc_info.csv", pd.DataFrame([row]))


def write_wavelengths(root: Path, wavelengths: np.ndarray) -> None:
    """Write wavelengths.csv, micron, (wavelength,)."""
    names = [f"wl_{n + 1}" for n in range(len(wavelengths))]
    write_csv(Path(root) / "wavelengths.csv", pd.DataFrame([wavelengths], columns=names))
