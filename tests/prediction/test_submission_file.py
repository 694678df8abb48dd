"""prediction.submission_file: valid from the start, never replaced by a file with fewer answers."""

import json

import numpy as np
import pytest

from ariel_lib.io import submission
from ariel_lib.io.submission import read_submission, validate_submission
from ariel_lib.prediction.submission_file import SubmissionFile

PLANETS = ("3", "1", "2")
FALLBACK = np.full(4, 0.0147), np.full(4, 0.0107)


def row(depth):
    return np.full(4, depth), np.full(4, 1e-4)


def open_file(folder, source="a"):
    return SubmissionFile(folder / "submission.csv", PLANETS, FALLBACK, {"weights": source})


def test_the_file_is_valid_before_any_answer(tmp_path):
    submission_file = open_file(tmp_path)
    validate_submission(submission_file.path)
    planets, mean, sigma = read_submission(submission_file.path)
    assert planets == PLANETS and np.all(mean == FALLBACK[0]) and np.all(sigma == FALLBACK[1])


def test_update_needs_at_least_as_many_answers(tmp_path):
    submission_file = open_file(tmp_path)
    assert submission_file.update({"1": row(0.01), "2": row(0.02)}, {"fallbacks": {"3": "why"}})
    assert not submission_file.update({"1": row(0.03)})
    assert read_submission(submission_file.path)[1][1, 0] == 0.01
    assert submission_file.update({"1": row(0.03), "2": row(0.02)})
    assert read_submission(submission_file.path)[1][:, 0].tolist() == [0.0147, 0.03, 0.02]


def test_a_later_run_of_the_same_source_keeps_the_answers(tmp_path):
    open_file(tmp_path).update({"1": row(0.01), "2": row(0.02)}, {"fallbacks": {}})
    assert open_file(tmp_path).answered == 2
    assert open_file(tmp_path, "b").answered == 0  # other weights
    (tmp_path / "submission.csv").write_text("half a fi")
    assert open_file(tmp_path, "b").answered == 0
    validate_submission(tmp_path / "submission.csv")


def test_the_record_holds_the_number_of_answers_and_the_facts(tmp_path):
    submission_file = open_file(tmp_path)
    submission_file.update({"1": row(0.01)}, {"fallbacks": {"2": "cut in half"}})
    record = json.loads(submission_file.record.read_text())
    assert record["answered"] == 1 and record["fallbacks"] == {"2": "cut in half"}


def test_a_failed_write_leaves_the_file_unchanged(tmp_path, monkeypatch):
    submission_file = open_file(tmp_path)
    submission_file.update({"1": row(0.01)})
    before = submission_file.path.read_bytes()

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(submission, "write_atomically", refuse)
    with pytest.raises(OSError, match="No space"):
        submission_file.update({"1": row(0.02), "2": row(0.02)})
    assert submission_file.path.read_bytes() == before and submission_file.answered == 1


def test_the_columns_of_the_sample_are_kept_in_their_order(tmp_path):
    columns = ("planet_id", *(f"{kind}_{n}" for n in range(1, 5) for kind in ("sigma", "wl")))
    submission_file = SubmissionFile(tmp_path / "submission.csv", PLANETS, FALLBACK, {}, columns)
    assert submission_file.update({"1": row(0.01)})
    assert submission_file.path.read_text().splitlines()[0] == ",".join(columns)
    assert read_submission(submission_file.path)[1][1, 0] == 0.01
