"""A finished run, as its manifest tells it, entered into an MLflow store on this machine. Needs the extra [mlflow].

Parameters are the settings, metrics the figures, artifacts the manifest and the files that it lists. No server is asked.
"""

import importlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.storage import StorageError

EXPERIMENT = "spectramind"
LARGEST = 64 * 2**20  # bytes of an artifact that is copied into the store; of larger ones the manifest has the hash
LONGEST = 500  # letters of a parameter that MLflow takes
ALLOW_FILES = "MLFLOW_ALLOW_FILE_STORE"  # newer MLflow keeps to databases unless this says true


class TrackingError(SpectraMindError):
    """A run cannot be entered: says what is missing."""


def track(manifest: Path | str, store: Path | str) -> dict:
    """Enter the run; returns its id, and the numbers of params, metrics and artifacts."""
    manifest, store = Path(manifest), Path(store)
    if not manifest.is_file():
        raise StorageError(f"{manifest}: expected the manifest of a run, found no such file")
    try:
        found = json.loads(manifest.read_bytes())
        artifacts, command = dict(found["artifacts"]), str(found["command"])
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{manifest}: expected the manifest that a command wrote, found {type(error).__name__}: {error}") from error
    if importlib.util.find_spec("mlflow") is None:
        raise TrackingError("track: expected mlflow, found it missing: pip install 'spectramind[mlflow]'")
    os.environ.setdefault(ALLOW_FILES, "true")
    mlflow = importlib.import_module("mlflow")
    store.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(store.resolve().as_uri())
    mlflow.set_experiment(EXPERIMENT)
    settings = {"seed": found.get("seed"), "config_hash": found.get("config_hash")} | dict(flatten(found.get("settings") or {}))
    metrics = {name: float(value) for name, value in flatten(found.get("metrics") or {}) if _is_number(value)}
    files = [manifest.parent / name for name in artifacts]
    kept = [path for path in files if path.is_file() and path.stat().st_size <= LARGEST]
    with mlflow.start_run(run_name=command) as run:
        mlflow.set_tags({"command": command, "git_sha": str(found["git"]["sha"]), "git_dirty": str(found["git"]["dirty"])})
        mlflow.log_params({name: str(value)[:LONGEST] for name, value in settings.items()})
        mlflow.log_metrics(metrics)
        for path in (manifest, *kept):
            mlflow.log_artifact(str(path))
    return {"run": run.info.run_id, "store": str(store), "params": len(settings), "metrics": len(metrics), "artifacts": 1 + len(kept)}


def flatten(values: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted names of the leaves of nested mappings."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
