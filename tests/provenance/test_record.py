"""provenance.record: the record of a run is reproducible, and any changed byte is found."""

import json
import subprocess
from pathlib import Path

import pytest

from ariel_lib.io.storage import StorageError
from ariel_lib.provenance.record import (
    LOG,
    SUMMARY,
    TIMES,
    fingerprint,
    git_state,
    read_seconds,
    record_run,
    verify_run,
)


def make_run(folder, seed=3):
    data = folder.parent / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "train.csv").write_text("planet_id,wl_1\n1,0.01\n")
    with record_run("train", folder, seed=seed, config_hash="abc") as run:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.bin").write_bytes(bytes(range(100)))
        run.artifacts, run.inputs, run.metrics = [folder / "weights.bin"], {"data": data}, {"score": 0.5}
    return folder / "manifest_train.json"


def test_records_of_equal_runs_differ_in_times_only(tmp_path):
    first, second = (json.loads(make_run(tmp_path / name / "out").read_bytes()) for name in ("a", "b"))
    assert first.pop(TIMES)["seconds"] >= 0 and second.pop(TIMES)
    assert first == second
    assert {"git", "config_hash", "seed", "versions", "hardware", "inputs", "artifacts", "metrics"} <= set(first)
    assert json.loads(make_run(tmp_path / "c" / "out", seed=4).read_bytes())["seed"] == 4


@pytest.mark.skipif(not (Path(__file__).parents[2] / ".git").exists(), reason="no checkout")
def test_git_state_gives_the_commit_of_this_checkout():
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    assert git_state()["sha"] == subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("at", [0, 57, 99])
def test_verify_run_finds_a_flipped_bit(tmp_path, at):
    manifest = make_run(tmp_path / "out")
    assert verify_run(manifest) == []
    path = tmp_path / "out" / "weights.bin"
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    (change,) = verify_run(manifest)
    assert change.startswith("weights.bin: SHA-256")


def test_verify_run_names_a_changed_input_and_a_missing_artifact(tmp_path):
    manifest = make_run(tmp_path / "out")
    (tmp_path / "data" / "train.csv").write_text("planet_id,wl_1\n1,0.02\n")
    (tmp_path / "out" / "weights.bin").unlink()
    missing, changed = verify_run(manifest)
    assert missing == "weights.bin: missing" and changed.startswith("input data")


def test_a_run_adds_a_line_and_an_entry_and_a_failed_run_a_line_only(tmp_path):
    make_run(tmp_path / "out")
    make_run(tmp_path / "out")
    with pytest.raises(ValueError, match="no luck"), record_run("predict", tmp_path / "out"):
        raise ValueError("no luck")
    lines = (tmp_path / "out" / LOG).read_text().splitlines()
    assert len(lines) == 3 and "failed: ValueError: no luck" in lines[2]
    assert [entry["command"] for entry in json.loads((tmp_path / "out" / SUMMARY).read_bytes())] == ["train", "train"]
    assert set(read_seconds([tmp_path / "out" / SUMMARY, tmp_path / "nowhere"])) == {"train"}


def test_a_run_that_fails_before_writing_creates_no_files(tmp_path):
    with pytest.raises(ValueError, match="no data"), record_run("train", tmp_path / "out"):
        raise ValueError("no data")
    assert not list(tmp_path.iterdir())


def test_fingerprint_depends_on_names_and_contents_but_not_on_records(tmp_path):
    (tmp_path / "a").write_text("1")
    before = fingerprint(tmp_path)
    (tmp_path / SUMMARY).write_text("[]")
    (tmp_path / ".hidden").write_text("x")
    assert fingerprint(tmp_path) == before
    (tmp_path / "a").rename(tmp_path / "b")
    assert fingerprint(tmp_path) != before


def test_verify_run_raises_without_a_manifest(tmp_path):
    (tmp_path / "m.json").write_text("{}")
    with pytest.raises(StorageError, match="expected a manifest"):
        verify_run(tmp_path / "m.json")


def test_a_summary_of_an_earlier_version_is_still_read(tmp_path):
    (tmp_path / SUMMARY).write_text('[{"verb": "train", "seconds": 3.0}, {"command": "predict", "seconds": 4.0}]')
    assert read_seconds([tmp_path / SUMMARY]) == {"train": 3.0, "predict": 4.0}
