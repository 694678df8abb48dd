"""Tables that all visits of a data set share: one that no visit can use is one error for the whole run."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.instrument import AIRS, FGS1, INSTRUMENTS, airs_wavelengths, spectrum_wavelengths
from ariel_lib.io import writer
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import Converter

READS = 10


def counts(instrument):
    return np.full((READS, instrument.rows, instrument.columns), 900, dtype=np.uint16)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The signals of planet 12, two visits, and the tables that they share."""
    root = tmp_path_factory.mktemp("archive")
    for visit, instrument in ((visit, instrument) for visit in (0, 1) for instrument in INSTRUMENTS.values()):
        writer.write_signal(root, "train", "12", visit, instrument, [counts(instrument)])
    writer.write_axis(root, np.arange(READS) / 1500, np.tile([0.1, 4.5], READS // 2), np.arange(READS) / 18000, airs_wavelengths())
    writer.write_converters(root, {FGS1.name: Converter(0.5, -900.0), AIRS.name: Converter(0.4, -1000.0)})
    writer.write_wavelengths(root, spectrum_wavelengths())
    return root


def damage_axis(root, **changes):
    path = root / "axis_info.parquet"
    table = pd.read_parquet(path)
    for name, change in changes.items():
        column = {"airs": "AIRS-CH0-axis0-h", "fgs1": "FGS1-axis0-h", "columns": "AIRS-CH0-axis2-um"}[name]
        values = change(table[column].dropna().to_numpy())
        table[column] = pd.Series(values)
    table.to_parquet(path)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"airs": lambda t: 3600 * t}, "AIRS-CH0-axis0-h: .* that would fit seconds"), ({"fgs1": lambda t: 1.2 * t}, "on one clock"),
        ({"fgs1": lambda t: t[:-2]}, f"FGS1-axis0-h: {READS} ascending times .* found {READS - 2} times"),
        ({"columns": lambda um: um[::-1]}, "AIRS-CH0-axis2-um: wl_283 … wl_2 .* from 1.98"),
        ({"columns": lambda um: 1000 * um}, "AIRS-CH0-axis2-um: wl_283 … wl_2 of wavelengths.csv, micron"),
        ({"columns": lambda um: np.append(um[1:], 1.6)}, "AIRS-CH0-axis2-um: wl_283 … wl_2 of wavelengths.csv, micron"),
    ],
)  # fmt: skip
def test_an_axis_of_no_use_for_any_visit_is_one_error(data, tmp_path, changes, found):
    root = copy_of(data, tmp_path)
    Archive(root).require_shared_tables("train")
    damage_axis(root, **changes)
    with pytest.raises(ArchiveError, match=rf"axis_info.parquet: expected .*{found}"):
        Archive(root).require_shared_tables("train")


def test_a_converter_of_no_use_for_any_visit_is_one_error(data, tmp_path):
    root = copy_of(data, tmp_path)
    (root / "adc_info.csv").write_text("FGS1_adc_gain,FGS1_adc_offset,AIRS-CH0_adc_gain,AIRS-CH0_adc_offset\n0.4,-1000,-0.4,-1000\n")
    with pytest.raises(ArchiveError, match=r"adc_info.csv: expected a positive, finite gain .* found gain -0.4"):
        Archive(root).require_shared_tables("train")


def test_an_axis_that_fits_one_visit_is_of_use(data, tmp_path):
    root = copy_of(data, tmp_path)
    for instrument in INSTRUMENTS.values():
        writer.write_signal(root, "train", "12", 1, instrument, [counts(instrument)[:6]])
        writer.write_signal(root, "train", "7", 0, instrument, [counts(instrument)[:6]])
    Archive(root).require_shared_tables("train")


def copy_of(data, folder):
    return Path(shutil.copytree(data, folder / "data"))
