"""provenance.record: the record of a run is reproducible, and any changed byte is found."""

import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ariel_lib.io.archive import Archive
from ariel_lib.io.storage import StorageError
from ariel_lib.provenance import record
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


def test_of_concurrent_runs_every_one_has_its_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "git_state", lambda: {"sha": None, "dirty": None})
    read = record._entries

    def read_slowly(path):
        entries = read(path)
        time.sleep(0.01)
        return entries

    monkeypatch.setattr(record, "_entries", read_slowly)
    monkeypatch.setattr(record, "versions", dict)

    def make(seed):
        with record_run("train", tmp_path, seed=seed, manifest=f"manifest_{seed}.json"):
            pass

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(make, range(12)))
    assert sorted(entry["seed"] for entry in read(tmp_path / SUMMARY)) == list(range(12))


@pytest.mark.parametrize("content", ["", "[{", '{"a": 1}', "[1]"])
def test_a_summary_that_is_none_does_not_fail_a_finished_run(tmp_path, content):
    (tmp_path / "out").mkdir()
    summary = tmp_path / "out" / SUMMARY
    summary.write_text(content)
    assert read_seconds([summary]) == {}
    make_run(tmp_path / "out")
    assert [entry["command"] for entry in json.loads(summary.read_bytes())] == ["train"]
    damaged = summary.with_name(f"{SUMMARY}.damaged")
    assert damaged.read_text() == content if content else not damaged.exists()


def make_archive(folder):
    """The tables and frames of one visit, as far as digests need them: bytes. The signal is longer than what is read at a time."""
    planet = folder / "train" / "7"
    planet.mkdir(parents=True)
    (folder / "wavelengths.csv").write_text("wl_1,wl_2\n0.7,2.0\n")
    (planet / "AIRS-CH0_signal_0.parquet").write_bytes(bytes(9 * 2**20))
    archive = Archive(folder)
    archive.wavelengths()
    archive.visits_read["train", "7", 0] = archive.visit_digest("train", "7", 0)
    return archive


def test_the_record_of_a_data_set_is_what_was_read_and_reads_nothing_again(tmp_path):
    archive = make_archive(tmp_path / "data")
    (tmp_path / "curves.safetensors").write_bytes(b"light")
    archive.files[tmp_path / "curves.safetensors"] = "digest"
    (tmp_path / "out").mkdir()
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")  # hashing all of it took longer than the run
    with record_run("train", tmp_path / "out") as run:
        run.inputs = {"data": archive}
    stated = json.loads((tmp_path / "out" / "manifest_train.json").read_bytes())["inputs"]["data"]
    assert stated["path"] == "../data" and set(stated["visits"]) == {"train/7/0"}
    assert set(stated["files"]) == {"wavelengths.csv", "../curves.safetensors"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wavelengths.csv", "the content of wavelengths.csv changed"),
        ("train/7/AIRS-CH0_signal_0.parquet", "the frames of train/7/0 changed"),
    ],
)
def test_verify_run_reads_the_middle_of_large_files_too(tmp_path, name, told):
    archive = make_archive(tmp_path / "data")
    (tmp_path / "out").mkdir()
    with record_run("train", tmp_path / "out") as run:
        run.inputs = {"data": archive, "signal": tmp_path / "data" / "train" / "7" / "AIRS-CH0_signal_0.parquet"}
    assert verify_run(tmp_path / "out" / "manifest_train.json") == []
    content = bytearray((tmp_path / "data" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "data" / name).write_bytes(content)
    changes = verify_run(tmp_path / "out" / "manifest_train.json")
    assert [change for change in changes if change.endswith(told)] and len(changes) == (2 if "signal" in name else 1)
    (tmp_path / "data" / name).unlink()
    assert verify_run(tmp_path / "out" / "manifest_train.json")


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
