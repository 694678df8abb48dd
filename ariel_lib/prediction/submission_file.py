"""The submission file of a run in progress: valid from the start, and replaced only by one with at least as many answers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ariel_lib.io.storage import write_atomically
from ariel_lib.io.submission import SubmissionError, read_submission, write_submission


class SubmissionFile:
    """A submission (CSV) and its record (JSON, same name).

    planets   the rows, in this order
    fallback  mean and sigma, (wavelength,): the row of a planet without an answer
    source    identifies weights and data; an existing file with another source is replaced at once
    columns   in the order to write, those of the sample submission; None: as write_submission orders them
    """

    def __init__(
        self, path: Path | str, planets: Sequence[str], fallback: tuple[np.ndarray, np.ndarray], source: Mapping[str, str],
        columns: Sequence[str] | None = None,
    ):  # fmt: skip
        self.path, self.planets, self.fallback, self.source = Path(path), tuple(planets), fallback, dict(source)
        self.columns = columns
        self.answered = self._answered_before()
        if self.answered < 0:
            self.update({})

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
        write_submission(
            self.path, self.planets, mean, sigma, fallback_mean=self.fallback[0], fallback_sigma=self.fallback[1],
            columns=self.columns,
        )  # fmt: skip
        self.answered = len(rows)
        record = {"answered": self.answered, "source": self.source, **(facts or {})}
        write_atomically(self.record, json.dumps(record, indent=1).encode())
        return True

    def _answered_before(self) -> int:
        """Number of answers in an existing file with the same source; -1 without one."""
        try:
            record = json.loads(self.record.read_bytes())
            planets = read_submission(self.path)[0]
        except (OSError, ValueError, SubmissionError):
            return -1
        if planets != self.planets or record.get("source") != self.source:
            return -1
        return int(record.get("answered", 0))
