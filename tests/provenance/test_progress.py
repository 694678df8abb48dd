"""provenance.progress: running.json follows a run and is removed at its end."""

import json

import pytest

from ariel_lib.provenance import progress
from ariel_lib.provenance.progress import LINES, RUNNING, publish_progress


@pytest.fixture(autouse=True)
def _write_always(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)


def test_progress_and_lines_go_to_the_callbacks_and_to_the_file(tmp_path):
    moved, noted = [], []
    with publish_progress("train", tmp_path, lambda *at: moved.append(at), noted.append) as (move, log):
        move(3, 10)
        for n in range(LINES + 5):
            log(f"epoch {n}")
        found = json.loads((tmp_path / RUNNING).read_bytes())
    assert (found["command"], found["done"], found["total"]) == ("train", 3, 10)
    assert found["lines"] == noted[-LINES:] and moved == [(3, 10)] and found["updated"] >= found["started"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_raises_removes_the_file(tmp_path):
    with pytest.raises(ZeroDivisionError), publish_progress("calibrate", tmp_path) as (move, _):
        move(1, 1 // 0)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_not_created(tmp_path):
    with publish_progress("train", tmp_path / "out") as (move, log):
        move(0, 1)
        log("x")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_ignored(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress, "write_atomically", full)
    with publish_progress("calibrate", tmp_path) as (move, _):
        move(1, 2)
