"""Calibration of many visits: results are kept and reused, failures are listed with their reason."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ariel_lib.calibration.fused import calibrate_visit
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.visits import calibrate_split, read_inputs
from ariel_lib.errors import ArchiveError
from ariel_lib.io.archive import Archive
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import light_curves_path
from ariel_lib.io.light_curves import load_light_curves

SETTINGS = CalibrationSettings()
VISITS = [("11", 0), ("11", 1), ("23", 0)]


@pytest.fixture(scope="module", autouse=True)
def built_in_steps():
    """Registered steps stay in force: workers and commands are processes of their own, which apply them too."""


@pytest.mark.parametrize("workers", [1, 2])
def test_all_visits_are_calibrated_and_a_rerun_skips_them(data, tmp_path, workers):
    archive, calls = Archive(data), []
    dataset = Dataset(data, "train", light_curves=tmp_path)
    report = calibrate_split(dataset, SETTINGS, workers=workers, progress=lambda *settled: calls.append(settled))
    assert report.done == tuple(VISITS) and not report.skipped and not report.failed
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "train").glob("*.safetensors")}
    again = calibrate_split(Dataset(archive.root, "train", light_curves=tmp_path), SETTINGS, workers=workers)
    assert again.skipped == tuple(VISITS) and not again.done
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "train").glob("*.safetensors")}
    saved = load_light_curves(light_curves_path(tmp_path, "train", "11", 1))
    direct = calibrate_visit(archive, "train", "11", 1, SETTINGS)
    np.testing.assert_array_equal(saved.airs.flux, direct.airs.flux)


def test_an_input_is_opened_once_for_its_contents_by_a_calibration_and_by_a_rerun(data, tmp_path, opened):
    inputs = {str(path) for path in data.rglob("*") if path.suffix in (".parquet", ".csv")}
    footers = {str(data / "train" / "11" / f"{name}_signal_0.parquet"): 2 for name in ("AIRS-CH0", "FGS1")}  # how many reads they have
    for outcome in ("done", "skipped"):
        report = calibrate_split(Dataset(data, "train", light_curves=tmp_path), SETTINGS)
        assert getattr(report, outcome) == tuple(VISITS)
        assert {path: times for path, times in opened.items() if path in inputs} == dict.fromkeys(inputs, 1) | footers
        opened.clear()


def test_the_digest_of_frames_that_were_read_is_that_of_the_files(data):
    noting = Archive(data).noting_frames()
    calibrate_visit(noting, "train", "11", 1, SETTINGS)
    assert len(noting.frames) == 12
    assert noting.visit_digest("train", "11", 1) == Archive(data).visit_digest("train", "11", 1)
    path = next(iter(noting.frames))
    noting.frames[path] = "of other bytes"
    assert noting.visit_digest("train", "11", 1) != Archive(data).visit_digest("train", "11", 1)


def test_only_outdated_missing_and_damaged_files_are_made_again(data, tmp_path):
    archive = Archive(data)
    calibrate_split(Dataset(archive.root, "train", light_curves=tmp_path), SETTINGS)
    light_curves_path(tmp_path, "train", "11", 0).unlink()
    light_curves_path(tmp_path, "train", "11", 1).write_bytes(b"half a file")
    assert calibrate_split(Dataset(archive.root, "train", light_curves=tmp_path), SETTINGS).done == (("11", 0), ("11", 1))
    assert len(calibrate_split(Dataset(archive.root, "train", light_curves=tmp_path), replace(SETTINGS, clip_sigma=5.0)).done) == 3
    assert calibrate_split(Dataset(archive.root, "train", planets=["23"], light_curves=tmp_path), SETTINGS).done == (("23", 0),)


def copy_of(data, root):
    """A copy of the data set, of links to its files, which may be replaced."""
    root.mkdir()
    for path in data.rglob("*"):
        copy = root / path.relative_to(data)
        copy.mkdir() if path.is_dir() else copy.symlink_to(path)
    return root


def replaced(path, content):
    assert content != path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def flipped(path, where):
    """The content of a file with one byte changed."""
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("adc_info.csv", lambda path: path.read_bytes().replace(b"0.4369", b"0.8738")),
        ("axis_info.parquet", lambda path: flipped(path, -5)),
        ("train/11/AIRS-CH0_calibration_0/flat.parquet", lambda path: flipped(path, 400)),
        ("train/11/FGS1_calibration_0/dead.parquet", lambda path: flipped(path, 400)),
        ("train/11/AIRS-CH0_signal_0.parquet", lambda path: flipped(path, 30000)),
    ],
)
def test_input_of_the_same_size_and_other_content_makes_light_curves_outdated(data, tmp_path, name, change):
    archive = Archive(data)
    before = {visit: read_inputs(archive, "train", *visit, SETTINGS).fingerprint for visit in VISITS}
    root = copy_of(data, tmp_path / "data")
    assert before == {visit: read_inputs(Archive(root), "train", *visit, SETTINGS).fingerprint for visit in VISITS}
    replaced(root / name, change(root / name))
    assert (root / name).stat().st_size == (data / name).stat().st_size
    after = {visit: read_inputs(Archive(root), "train", *visit, SETTINGS).fingerprint for visit in VISITS}
    assert {visit for visit in VISITS if after[visit] != before[visit]} == ({("11", 0)} if "11" in name else set(VISITS))


def test_a_corrected_gain_is_calibrated_again(data, tmp_path):
    root = copy_of(data, tmp_path / "data")
    dataset = Dataset(root, "train", planets=["23"], light_curves=tmp_path / "out")
    calibrate_split(dataset, SETTINGS)
    first = dataset.light_curves("23")[0].airs.flux
    replaced(root / "adc_info.csv", (data / "adc_info.csv").read_bytes().replace(b"0.4369", b"0.8738"))
    assert calibrate_split(dataset, SETTINGS).done == (("23", 0),)
    assert np.median(dataset.light_curves("23")[0].airs.flux / first) < 0.7


def test_an_axis_of_no_use_for_any_visit_is_one_error_before_the_first(data, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for path in data.iterdir():
        (root / path.name).symlink_to(path)
    (root / "axis_info.parquet").unlink()
    table = pd.read_parquet(data / "axis_info.parquet")
    table.assign(**{"FGS1-axis0-h": 1.1 * table["FGS1-axis0-h"]}).to_parquet(root / "axis_info.parquet")
    with pytest.raises(ArchiveError, match=r"axis_info.parquet: expected times of both instruments on one clock"):
        calibrate_split(Dataset(root, "train", light_curves=tmp_path / "out"), SETTINGS)
    assert not (tmp_path / "out").exists()


def test_a_failed_visit_is_listed_with_its_reason_and_others_are_calibrated(data, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for path in data.iterdir():
        (root / path.name).symlink_to(path) if path.is_file() else None
    for planet in ("11", "23"):
        (root / "train" / planet).mkdir(parents=True)
        for path in (data / "train" / planet).iterdir():
            (root / "train" / planet / path.name).symlink_to(path)
    (root / "train" / "11" / "FGS1_signal_1.parquet").unlink()
    (root / "train" / "23" / "AIRS-CH0_signal_0.parquet").unlink()
    (root / "train" / "23" / "AIRS-CH0_signal_0.parquet").write_bytes(b"PAR1 truncated")
    (root / "train" / "77").mkdir()
    (root / "train" / "78").mkdir()  # no planet: neither signals nor a star
    (root / "train_star_info.csv").write_text("planet_id\n77\n")
    outdated = {light_curves_path(tmp_path / "out", "train", *visit) for visit in (("11", 1), ("23", 0))}  # of frames that are gone
    for path in outdated:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    report = calibrate_split(Dataset(root, "train", light_curves=tmp_path / "out"), SETTINGS)
    assert report.done == (("11", 0),) and not any(path.exists() for path in outdated)
    reasons = {(failure.planet_id, failure.visit): failure.reason for failure in report.failed}
    assert set(reasons) == {("11", 1), ("23", 0), ("77", None)}
    assert "FGS1_signal_1.parquet: expected" in reasons["11", 1]
    assert "AIRS-CH0_signal_0.parquet: expected a readable parquet file" in reasons["23", 0]
    written = json.loads((tmp_path / "out" / "train" / "calibration_report.json").read_text())
    assert written["done"] == [["11", 0]] and len(written["failed"]) == 3
    assert {"planet_id", "visit", "reason", "traceback"} == set(written["failed"][0]) and not written["failed"][0]["traceback"]
