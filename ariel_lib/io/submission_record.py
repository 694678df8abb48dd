"""A submission on disk and what lies beside it: the record of how it was made, other answers, the weights, the kept fits."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ariel_lib.errors import ArchiveError
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import load_arrays

MANIFEST = "manifest_predict.json"


@dataclass(frozen=True)
class SubmissionRecord:
    """path: the submission; weights: file of the weights that made it, or None: as recorded; truth: csv of true spectra, or None:
    {split}.csv of its data set where that exists."""

    path: Path
    weights: Path | None = None
    truth: Path | None = None

    @classmethod
    def of(cls, path: Path | str, weights: Path | str | None = None, truth: Path | str | None = None) -> "SubmissionRecord":
        return cls(Path(path), weights and Path(weights), truth and Path(truth))

    @cached_property
    def source(self) -> dict[str, str]:
        """`data`, a folder, and `weights`, a SHA-256, as `predict` recorded them; empty where it did not write this submission."""
        return _read_json(self.path.with_suffix(".json")).get("source", {})

    @cached_property
    def manifest(self) -> dict:
        """The manifest that `spectramind predict` left beside the submission; empty without one."""
        return _read_json(self.path.parent / MANIFEST)

    @property
    def weights_path(self) -> Path:
        """Where the weights should lie: as given, else as the manifest names them, else model/weights.safetensors beside."""
        named = self.manifest.get("inputs", {}).get("weights", {}).get("path")
        return self.weights or self.path.parent / (named or Path("model") / "weights.safetensors")

    def answers(self) -> dict[str, dict[str, np.ndarray]]:
        """planet → the arrays that `predict` keeps of it, (wavelength,) each; empty without them. Raises StorageError."""
        path = self.path.with_suffix(".safetensors")
        if not path.is_file():
            return {}
        arrays, text = load_arrays(path)
        return {planet: {name: rows[n] for name, rows in arrays.items()} for n, planet in enumerate(json.loads(text["planet_ids"]))}

    def dataset(self, data: Path | str | None = None, split: str = "test", light_curves: Path | str | None = None) -> Dataset:
        """The data set that it answers: `data`, else the recorded one, with the submission's folder as scratch folder.

        Raises ArchiveError where neither is known.
        """
        folder = data or self.source.get("data")
        if folder is None:
            raise ArchiveError(self.path.with_suffix(".json"), "a record that names the data", "none", "Give --data FOLDER.")
        return Dataset(folder, split, light_curves=light_curves, scratch=self.path.parent)


def _read_json(path: Path) -> dict:
    return json.loads(path.read_bytes()) if path.is_file() else {}
