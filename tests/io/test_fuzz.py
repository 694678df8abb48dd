"""Tables of a data set and submissions, changed at random: each is read as what it says, or refused in one line that names the file.

A bounded number of examples by default; SPECTRAMIND_FUZZ_EXAMPLES=N draws N for each table.
"""

import gzip
import io
import os
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ariel_lib.errors import ArchiveError, SpectraMindError
from ariel_lib.instrument import AIRS, FGS1
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Star
from ariel_lib.io.parquet import read_map
from ariel_lib.io.submission import read_sample, read_submission, validate_submission
from ariel_lib.simulator.visit import read_times

EXAMPLES = int(os.environ.get("SPECTRAMIND_FUZZ_EXAMPLES", "40"))
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)

IDS = ("7", "1103775", "12")
VALUES = np.random.default_rng(0).uniform(0.01, 0.02, (3, 6))
NAMES = [f"{kind}_{n}" for kind in ("wl", "sigma") for n in (1, 2, 3)]
ORBIT = ("Rs", "Ms", "Ts", "Mp", "e", "P", "sma", "i")


def rows_of(columns, values, ids=IDS):
    return [["planet_id", *columns], *([planet, *map(repr, row)] for planet, row in zip(ids, values.tolist()))]


STARS = np.abs(np.random.default_rng(1).normal(3, 1, (3, 8))) + 0.1
ADC = ["FGS1_adc_gain", "FGS1_adc_offset", "AIRS-CH0_adc_gain", "AIRS-CH0_adc_offset"]
TABLES = {  # file: (rows, a function of Dataset and path that gives ids and values as they are read)
    "train.csv": (rows_of(NAMES[:3], VALUES[:, :3]), lambda data, path: (data.labels().planet_ids, data.labels().depth)),
    "train_star_info.csv": (rows_of(ORBIT, STARS), lambda data, path: (IDS, np.array([star_row(data.star(planet)) for planet in IDS]))),
    "adc_info.csv": ([ADC, ["0.4369", "-1000.0", "0.41", "-900.5"]], lambda data, path: ((), converters(data))),
    "wavelengths.csv": ([NAMES[:3], ["0.7", "1.95", "2.5"]], lambda data, path: ((), data.wavelengths[None])),
    "submission.csv": (rows_of(NAMES, VALUES), lambda data, path: unpack(read_submission(path))),
    "sample_submission.csv": (rows_of(NAMES, VALUES), lambda data, path: (data.with_split("test").planets, VALUES)),
}


def star_row(star: Star):
    return [getattr(star, name) for name in ORBIT]


def converters(data):
    found = [data.archive.converter("train", "7", instrument) for instrument in (FGS1, AIRS)]
    return np.array([[value for converter in found for value in (converter.gain, converter.offset)]])


def unpack(submission):
    ids, mean, sigma = submission
    return ids, np.hstack([mean, sigma])


def write_all(root):
    for name, (rows, _) in TABLES.items():
        (root / name).write_text("".join(",".join(row) + "\n" for row in rows))
    return root


# Changes of the text that leave its meaning: (rows, number) → rows


def permute(rows, number):
    order = np.random.default_rng(number).permutation(len(rows[0]))
    return [[row[n] for n in order] for row in rows]


HARMLESS = {
    "columns in another order": permute,
    "empty row": lambda rows, n: [*rows[: 1 + n % len(rows)], [""] * len(rows[0]), *rows[1 + n % len(rows) :]],
    "row numbers": lambda rows, n: [[("Unnamed: 0", "")[n % 2], *rows[0]], *([str(k), *row] for k, row in enumerate(rows[1:]))],
    "spaces": lambda rows, n: [[f" {cell}" for cell in row] for row in rows],
    "ids as floats": lambda rows, n: [rows[0], *([f"{row[0]}.0" if row[0] in IDS else row[0], *row[1:]] for row in rows[1:])],
    "quotes": lambda rows, n: [[f'"{cell}"' for cell in row] for row in rows],
}
ENCODINGS = {
    "plain": lambda text: text.encode(), "BOM": lambda text: text.encode("utf-8-sig"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(), "no end of line": lambda text: text.rstrip("\n").encode(),
    "gzip": lambda text: gzip.compress(text.encode()), "zip": lambda text: zipped(text),
}  # fmt: skip


def zipped(text):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("table.csv", text)
    return buffer.getvalue()


# Changes that no reader may pass over


def with_cell(text):
    def change(rows, n):
        row, column = 1 + n % (len(rows) - 1), len(rows[0]) - 1 - n // 7 % (len(rows[0]) - 1)
        rows = [list(each) for each in rows]
        rows[row][column] = text
        return rows

    return change


def without_column(rows, n):
    gone = n % (len(rows[0]) - 1)  # the last one may be missing: files have any number of wavelengths
    return [[cell for k, cell in enumerate(row) if k != gone] for row in rows]


HARMFUL = {
    "row twice": lambda rows, n: [*rows, rows[1 + n % (len(rows) - 1)]],
    "cut row": lambda rows, n: [*rows[:-1], rows[-1][:-1]],
    "surplus cell": lambda rows, n: [*rows[:-1], [*rows[-1], "1"]],
    "column twice": lambda rows, n: [[*row, row[n % len(row)]] for row in rows],
    "missing column": without_column,
    "header only": lambda rows, n: rows[:1],
    "nothing": lambda rows, n: [],
    "semicolons": lambda rows, n: [[";".join(row)] for row in rows],
}
CELLS = {text: with_cell(text) for text in ("", "nan", "inf", "x", "1_0", "0,0147")}
BYTES = {
    "UTF-16": lambda content, n: content.decode("utf-8").encode("utf-16"),
    "cut gzip": lambda content, n: gzip.compress(content)[: -1 - n % 12],
    "cut zip": lambda content, n: zipped(content.decode())[: -1 - n % 40],
    "gzip with another end": lambda content, n: gzip.compress(content)[:-8] + bytes(8),
}


def outcome(root, name):
    """Ids and values as read, or the error, which must be one line that names the file."""
    try:
        return TABLES[name][1](Dataset(root, "train"), root / name)
    except SpectraMindError as error:
        assert name in str(error) and "expected" in str(error) and "\n" not in str(error)
        return error


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def numbers():
    return st.integers(0, 10_000)


@fuzz
@given(
    name=st.sampled_from(sorted(TABLES)), encoding=st.sampled_from(sorted(ENCODINGS)),
    changes=st.lists(st.tuples(st.sampled_from(sorted(set(HARMLESS) - {"quotes"})), numbers()), max_size=3, unique_by=lambda each: each[0]),
    quoted=st.booleans(),
)  # fmt: skip
def test_what_is_written_otherwise_is_read_alike(root, name, encoding, changes, quoted):
    rows, _ = TABLES[name]
    for change, number in [*changes, *([("quotes", 0)] if quoted else [])]:
        rows = HARMLESS[change](rows, number)
    (write_all(root) / name).write_bytes(ENCODINGS[encoding]("".join(",".join(row) + "\n" for row in rows)))
    found = outcome(root, name)
    assert not isinstance(found, SpectraMindError), found
    ids, values = outcome(write_all(root), name)
    assert found[0] == ids and (found[1] == values).all()


@fuzz
@given(name=st.sampled_from(sorted(TABLES)), change=st.sampled_from(sorted(HARMFUL | CELLS | BYTES)), number=numbers(), harmless=numbers())
def test_what_is_missing_repeated_or_cut_is_refused(root, name, change, number, harmless):
    rows = permute(TABLES[name][0], harmless) if "column" not in change else TABLES[name][0]
    at = write_all(root) / name
    if change in BYTES:
        at.write_bytes(BYTES[change]("".join(",".join(row) + "\n" for row in rows).encode(), number))
    elif change in CELLS:
        first = [n for n, cell in enumerate(rows[0]) if cell == "planet_id"]
        rows = [[*(row[n] for n in first), *(cell for n, cell in enumerate(row) if n not in first)] for row in rows]
        rows = CELLS[change](rows, number)
        at.write_text("".join(",".join(row) + "\n" for row in rows))
    else:
        at.write_text("".join(",".join(row) + "\n" for row in HARMFUL[change](rows, number)))
    found = outcome(root, name)
    if name == "sample_submission.csv" and change in CELLS and change != "0,0147":
        assert found[0] == IDS  # its values are not read
    elif name == "train_star_info.csv" and (change in CELLS or change == "missing column") and not isinstance(found, SpectraMindError):
        assert np.isnan(found[1]).any() and (np.isnan(found[1]) | (found[1] == STARS)).all()  # NaN where it lacks something
    else:
        assert isinstance(found, SpectraMindError), f"{change} was passed over"


@fuzz
@given(
    name=st.sampled_from(sorted(TABLES)), packed=st.booleans(),
    places=st.lists(st.tuples(numbers(), st.integers(0, 255), st.integers(0, 2)), min_size=1, max_size=6),
)  # fmt: skip
def test_any_bytes_are_read_as_finite_numbers_or_refused(root, name, places, packed):
    text = "".join(",".join(row) + "\n" for row in TABLES[name][0]).encode()
    content = bytearray(gzip.compress(text) if packed else text)
    for place, byte, kind in places:
        at = place % (len(content) + 1)
        content[at : at + (kind > 0)] = bytes([byte] * (kind < 2))  # insert, replace or remove
    (write_all(root) / name).write_bytes(bytes(content))
    found = outcome(root, name)
    if not isinstance(found, SpectraMindError):
        assert len(found[1]) == max(1, len(found[0])) and (np.isfinite(found[1]).all() or name == "train_star_info.csv")
        if name == "sample_submission.csv":
            assert read_sample(root / name).planet_ids == found[0]  # every part reads the same planets


@fuzz
@given(changes=st.lists(st.tuples(st.sampled_from(sorted(HARMLESS)), numbers()), max_size=2, unique_by=lambda each: each[0]))
def test_a_sample_that_is_accepted_by_one_part_is_by_the_others(root, changes):
    rows = TABLES["sample_submission.csv"][0]
    for change, number in changes:
        rows = HARMLESS[change](rows, number)
    path = write_all(root) / "sample_submission.csv"
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    validate_submission(path, path)
    assert Dataset(root, "test").planets == IDS and Dataset(root, "test").submission_columns == read_sample(path).columns


# axis_info.parquet and detector files

READS = 12
AXES = {
    "swap": lambda t, n: np.concatenate([t[: n % 11], t[n % 11 : n % 11 + 2][::-1], t[n % 11 + 2 :]]),
    "gap": lambda t, n: np.where(np.arange(len(t)) == n % (len(t) - 1), np.nan, t), "constant": lambda t, n: t * 0 + n,
    "infinite": lambda t, n: np.where(np.arange(len(t)) == n % len(t), np.inf, t), "seconds": lambda t, n: t * 3600,
    "minutes": lambda t, n: t * 60, "days": lambda t, n: t / 24, "BJD": lambda t, n: (t / 24 + 2_459_000).astype(np.float32),
    "short": lambda t, n: t[: n % len(t)], "long": lambda t, n: np.append(t, t[-1] + 1e-4 * np.arange(1, 2 + n % 30)),
    "text": lambda t, n: np.array([f"{value} h" for value in t], object), "nothing": lambda t, n: t[:0],
}  # fmt: skip


@fuzz
@given(
    instrument=st.sampled_from([AIRS, FGS1]), change=st.sampled_from(["none", *sorted(AXES)]), number=numbers(), order=numbers(),
    index=st.booleans(),
)  # fmt: skip
def test_an_axis_is_read_exactly_or_refused(root, instrument, change, number, order, index):
    columns = {f"{each.name}-axis0-h": read_times(each, READS) for each in (AIRS, FGS1)}
    columns["AIRS-CH0-integration_time"] = np.tile([0.1, 4.5], READS // 2)
    name = f"{instrument.name}-axis0-h"
    columns[name] = AXES[change](columns[name], number) if change != "none" else columns[name]
    table = pd.DataFrame({key: pd.Series(columns[key]) for key in np.random.default_rng(order).permutation(sorted(columns))})
    (table.set_index(pd.Index(range(3, 3 + len(table)))) if index else table).to_parquet(root / "axis_info.parquet")
    read = lambda: Dataset(root, "train").archive.read_times(instrument, READS)[0]  # noqa: E731
    if change == "none":
        assert (read() == read_times(instrument, READS)).all()
    else:
        with pytest.raises(ArchiveError, match=rf"axis_info.parquet: expected {name}: 12 ascending times in hours") as caught:
            read()
        assert "\n" not in str(caught.value)


MAP = np.random.default_rng(2).random((32, 32))


@fuzz
@given(
    order=numbers(), pixel=st.integers(0, 31),
    change=st.sampled_from(["none", "index", "gap", "twice", "foreign", "text", "short", "reversed"]),
)  # fmt: skip
def test_a_map_is_read_by_name_or_refused(root, order, change, pixel):
    names = [f"column_{n}" for n in range(32)]
    table = pd.DataFrame(MAP, columns=names)[[names[n] for n in np.random.default_rng(order).permutation(32)]]
    table = {
        "index": lambda: table.set_index(pd.Index(range(5, 37))), "gap": lambda: table.rename(columns={f"column_{pixel}": "column_32"}),
        "twice": lambda: table.rename(columns={f"column_{pixel}": str((pixel + 1) % 32)}), "text": lambda: table.astype(str),
        "foreign": lambda: table.rename(columns={f"column_{pixel}": f"Column {pixel}"}), "short": lambda: table[: pixel % 32],
        "reversed": lambda: table[::-1],
    }.get(change, lambda: table)()  # fmt: skip
    table.to_parquet(root / "flat.parquet")
    if change in ("none", "index"):
        assert (read_map(root / "flat.parquet", MAP.shape, float) == MAP).all()
    else:
        with pytest.raises(ArchiveError, match=r"flat.parquet: expected"):
            read_map(root / "flat.parquet", MAP.shape, float)


@fuzz
@given(places=st.lists(st.tuples(numbers(), st.integers(0, 255)), min_size=1, max_size=6), cut=st.integers(0, 200))
def test_a_damaged_parquet_file_is_read_or_refused(root, places, cut):
    columns = {f"{each.name}-axis0-h": read_times(each, READS) for each in (AIRS, FGS1)}
    pd.DataFrame(columns | {"AIRS-CH0-integration_time": np.tile([0.1, 4.5], READS // 2)}).to_parquet(root / "axis_info.parquet")
    content = bytearray((root / "axis_info.parquet").read_bytes())
    for place, byte in places:
        content[place % len(content)] = byte
    (root / "axis_info.parquet").write_bytes(bytes(content[: len(content) - cut % 3 * cut]))
    try:
        times = Dataset(root, "train").archive.read_times(FGS1, READS)[0]
    except ArchiveError as error:
        assert "axis_info.parquet" in str(error)
    else:
        assert len(times) == READS and (np.diff(times) > 0).all()
