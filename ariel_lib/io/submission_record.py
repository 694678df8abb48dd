"""A submission on disk and the files beside it: its record, manifest, weights, further arrays and transit fits."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ariel_lib.errors import ArchiveError
from ariel_lib.io.checksums import sha256
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import StorageError, load_arrays, load_metadata

MANIFEST = "manifest_predict.json"
EXPLANATION = "explanation.safetensors"
POPULATION = "population.safetensors"  # nuisance_prior, of the weights as the visits of the submission updated it
CONTENT = "submission_sha256"  # of the submission that a file of arrays belongs to, in its metadata


@dataclass(frozen=True)
class SubmissionRecord:
    """Paths of a submission and its companions.

    path     the submission (CSV)
    weights  checkpoint it was made with; None: as recorded
    truth    CSV of true spectra; None: {split}.csv of its data set where that exists
    """

    path: Path
    weights: Path | None = None
    truth: Path | None = None

    @classmethod
    def of(cls, path: Path | str, weights: Path | str | None = None, truth: Path | str | None = None) -> "SubmissionRecord":
        """A record from paths as strings."""
        return cls(Path(path), weights and Path(weights), truth and Path(truth))

    @cached_property
    def facts(self) -> dict:
        """The record that `predict` wrote beside the submission; empty without one."""
        return _read_json(self.path.with_suffix(".json"))

    @property
    def remarks(self) -> dict[str, str]:
        """Planet → why its row is the training mean, or what its answer does without."""
        means = {planet: f"training mean: {why}" for planet, why in self.facts.get("fallbacks", {}).items()}
        return means | self.facts.get("notes", {})

    @property
    def source(self) -> dict[str, str]:
        """`data` (folder) and `weights` (SHA-256) as recorded by `predict`; empty without a record."""
        return self.facts.get("source", {})

    @cached_property
    def manifest(self) -> dict:
        """The manifest that `spectramind predict` wrote beside the submission; empty without one, and for that of another file."""
        manifest = _read_json(self.path.parent / MANIFEST)
        stated = manifest.get("artifacts", {}).get(self.path.name, {})
        return manifest if stated and self.path.is_file() and stated.get("sha256") == sha256(self.path) else {}

    @property
    def weights_path(self) -> Path:
        """Path of the weights: `weights`, else as in the manifest, else model/weights.safetensors beside the submission."""
        named = self.manifest.get("inputs", {}).get("weights", {}).get("path")
        return self.weights or self.path.parent / (named or Path("model") / "weights.safetensors")

    def answers(self) -> dict[str, dict[str, np.ndarray]]:
        """planet → arrays that `predict` stored beside the submission, (wavelength,) each; empty without them.

        Raises StorageError for a damaged file and for arrays of another submission.
        """
        path = self.path.with_suffix(".safetensors")
        if not path.is_file():
            return {}
        arrays, text = load_arrays(path)
        if CONTENT in text and text[CONTENT] != sha256(self.path):
            raise StorageError(f"{path}: expected the arrays of {self.path}, found those of other content. Predict again, or remove it.")
        return {planet: {name: rows[n] for name, rows in arrays.items()} for n, planet in enumerate(json.loads(text["planet_ids"]))}

    def population(self) -> dict[str, np.ndarray]:
        """Arrays of the population corrections that the visits of the submission updated; empty where it has those of the weights."""
        path = self.path.with_name(POPULATION)
        arrays, text = load_arrays(path) if path.is_file() else ({}, {})
        return arrays if text.get(CONTENT) == sha256(self.path) else {}

    @property
    def initial_estimate(self) -> str | None:
        """What the arrays `initial_*` are, such as library_posterior; None without arrays, or for those of an earlier version."""
        path = self.path.with_suffix(".safetensors")
        return load_metadata(path).get("initial_estimate") if path.is_file() else None

    def dataset(self, data: Path | str | None = None, split: str = "test", light_curves: Path | str | None = None) -> Dataset:
        """The data set of the submission: `data`, else the recorded one, with the submission's folder as scratch folder.

        Raises ArchiveError where neither is given.
        """
        folder = data or self.source.get("data")
        if folder is None:
            raise ArchiveError(self.path.with_suffix(".json"), "a record that names the data", "none", "Give --data FOLDER.")
        return Dataset(folder, split, light_curves=light_curves, scratch=self.path.parent)


def _read_json(path: Path) -> dict:
    """A JSON object; empty without the file. Raises StorageError for a damaged one."""
    try:
        found = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError as error:
        raise StorageError(f"{path}: expected the record of a submission in JSON, found {error}. Remove it or predict again.") from error
    if not isinstance(found, dict):
        raise StorageError(f"{path}: expected the record of a submission, found a {type(found).__name__}. Remove it or predict again.")
    return found
