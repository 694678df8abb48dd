"""ariel_lib.io.tables and layout: decimals are read to the last bit, planet ids are text in numeric order."""

import bz2
import gzip
import re
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.io import writer
from ariel_lib.io.layout import Spectra, numeric_order
from ariel_lib.io.tables import as_numbers, read_csv, read_spectra, read_table

ROOT = Path(__file__).parents[2]


def test_what_is_written_comes_back_bit_by_bit(tmp_path):
    depth = np.random.default_rng(0).uniform(0.01, 0.02, (3, 500))
    writer.write_spectra(tmp_path / "train.csv", Spectra(("007", "8", "x"), depth))
    found = read_spectra(tmp_path / "train.csv")
    assert found.planet_ids == ("007", "8", "x")
    np.testing.assert_array_equal(found.depth, depth)


def test_more_digits_than_a_double_holds_give_the_nearest_one(tmp_path):
    texts = ["0.01468912345678901234567", "1.7976931348623157e308", "4.9406564584124654e-324", "0.1000000000000000055511151231257827"]
    (tmp_path / "table.csv").write_text("planet_id,value\n" + "".join(f"01,{text}\n" for text in texts))
    table = read_table(tmp_path / "table.csv")
    assert list(table["value"]) == [float(text) for text in texts] and set(table["planet_id"]) == {"01"}
    assert list(read_csv(tmp_path / "table.csv")["value"]) == texts


def test_planet_ids_sort_by_value_and_before_names():
    ids = ["10", "9", "a", "²", "100", "٣"]  # a superscript is no number, an Arabic digit is
    assert sorted(ids, key=numeric_order) == ["٣", "9", "10", "100", "a", "²"]


def test_every_decimal_of_a_table_is_the_nearest_double(tmp_path):
    texts = [f"{value:.17g}" for value in np.random.default_rng(1).uniform(0.001, 0.03, 2000)]
    rows = "".join(f"{n},{text},{text}\n" for n, text in enumerate(texts))
    (tmp_path / "table.csv").write_text(f"planet_id,value,other\n{rows}9,,x\n")
    table = read_table(tmp_path / "table.csv")
    assert table["value"].tolist()[:-1] == [float(text) for text in texts] and np.isnan(table["value"].iloc[-1])
    assert as_numbers(table["other"])[:-1].tolist() == [float(text) for text in texts]  # beside text as well


def test_no_other_reader_of_csv_is_used():
    pattern = re.compile(r"(?:pd|pandas)\s*\.\s*read_(?:csv|table|fwf)|import\s+read_csv|np\.(?:loadtxt|genfromtxt)|pd\.to_numeric")
    paths = [path for folder in ("ariel_lib", "kernels", "benchmarks", "docs") for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 150
    assert [path.name for path in paths if pattern.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("compress", [gzip.compress, lambda content: zipped({"train.csv": content, "__MACOSX/._train.csv": b"x"})])
def test_gzip_and_zip_are_read_by_content(tmp_path, compress):
    content = b"planet_id,wl_1\n7,0.25\n"
    for name in ("train.csv", "train.csv.gz", "train.csv.zip"):
        for written in (content, compress(content)):
            (tmp_path / name).write_bytes(written)
            assert read_spectra(tmp_path / name).depth.tolist() == [[0.25]]
    (tmp_path / "cut.csv.gz").write_bytes(compress(content)[:-9])
    with pytest.raises(ArchiveError, match=r"cut.csv.gz: expected a whole gzip or zip file"):
        read_spectra(tmp_path / "cut.csv.gz")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"), (b"\n,,\n", "an empty file"), (b"\xff\xfea\x00", "UnicodeDecodeError"),
        (bz2.compress(b"a,b\n1,2\n"), "csv table"),
        (b"planet_id,wl_1\n1\n", "1 cells in row 2"), (b"planet_id,wl_1,wl_1\n1,2,3\n", "'wl_1' more than once"),
        (b"planet_id,wl_1,\n1,2,x\n", "none for column 3"), (b"planet_id,wl_1\n,2\n", "none in 1 of 1 rows"),
        (b"planet_id,wl_1\n1,0.\x002\n", "zero bytes"),
        (b"planet,wl_1\n1,2\n", "columns planet, wl_1"), (b"x" * 99 + b",wl_1\n1,2\n", f"columns {'x' * 40}, wl_1"),
        (b"planet_id;wl_1\n1;0,2\n", "commas between the cells, found semicolons"), (b"planet_id\twl_1\n1\t2\n", "found tabs"),
        (b'planet_id,wl_1\n"1"x,2\n', "csv table"), (b"planet_id,wl_1\n1,\n", "NaN for planet 1, wl_1"),
        (b"planet_id,wl_01\n1,2\n", "0 such columns"),
        (b"PK\x03\x04 nothing", "a whole gzip or zip file"), (b"\x1f\x8b nothing", "a whole gzip or zip file"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_one_line_that_names_the_file(tmp_path, content, found):
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(ArchiveError, match=f"train.csv: expected .*{found}") as caught:
        read_spectra(tmp_path / "train.csv")
    assert "\n" not in str(caught.value)


def test_a_zip_with_several_tables_is_refused(tmp_path):
    (tmp_path / "train.csv.zip").write_bytes(zipped({"a.csv": b"x", "b.csv": b"x"}))
    with pytest.raises(ArchiveError, match="2 files"):
        read_spectra(tmp_path / "train.csv.zip")


def zipped(members):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return buffer.getvalue()
