"""io.submission_record: the files beside a submission; a missing one is an error only when it is needed."""

import json

import numpy as np
import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.io.checksums import sha256
from ariel_lib.io.storage import StorageError, save_arrays
from ariel_lib.io.submission_record import SubmissionRecord


def test_weights_are_given_else_recorded_else_in_the_model_folder(tmp_path):
    path = tmp_path / "submission.csv"
    assert SubmissionRecord.of(path).weights_path == tmp_path / "model" / "weights.safetensors"
    path.write_text("planet_id,wl_1,sigma_1\n")
    described = {"artifacts": {path.name: {"sha256": sha256(path)}}, "inputs": {"weights": {"path": "../w.safetensors"}}}
    (tmp_path / "manifest_predict.json").write_text(json.dumps(described))
    assert SubmissionRecord.of(path).weights_path == tmp_path / "../w.safetensors"
    assert SubmissionRecord.of(path, weights="x").weights_path.name == "x"


def test_the_manifest_of_another_submission_in_the_folder_is_not_taken(tmp_path):
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    for path in (first, second):
        path.write_text(f"planet_id,wl_1,sigma_1\n{path.stem},0.01,0.001\n")
    described = {"artifacts": {second.name: {"sha256": sha256(second)}}, "git": {"sha": "2"}}
    (tmp_path / "manifest_predict.json").write_text(json.dumps(described))
    assert SubmissionRecord.of(first).manifest == {} and SubmissionRecord.of(second).manifest == described
    second.write_text(second.read_text().replace("0.01", "0.02"))
    assert SubmissionRecord.of(second).manifest == {}


def test_the_data_set_is_given_else_recorded(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "other").mkdir()
    path = tmp_path / "run" / "submission.csv"
    path.parent.mkdir()
    with pytest.raises(ArchiveError, match="Give --data FOLDER"):
        SubmissionRecord.of(path).dataset()
    path.with_suffix(".json").write_text(json.dumps({"source": {"data": str(tmp_path / "data"), "weights": "0"}}))
    dataset = SubmissionRecord.of(path).dataset(split="train")
    assert (dataset.root, dataset.split, dataset.scratch) == (tmp_path / "data", "train", tmp_path / "run")
    assert SubmissionRecord.of(path).dataset(tmp_path / "other").root == tmp_path / "other"


def test_answers_are_read_by_planet(tmp_path):
    record = SubmissionRecord.of(tmp_path / "submission.csv")
    assert record.answers() == {}
    save_arrays(tmp_path / "submission.safetensors", {"depth": np.arange(6.0).reshape(2, 3)}, {"planet_ids": '["b", "a"]'})
    answers = record.answers()
    assert list(answers) == ["b", "a"] and answers["a"]["depth"].tolist() == [3, 4, 5]


def test_arrays_of_another_content_of_the_submission_are_refused(tmp_path):
    record = SubmissionRecord.of(tmp_path / "submission.csv")
    record.path.write_text("planet_id,wl_1,sigma_1\na,0.01,0.001\n")
    text = {"planet_ids": '["a"]', "submission_sha256": sha256(record.path)}
    save_arrays(tmp_path / "submission.safetensors", {"depth": np.ones((1, 3))}, text)
    assert list(record.answers()) == ["a"]
    record.path.write_text("planet_id,wl_1,sigma_1\na,0.02,0.001\n")
    with pytest.raises(StorageError, match="found those of other content"):
        record.answers()
