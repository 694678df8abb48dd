"""ariel_lib.io.tables and layout: decimals are read to the last bit, planet ids are text in numeric order."""

import numpy as np

from ariel_lib.io import writer
from ariel_lib.io.layout import Spectra, numeric_order
from ariel_lib.io.tables import read_csv, read_spectra, read_table


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
    assert list(read_csv(tmp_path / "table.csv", dtype=str)["value"]) == texts


def test_planet_ids_sort_by_value_and_before_names():
    ids = ["10", "9", "a", "²", "100", "٣"]  # a superscript is no number, an Arabic digit is
    assert sorted(ids, key=numeric_order) == ["٣", "9", "10", "100", "a", "²"]
