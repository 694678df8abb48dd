"""io.parquet and io.signal: pixels are matched to columns by name, other types and orders are read or refused."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.instrument import FGS1
from ariel_lib.io.parquet import read_columns, read_map
from ariel_lib.io.signal import Signal

COUNTS = np.random.default_rng(0).integers(0, 2**16, (6, FGS1.pixels), dtype=np.uint16)
MAP = np.random.default_rng(1).random((32, 32))


def frame(values, columns="column_{}"):
    return pd.DataFrame(values, columns=[columns.format(n) for n in range(values.shape[1])])


def read_all(path):
    signal = Signal(path, FGS1)
    by_time = np.concatenate(list(signal.blocks(4))).reshape(len(COUNTS), -1)
    some = np.array([3, 20, 100, 1023])
    series = np.empty((len(some), len(COUNTS)), np.uint16)
    signal.copy_series(signal.decode_series(some), series)
    assert (series == by_time[:, some].T).all()
    return by_time


@pytest.mark.parametrize("names", ["column_{}", "{}"])
def test_columns_sorted_as_text_are_read_by_name(tmp_path, names):
    table, flat = frame(COUNTS, names), frame(MAP, names)
    table[sorted(table)].to_parquet(tmp_path / "signal.parquet")
    flat[sorted(flat)].to_parquet(tmp_path / "flat.parquet")
    assert (read_all(tmp_path / "signal.parquet") == COUNTS).all()
    assert (read_map(tmp_path / "flat.parquet", MAP.shape, float) == MAP).all()


def test_some_columns_of_sorted_pixels_are_in_detector_order(tmp_path):
    table = frame(COUNTS)
    table[table.columns[::-1]].to_parquet(tmp_path / "signal.parquet")
    (block,) = Signal(tmp_path / "signal.parquet", FGS1).blocks(100, columns=(5, 9))
    assert (block == COUNTS.reshape(-1, 32, 32)[:, :, 5:9]).all()


def test_a_stored_index_is_left_out_and_must_ascend(tmp_path):
    path, index = tmp_path / "signal.parquet", pd.Index([2, 3, 5, 7, 8, 9])
    for name in (None, "time"):
        frame(COUNTS).set_index(index.rename(name)).to_parquet(path)
        assert (read_all(path) == COUNTS).all()
        frame(COUNTS).set_index(index[::-1].rename(name)).to_parquet(path)
        with pytest.raises(ArchiveError, match=r"signal.parquet: .*index of pandas that does not ascend.*sort_index"):
            Signal(path, FGS1)
    frame(COUNTS)[::-1].to_parquet(path)
    with pytest.raises(ArchiveError, match="does not ascend"):
        Signal(path, FGS1)
    frame(MAP).set_index(pd.Index(range(32, 0, -1))).to_parquet(tmp_path / "flat.parquet")
    with pytest.raises(ArchiveError, match=r"flat.parquet: .*does not ascend"):
        read_map(tmp_path / "flat.parquet", MAP.shape, float)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("column_7", "column_1024", "no column_7, but column_1024"),
        ("column_7", "7", None),
        ("column_7", "8", "column_8 more than once"),
        ("column_7", "column_07", "a column 'column_07'"),
        ("column_7", "time", "a column 'time'"),
    ],
)
def test_gaps_repeats_and_foreign_names_are_refused(tmp_path, old, new, message):
    frame(COUNTS).rename(columns={old: new}).to_parquet(tmp_path / "signal.parquet")
    if message is None:
        assert (read_all(tmp_path / "signal.parquet") == COUNTS).all()
        return
    with pytest.raises(ArchiveError, match=rf"signal.parquet: expected columns column_0 … column_1023, each once, found {message}"):
        Signal(tmp_path / "signal.parquet", FGS1)


@pytest.mark.parametrize("kind", ["int64", "int16", "float32", "bool"])
def test_counts_of_another_type_are_refused_with_the_remedy(tmp_path, kind):
    frame(COUNTS.astype(kind)).to_parquet(tmp_path / "signal.parquet")
    with pytest.raises(ArchiveError, match=r"uint16 counts, found columns of type .*astype\('uint16'\)"):
        Signal(tmp_path / "signal.parquet", FGS1)


def test_maps_are_numbers_and_dead_pixels_true_or_false(tmp_path):
    path = tmp_path / "map.parquet"
    frame((MAP > 0.9).astype(np.int8)).to_parquet(path)
    assert (read_map(path, MAP.shape, bool) == (MAP > 0.9)).all()
    frame((100 * MAP).astype(np.int32)).to_parquet(path)
    assert (read_map(path, MAP.shape, float) == (100 * MAP).astype(int)).all()
    gap = MAP.copy()
    gap[3, 4] = np.nan
    frame(gap).to_parquet(path)
    assert np.isnan(read_map(path, MAP.shape, float)).sum() == 1  # a bad pixel
    nullable = frame(MAP > 0.9).astype("boolean")
    nullable.iloc[3, 4] = pd.NA
    for values, kind in ((nullable, bool), (frame(MAP), bool), (frame((9 * MAP).astype(int)), bool), (frame(MAP).astype(str), float)):
        values.to_parquet(path)
        with pytest.raises(ArchiveError, match=r"map.parquet: expected"):
            read_map(path, MAP.shape, kind)


def test_a_repeated_column_of_a_table_is_refused(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array([1.0])] * 2, names=["x", "x"]), tmp_path / "table.parquet")
    with pytest.raises(ArchiveError, match="x more than once"):
        read_columns(tmp_path / "table.parquet")
