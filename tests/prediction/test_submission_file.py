"""prediction.submission_file: valid from the start, all of one run, never replaced by a file with fewer answers of that run."""

import json

import numpy as np
import pytest

from ariel_lib.io import submission
from ariel_lib.io.storage import StorageError
from ariel_lib.io.submission import read_submission, validate_submission
from ariel_lib.io.submission_record import SubmissionRecord
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


def test_a_later_run_begins_with_a_file_of_its_own(tmp_path):
    """The light curves may be others, which the file does not say."""
    first = open_file(tmp_path)
    first.update({"1": row(0.01), "2": row(0.02)}, {"fallbacks": {}})
    first.add_arrays({"depth": np.ones((2, 4))}, ["1", "2"])
    for name in ("manifest_predict.json", "explanation.safetensors"):
        (tmp_path / name).write_text("{}")
    second = open_file(tmp_path)
    assert second.answered == 0 and np.all(read_submission(second.path)[1] == FALLBACK[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["submission.csv", "submission.json"]
    assert second.update({"1": row(0.03)}) and read_submission(second.path)[1][1, 0] == 0.03


def test_an_earlier_file_stays_whole_where_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    first = open_file(tmp_path)
    first.update({"1": row(0.01)})
    first.add_arrays({"depth": np.ones((1, 4))}, ["1"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(submission, "write_atomically", refuse)
    with pytest.raises(OSError, match="No space"):
        open_file(tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_arrays_name_the_content_that_they_belong_to(tmp_path):
    submission_file = open_file(tmp_path)
    submission_file.update({"1": row(0.01)})
    submission_file.add_arrays({"depth": np.ones((1, 4))}, ["1"])
    assert list(SubmissionRecord.of(submission_file.path).answers()) == ["1"]
    submission_file.update({"1": row(0.01), "2": row(0.02)})
    with pytest.raises(StorageError, match="other content"):
        SubmissionRecord.of(submission_file.path).answers()


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
