"""Logging of a finished run, from its manifest, to a local MLflow store. Needs the extra [mlflow].

Settings become MLflow parameters, metrics MLflow metrics; the manifest and the files that it lists become artifacts. No server is used.
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
LARGEST = 64 * 2**20  # bytes of an artifact copied to the store; for larger ones the manifest has the SHA-256
LONGEST = 500  # characters, MLflow's limit for a parameter
ALLOW_FILES = "MLFLOW_ALLOW_FILE_STORE"  # newer versions of MLflow accept a folder as store only if it is true


class TrackingError(SpectraMindError):
    """A run that cannot be logged because a package is missing."""


def track(manifest: Path | str, store: Path | str) -> dict:
    """Log the run of a manifest to an MLflow store (folder); returns its id and the numbers of params, metrics and artifacts.

    Raises StorageError for a missing or malformed manifest, TrackingError without mlflow.
    """
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
    """(dotted name, value) of the leaves of nested mappings."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
