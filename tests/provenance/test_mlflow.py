"""provenance.mlflow: settings, figures and files of a run in a local MLflow store."""

import json
import sys
from types import SimpleNamespace

import pytest

from ariel_lib.io.storage import StorageError
from ariel_lib.provenance.mlflow import TrackingError, flatten, track
from ariel_lib.provenance.record import record_run


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    with record_run("train", tmp_path, seed=7, config_hash="c0ffee") as run:
        run.artifacts = [tmp_path / "weights.safetensors"]
        run.settings = {"training": {"epochs": 3}, "data": {"root": "x" * 900}}
        run.metrics = {"v50": {"score": 0.5, "name": "text"}, "planets": 4}
    return tmp_path / "manifest_train.json"


def test_nested_names_are_joined_by_dots():
    assert dict(flatten({"a": {"b": 1, "c": {"d": 2}}, "e": [3]})) == {"a.b": 1, "a.c.d": 2, "e": [3]}


def test_without_mlflow_or_a_manifest_an_error_says_so(manifest, tmp_path, monkeypatch):
    with pytest.raises(StorageError, match="no such file"):
        track(tmp_path / "absent.json", tmp_path / "store")
    (tmp_path / "other.json").write_text('{"files": {}}')
    with pytest.raises(StorageError, match="that a command wrote"):
        track(tmp_path / "other.json", tmp_path / "store")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TrackingError, match=r"spectramind\[mlflow\]"):
        track(manifest, tmp_path / "store")


def test_track_logs_params_metrics_and_artifacts(manifest, tmp_path, monkeypatch):
    """With a fake module in place of mlflow, which need not be installed."""
    logged = {"artifacts": []}

    class Run:
        info = SimpleNamespace(run_id="42")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    fake = SimpleNamespace(
        set_tracking_uri=lambda uri: logged.update(uri=uri), set_experiment=lambda name: None, start_run=lambda run_name: Run(),
        set_tags=lambda tags: logged.update(tags=tags), log_params=lambda params: logged.update(params=params),
        log_metrics=lambda metrics: logged.update(metrics=metrics), log_artifact=lambda path: logged["artifacts"].append(path),
    )  # fmt: skip
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    assert track(manifest, tmp_path / "store")["run"] == "42"
    assert logged["uri"].startswith("file://") and logged["metrics"] == {"v50.score": 0.5, "planets": 4.0}
    assert logged["params"]["training.epochs"] == "3" and logged["params"]["seed"] == "7" and len(logged["params"]["data.root"]) == 500
    assert [path.rpartition("/")[2] for path in logged["artifacts"]] == ["manifest_train.json", "weights.safetensors"]


@pytest.mark.slow
def test_a_real_store_holds_params_metrics_and_manifest(manifest, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    found = track(manifest, tmp_path / "store")
    run = mlflow.MlflowClient((tmp_path / "store").resolve().as_uri()).get_run(found["run"])
    assert run.data.params["training.epochs"] == "3" and run.data.metrics == {"v50.score": 0.5, "planets": 4.0}
    kept = list((tmp_path / "store").rglob("manifest_train.json"))
    assert len(kept) == 1 and json.loads(kept[0].read_text())["seed"] == 7
