"""Nothing a planet's files can hold stops the submission, touches another planet's row or gets a confident wrong answer."""

import logging
import os
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ariel_lib.config import load_config
from ariel_lib.io.archive import Archive
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.submission import read_submission, validate_submission
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import column_weights, gll_gain, naive_answer
from ariel_lib.prediction.predict import predict
from ariel_lib.training.examples import training_set

AIRS, FGS1 = "AIRS-CH0", "FGS1"
SMALL = ("model.d_model=16", "model.d_state=4", "model.hidden=8", "model.gnn_layers=1", "model.ssm_depth=1", "training.epochs=1")
MAPS = ("dark", "flat", "read", "dead", "linear_corr")


def signal(folder, instrument, visit=0):
    return folder / f"{instrument}_signal_{visit}.parquet"


def rewrite(path, change):
    """Replace a parquet file's values by change(values): (row, column) in, the same kind out. Never in place: links."""
    table = pq.read_table(path)
    values = change(np.stack([column.to_numpy() for column in table.columns], axis=1))
    path.unlink()
    columns = {f"column_{n}": np.ascontiguousarray(values[:, n]) for n in range(values.shape[1])}
    pq.write_table(pa.table(columns), path)


def replace_bytes(path, change):
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(change(content))


def flip(content):
    """A run of bytes in the middle inverted."""
    middle = len(content) // 2
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 4096]) + content[middle + 4096 :]


def each_map(folder, name, change):
    for instrument in (AIRS, FGS1):
        rewrite(folder / f"{instrument}_calibration_0" / f"{name}.parquet", change)


def shuffled(values):
    pairs = values.reshape(-1, 2, values.shape[1])
    return np.random.default_rng(0).permutation(pairs).reshape(values.shape)


def frozen(values):
    """Every pair of reads like the first."""
    return np.tile(values[:2], (len(values) // 2, 1))


def with_null(folder):
    table = pq.read_table(signal(folder, AIRS))
    pixel = 16 * 356 + 150  # in the middle of the trace: calibration reads no pixel that it does not use
    column = table.column(pixel).to_pandas().astype("UInt16")
    column[3] = None
    signal(folder, AIRS).unlink()
    pq.write_table(table.set_column(pixel, table.schema.names[pixel], pa.array(column, pa.uint16())), signal(folder, AIRS))


def star_row(root, planet, change):
    path = root / "test_star_info.csv"
    table = pd.read_csv(path, dtype={"planet_id": str})
    table = change(table, table["planet_id"] == planet)
    path.unlink()
    table.to_csv(path, index=False)


def no_visit_0(folder):
    for instrument in (AIRS, FGS1):
        for name in (f"{instrument}_signal_{{}}.parquet", f"{instrument}_calibration_{{}}"):
            (folder / name.format(0)).rename(folder / name.format(1))


def broken_second_visit(folder):
    for instrument in (AIRS, FGS1):
        signal(folder, instrument, 1).unlink(missing_ok=True)
        signal(folder, instrument, 1).write_bytes(b"PAR1")


# name → (damage(root, folder), how far below that of the whole files the gain of an answer may fall; None: no answer may be given). The
# reason is logged in every case. Measured falls of answers: 0.040 for a star of no size, 0 where the files that are left are whole.
HARMLESS, TOLERABLE = 0.001, 0.1
DAMAGE = {
    "no folder": (lambda root, folder: shutil.rmtree(folder), None),
    "empty folder": (lambda root, folder: (shutil.rmtree(folder), folder.mkdir()), None),
    "no AIRS": (lambda root, folder: signal(folder, AIRS).unlink(), None),
    "no FGS1": (lambda root, folder: signal(folder, FGS1).unlink(), None),
    "AIRS cut in half": (lambda root, folder: replace_bytes(signal(folder, AIRS), lambda c: c[: len(c) // 2]), None),
    "FGS1 cut at its end": (lambda root, folder: replace_bytes(signal(folder, FGS1), lambda c: c[:-5]), None),
    "AIRS of no bytes": (lambda root, folder: replace_bytes(signal(folder, AIRS), lambda c: b""), None),
    "AIRS of other bytes": (lambda root, folder: replace_bytes(signal(folder, AIRS), lambda c: b"planet" * 1000), None),
    "FGS1 with flipped bytes": (lambda root, folder: replace_bytes(signal(folder, FGS1), flip), TOLERABLE),
    "AIRS with flipped bytes": (lambda root, folder: replace_bytes(signal(folder, AIRS), flip), TOLERABLE),
    "AIRS lacks a column": (lambda root, folder: rewrite(signal(folder, AIRS), lambda v: v[:, 1:]), None),
    "AIRS has a column more": (lambda root, folder: rewrite(signal(folder, AIRS), lambda v: np.hstack([v, v[:, :1]])), None),
    "FGS1 in the shape of AIRS": (lambda root, folder: shutil.copy(signal(folder, AIRS), unlinked(signal(folder, FGS1))), None),
    "AIRS as floats with NaN": (lambda root, folder: rewrite(signal(folder, AIRS), lambda v: np.where(v > 3000, np.nan, v)), None),
    "AIRS with a null": (lambda root, folder: with_null(folder), None),
    "one read of AIRS": (lambda root, folder: rewrite(signal(folder, AIRS), lambda v: v[:1]), None),
    "no read of FGS1": (lambda root, folder: rewrite(signal(folder, FGS1), lambda v: v[:0]), None),
    "three pairs of AIRS reads": (lambda root, folder: rewrite(signal(folder, AIRS), lambda v: v[:6]), TOLERABLE),
    "more reads than times": (lambda root, folder: rewrite(signal(folder, AIRS), lambda v: np.vstack([v, v])), None),
    "no calibration": (lambda root, folder: shutil.rmtree(folder / f"{AIRS}_calibration_0"), None),
    "no dark map": (lambda root, folder: (folder / f"{AIRS}_calibration_0" / "dark.parquet").unlink(), None),
    "dark of NaN": (lambda root, folder: each_map(folder, "dark", lambda v: v * np.nan), None),
    "flat of zeros": (lambda root, folder: each_map(folder, "flat", lambda v: v * 0), None),
    "flat of NaN": (lambda root, folder: each_map(folder, "flat", lambda v: v * np.nan), None),
    "read noise of NaN": (lambda root, folder: each_map(folder, "read", lambda v: v * np.nan), None),
    "linearity of another shape": (lambda root, folder: each_map(folder, "linear_corr", lambda v: v[:-1]), None),
    "linearity of NaN": (lambda root, folder: each_map(folder, "linear_corr", lambda v: v * np.nan), None),
    "all pixels dead": (lambda root, folder: each_map(folder, "dead", lambda v: v | True), None),
    "saturated": (lambda root, folder: [rewrite(signal(folder, i), lambda v: v * 0 + 65535) for i in (AIRS, FGS1)], None),
    "AIRS saturated": (lambda root, folder: rewrite(signal(folder, AIRS), lambda v: v * 0 + 65535), TOLERABLE),
    "counts of zero": (lambda root, folder: [rewrite(signal(folder, i), lambda v: v * 0) for i in (AIRS, FGS1)], None),
    "no variance": (lambda root, folder: [rewrite(signal(folder, i), frozen) for i in (AIRS, FGS1)], None),
    "no order in time": (lambda root, folder: [rewrite(signal(folder, i), shuffled) for i in (AIRS, FGS1)], None),
    "no star row": (lambda root, folder: star_row(root, folder.name, lambda table, row: table[~row]), TOLERABLE),
    "star of NaN": (lambda root, folder: star_row(root, folder.name, lambda t, row: t.assign(P=t["P"].where(~row))), TOLERABLE),
    "star of no size": (lambda root, folder: star_row(root, folder.name, lambda t, row: t.assign(sma=t["sma"].where(~row, 0))), TOLERABLE),
    "star row twice": (lambda root, folder: star_row(root, folder.name, lambda t, row: pd.concat([t, t[row]])), TOLERABLE),
    "only visit 1": (lambda root, folder: no_visit_0(folder), HARMLESS),
    "broken second visit": (lambda root, folder: broken_second_visit(folder), HARMLESS),
}  # fmt: skip
UNSEEN = ("only visit 1",)  # nothing is wrong with it, so nothing is logged


def unlinked(path):
    path.unlink()
    return path


def copy_planets(data, root, names):
    """A data set of hard links whose test planets are those of `data`, over and over under new names."""
    root.mkdir()
    for path in data.iterdir():
        if path.is_file():
            shutil.copy(path, root / path.name)
    originals = Archive(data).planets("test")
    source = {name: originals[n % len(originals)] for n, name in enumerate(names)}
    for name, original in source.items():
        shutil.copytree(data / "test" / original, root / "test" / name, copy_function=os.link)
    for file in ("test_star_info.csv", "test.csv", "sample_submission.csv"):
        table = pd.read_csv(data / file, dtype={"planet_id": str}).set_index("planet_id")
        table = table.loc[list(source.values())]
        table.index = pd.Index(list(source), name="planet_id")
        if file == "test_star_info.csv":
            table = table.assign(unknown_column="?")
        table.to_csv(root / file)
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A simulated data set of frames and weights trained on it."""
    from ariel_lib.simulator import dataset
    from ariel_lib.training.loop import train

    root = tmp_path_factory.mktemp("faults")
    dataset.simulate_dataset(root / "data", n_planets=10, n_test=2, seed=11, size="toy")
    config = load_config(None, [f"data.root={root / 'data'}", f"training.out={root / 'model'}", *SMALL])
    return root / "data", train(training_set(config), config, log=lambda line: None)["weights"]


def compare(made, folder, damages, others, caplog):
    """Predict with and without the damage; kind → (gain when whole, gain when damaged, whether it fell back)."""
    data, weights = made
    victims = {str(1000 + n): kind for n, kind in enumerate(damages)}
    names = [*victims, *(str(5000 + n) for n in range(others))]
    whole, hurt = copy_planets(data, folder / "whole", names), copy_planets(data, folder / "hurt", names)
    for name, kind in victims.items():
        DAMAGE[kind][0](hurt, hurt / "test" / name)
    shutil.copytree(data / "test" / Archive(data).planets("test")[0], hurt / "test" / "9999", copy_function=os.link)
    predict(Dataset(whole), weights=weights, out=folder / "a" / "submission.csv", workers=2)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = predict(Dataset(hurt), weights=weights, out=folder / "b" / "submission.csv", workers=2)
    validate_submission(folder / "b" / "submission.csv", hurt / "sample_submission.csv")
    check_rows(folder, victims)
    logged = caplog.text
    assert "planet 9999 lies under" in logged
    for name, kind in victims.items():
        assert f"planet {name}" in logged or kind in UNSEEN, f"{kind}: not a word in the log"
        assert DAMAGE[kind][1] is not None or name in found["fallbacks"], f"{kind}: answered as if nothing were wrong"
    gains = {way: score_planets(hurt, folder / way / "submission.csv") for way in "ab"}
    return {kind: (gains["a"][name], gains["b"][name], name in found["fallbacks"]) for name, kind in victims.items()}


def score_planets(data, submission):
    """Planet → its weighted gain over the naive answer, unclipped."""
    ids, mean, sigma = read_submission(submission)
    naive = naive_answer(read_spectra(data / "train.csv").depth)
    gains = gll_gain(read_spectra(data / "test.csv").of(ids), mean, sigma, **naive)
    return dict(zip(ids, np.average(gains, axis=1, weights=column_weights(mean.shape[1])).tolist()))


def check_rows(folder, victims):
    before, after = ((folder / way / "submission.csv").read_text().splitlines() for way in "ab")
    assert len(before) == len(after)
    changed = {a.partition(",")[0] for a, b in zip(before, after) if a != b}
    assert changed <= set(victims), "a planet without damage got another row"


def judge(outcome):
    """A fallback scores no less than the naive answer; an answer from damaged data falls no further than its kind of damage may."""
    fallen = [hurt for _, hurt, fell in outcome.values() if fell]
    assert not fallen or (np.mean(fallen) >= 0 and min(fallen) > -0.01)
    worse = {kind: (whole, hurt) for kind, (whole, hurt, fell) in outcome.items() if not fell and not whole - hurt < DAMAGE[kind][1]}
    assert not worse


@pytest.mark.parametrize(
    "kind, hurt", [("star of no size", 0.45), ("star of no size", -0.49), ("only visit 1", 0.598), ("only visit 1", np.nan)]
)
def test_the_judge_finds_an_answer_that_fell_too_far(kind, hurt):
    judge({kind: (0.6, 0.6, False)})
    with pytest.raises(AssertionError):
        judge({kind: (0.6, hurt, False)})


def test_a_few_damaged_planets_trouble_nobody_else(made, tmp_path, caplog):
    outcome = compare(made, tmp_path, ("AIRS cut in half", "saturated", "broken second visit", "star of no size"), 1, caplog)
    judge(outcome)
    assert [fell for *_, fell in outcome.values()] == [True, True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 15])
def test_a_matrix_of_damage(made, tmp_path, caplog, first):
    """Test sets of 40 with 25 and 24 kinds of damage each; the two halves overlap."""
    kinds = list(DAMAGE)[first : first + 25]
    outcome = compare(made, tmp_path, kinds, 40 - len(kinds), caplog)
    print("\n".join(f"{kind:28} {whole:8.4f} {hurt:8.4f} {fell}" for kind, (whole, hurt, fell) in outcome.items()))
    judge(outcome)
