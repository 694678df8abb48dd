"""io.time_axis: every axis that is not ascending hours at the instrument's cadence is one error that names axis_info.parquet."""

import numpy as np
import pandas as pd
import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.instrument import AIRS, FGS1, airs_wavelengths
from ariel_lib.io.archive import Archive
from ariel_lib.io.light_curves import LightCurve, LightCurves
from ariel_lib.io.time_axis import clock_remark
from ariel_lib.io.writer import write_axis
from ariel_lib.simulator.visit import read_times

READS = 40


def change(values, what):
    values = values.copy()
    if what == "unsorted":
        values[[7, 8]] = values[[8, 7]]
    if what in ("nan", "inf"):
        values[5] = float(what)
    return {
        "seconds": 3600 * values, "minutes": 60 * values, "days": values / 24, "constant": np.full_like(values, 3.0),
        "descending": values[::-1], "float32 BJD": (2_459_000 + values / 24).astype(np.float32), "BJD": 2_459_000 + values / 24,
        "long": np.append(values, values[-1] + 1e-3), "short": values[:-1], "text": np.array(["x"] * len(values)),
        "empty": values[:0], "stretched": 1.1 * values, "slow in the middle": values + 0.1 * values[-1] * (values > values[READS // 2]),
    }.get(what, values)  # fmt: skip


def write(root, instrument, what):
    times = {each.name: read_times(each, READS) for each in (AIRS, FGS1)}
    times[instrument.name] = change(times[instrument.name], what)
    write_axis(root, times[AIRS.name], np.tile([0.1, 4.5], READS // 2), times[FGS1.name], airs_wavelengths())
    return Archive(root)


@pytest.mark.parametrize("instrument", [AIRS, FGS1], ids=["AIRS", "FGS1"])
@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("unsorted", "in row 8 after"), ("constant", "3.0.* in row 1 after"), ("inf", "inf in row 5"), ("nan", "nan in row 5"),
        ("seconds", "that would fit seconds"), ("minutes", "that would fit minutes"), ("days", "that would fit days"),
        ("BJD", "that would fit days"), ("float32 BJD", "in row 1 after"), ("descending", "in row 1 after"),
        ("long", "41 times"), ("short", "39 times"), ("text", "the text 'x' in row 0"), ("empty", "0 times"),
    ],
)  # fmt: skip
def test_a_bad_time_axis_is_one_error_with_unit_and_order(tmp_path, instrument, what, found):
    expected = f"axis_info.parquet: expected {instrument.name}-axis0-h: 40 ascending times in hours, .*found .*{found}"
    with pytest.raises(ArchiveError, match=expected) as caught:
        write(tmp_path, instrument, what).read_times(instrument, READS)
    assert "\n" not in str(caught.value) and caught.value.path.endswith("axis_info.parquet")


@pytest.mark.parametrize(("what", "shift"), [(AIRS, 1000.0), (AIRS, 0.01), (FGS1, 0.01)])
def test_instruments_on_two_clocks_are_one_error_for_both(tmp_path, what, shift):
    times = {each.name: read_times(each, READS) for each in (AIRS, FGS1)}
    times[what.name] = times[what.name] + shift
    write_axis(tmp_path, times[AIRS.name], np.tile([0.1, 4.5], READS // 2), times[FGS1.name], airs_wavelengths())
    for instrument in (AIRS, FGS1):
        with pytest.raises(ArchiveError, match=r"axis_info.parquet: expected times of both instruments on one clock.*FGS1 from .* h"):
            Archive(tmp_path).read_times(instrument, READS)


@pytest.mark.parametrize("what", ["stretched", "slow in the middle"])
@pytest.mark.parametrize("instrument", [AIRS, FGS1], ids=["AIRS", "FGS1"])
def test_a_stretched_clock_is_one_error_for_both(tmp_path, instrument, what):
    archive = write(tmp_path, instrument, what)
    for each in (AIRS, FGS1):
        with pytest.raises(ArchiveError, match=r"axis_info.parquet: expected .* one clock, pairs of reads every 0.4 s \(FGS1\) and 4.8 s"):
            archive.read_times(each, READS)


def test_clocks_that_are_stretched_alike_or_end_apart_are_accepted(tmp_path):
    times = {each: 1.5 * read_times(each, n) for each, n in ((AIRS, READS), (FGS1, 3 * READS))}
    write_axis(tmp_path, times[AIRS], np.tile([0.1, 4.5], READS // 2), times[FGS1], airs_wavelengths())
    for instrument, expected in times.items():
        assert (Archive(tmp_path).read_times(instrument, len(expected))[0] == expected).all()


def test_numbers_written_as_text_are_read_exactly(tmp_path):
    write(tmp_path, AIRS, "as it is")
    path = tmp_path / "axis_info.parquet"
    table = pd.read_parquet(path)
    table.map(str).to_parquet(path)  # the short columns end in the text nan
    assert table["AIRS-CH0-axis0-h"].isna().any()
    for instrument in (AIRS, FGS1):
        assert (Archive(tmp_path).read_times(instrument, READS)[0] == read_times(instrument, READS)).all()


def test_light_curves_that_do_not_cover_the_same_time_have_a_remark():
    def curves(fgs1, airs):
        made = {n: LightCurve(time, *[np.ones(len(time))] * 3, np.ones((len(time), 2)), np.ones(len(time)), np.zeros(len(time), bool))
                for n, time in (("fgs1", fgs1), ("airs", airs))}  # fmt: skip
        return LightCurves("7", 3, **made)

    fine, coarse = np.arange(0.05, 6, 0.1), np.arange(0.25, 6, 0.5)
    assert clock_remark(curves(fine, coarse)) is None
    for wrong in (coarse + 0.2, coarse * 1.1, coarse[:6]):
        assert "visit 3: the light curves do not cover the same time, FGS1 from 0.00 to 6.00 h and" in clock_remark(curves(fine, wrong))


def test_the_axis_of_a_simulated_visit_is_read_exactly(tmp_path):
    archive = write(tmp_path, AIRS, "as it is")
    for instrument in (AIRS, FGS1):
        assert (archive.read_times(instrument, READS)[0] == read_times(instrument, READS)).all()


def gap(times):
    return np.where(np.arange(READS) == 6, np.nan, times)


@pytest.mark.parametrize("change", [lambda t: 1000 * t, lambda t: t[::-1], gap, lambda t: t[:-2]])
def test_bad_integration_times_raise(tmp_path, change):
    integration = change(np.tile([0.1, 4.5], READS // 2))
    write_axis(tmp_path, read_times(AIRS, READS), integration, read_times(FGS1, READS), airs_wavelengths())
    with pytest.raises(ArchiveError, match=r"axis_info.parquet: expected AIRS-CH0-integration_time: 40 times since the reset in seconds"):
        Archive(tmp_path).read_times(AIRS, READS)


def test_a_missing_column_is_named(tmp_path):
    write(tmp_path, AIRS, "as it is")
    path = tmp_path / "axis_info.parquet"
    pd.read_parquet(path).rename(columns={"FGS1-axis0-h": "FGS1-axis0-s"}).to_parquet(path)
    with pytest.raises(ArchiveError, match=r"expected a column FGS1-axis0-h with 40 ascending times in hours.*found columns.*FGS1-axis0-s"):
        Archive(tmp_path).read_times(FGS1, READS)
