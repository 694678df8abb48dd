"""The submission file of a run in progress: valid from the start, replaced only by one with at least as many answers of the run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ariel_lib.io.checksums import sha256
from ariel_lib.io.storage import save_arrays, write_atomically
from ariel_lib.io.submission import write_submission
from ariel_lib.io.submission_record import CONTENT, EXPLANATION, MANIFEST, POPULATION


class SubmissionFile:
    """A submission (CSV), its record (JSON) and further arrays (safetensors), same name; all three of one run.

    planets   the rows, in this order
    fallback  mean and sigma, (wavelength,): the row of a planet without an answer
    source    identifies weights and data
    columns   in the order to write, those of the sample submission; None: as write_submission orders them
    written   planets whose answers are on disk

    Opening it replaces a file of an earlier run, and removes what lay beside that one. Raises OSError where it cannot be written.
    """

    def __init__(
        self, path: Path | str, planets: Sequence[str], fallback: tuple[np.ndarray, np.ndarray], source: Mapping[str, str],
        columns: Sequence[str] | None = None,
    ):  # fmt: skip
        self.path, self.planets, self.fallback, self.source = Path(path), tuple(planets), fallback, dict(source)
        self.columns, self.written = columns, frozenset()
        self.update({})
        for companion in (self.path.with_suffix(".safetensors"), *(self.path.with_name(n) for n in (MANIFEST, EXPLANATION, POPULATION))):
            companion.unlink(missing_ok=True)

    @property
    def answered(self) -> int:
        """Number of planets whose answers are on disk."""
        return len(self.written)

    @property
    def record(self) -> Path:
        return self.path.with_suffix(".json")

    def update(self, rows: Mapping[str, tuple[np.ndarray, np.ndarray]], facts: Mapping[str, object] | None = None) -> bool:
        """Replace the file with these rows, planet → (mean, sigma), unless it has more answers; returns whether it was replaced."""
        if len(rows) < self.answered:
            return False
        mean, sigma = (
            np.stack([rows[planet][n] if planet in rows else self.fallback[n] for planet in self.planets]) for n in (0, 1)
        )
        write_submission(self.path, self.planets, mean, sigma, fallback=self.fallback, columns=self.columns)
        self.written = frozenset(rows)
        record = {"answered": self.answered, "source": self.source, **(facts or {})}
        write_atomically(self.record, json.dumps(record, indent=1))
        return True

    def add_arrays(self, arrays: Mapping[str, np.ndarray], planets: Sequence[str], **remarks: str) -> None:
        """Write further arrays (planet, wavelength), with remarks, beside the submission that is on disk, whose digest they name."""
        text = remarks | {"planet_ids": json.dumps(list(planets)), CONTENT: sha256(self.path)}
        save_arrays(self.path.with_suffix(".safetensors"), dict(arrays), text)

    def add_population(self, nuisance_prior: np.ndarray) -> None:
        """Write the nuisance prior (kind, kind) that the answers on disk are conditioned on, where it is not that of the weights."""
        save_arrays(self.path.with_name(POPULATION), {"nuisance_prior": nuisance_prior}, {CONTENT: sha256(self.path)})
