"""Submissions of the challenge: mean and sigma to CSV and back, complete, valid and reproducible to the byte.

Columns planet_id, wl_1 … wl_N, sigma_1 … sigma_N (as in sample_submission.csv). Depths are fractions, (Rp/Rs)².
A planet without a valid prediction gets the fallback values, with a warning in the log.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ariel_lib.errors import ArchiveError
from ariel_lib.io.layout import is_plain_name, normalise_planet_id
from ariel_lib.io.storage import write_atomically
from ariel_lib.io.tables import as_numbers, numbered_columns, read_csv, require_distinct

Array = np.ndarray
log = logging.getLogger(__name__)

SIGMA_FLOOR = 1e-6  # the smaller of the two standard deviations σ_true of the 2025 score


class SubmissionError(ArchiveError):
    """An invalid submission; the message names the file, what was expected, what was found and what to do."""

    def __init__(self, path: Path | str, expected: str, found: str, remedy: str):
        super().__init__(path, expected, found, remedy)
        self.expected, self.found, self.remedy = expected, found, remedy

    def __reduce__(self):
        return (SubmissionError, (self.path, self.expected, self.found, self.remedy))


@dataclass(frozen=True)
class Sample:
    """What a sample submission asks for: planets and columns, both in the order of the file. Its values are not read."""

    planet_ids: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def n_wavelengths(self) -> int:
        """Number of wavelengths."""
        return (len(self.columns) - 1) // 2


def read_sample(path: Path | str, digests: dict[Path, str] | None = None) -> Sample:
    """Read sample_submission.csv: every value may be blank. Raises SubmissionError as read_submission does, but for values.

    digests  path → SHA-256, to which the file's is added
    """
    planet_ids, table = _read_table(Path(path), digests)
    if unsafe := [planet for planet in planet_ids if not is_plain_name(planet)]:
        raise SubmissionError(path, "planet ids that can name a folder", repr(unsafe[0]), "Take the challenge's file.")
    return Sample(planet_ids, tuple(table.columns))


def write_submission(
    path: Path | str,
    planet_ids: Sequence[str],
    mean: Array,
    sigma: Array,
    *,
    fallback: tuple[Array, Array | float],
    order: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> Path:
    """Write a valid row for every planet of `order`, with the fallback for a missing or invalid prediction.

    planet_ids   planets of the rows of mean and sigma
    mean, sigma  (planet, wavelength); a sigma below SIGMA_FLOOR is raised to it
    fallback     mean (wavelength,) and sigma, scalar or (wavelength,), such as those of the training labels
    order        planets required, in this order; None: those predicted
    columns      names in the order to write, those of the sample submission; None: planet_id, wl_1 … wl_N, sigma_1 … sigma_N

    Raises SubmissionError for a name that does not end in .csv, duplicate ids, wrong shapes or an invalid fallback.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        remedy = "It is written as plain text, with a .json and a .safetensors file beside it."
        raise SubmissionError(path, "a name that ends in .csv", path.suffix or "no ending", remedy)
    fallback_mean, fallback_sigma = (np.asarray(values, dtype=np.float64) for values in fallback)
    mean, sigma = np.asarray(mean, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    if columns is not None and set(columns) != set(_columns(fallback_mean.size)):
        found = f"{len(columns)} columns, {columns[0]} … {columns[-1]}"
        raise SubmissionError(path, f"columns for {fallback_mean.size} wavelengths", found, "Check the sample submission.")
    predicted = _distinct(path, planet_ids)
    order = predicted if order is None else _distinct(path, order)
    _require_shapes(path, order, predicted, mean, sigma, fallback_mean)
    wide = np.broadcast_to(fallback_sigma, fallback_mean.shape)
    if fault := find_fault(fallback_mean, wide):
        raise SubmissionError(path, "a valid fallback", fault, "Pass the training mean and a wide sigma.")

    row_of = {planet: row for row, planet in enumerate(predicted)}
    for planet in sorted(set(predicted) - set(order)):
        log.warning("%s: planet %s was predicted but is not required; its row is left out", path, planet)
    means, sigmas = np.tile(fallback_mean, (len(order), 1)), np.tile(wide, (len(order), 1))
    for position, planet in enumerate(order):
        row = row_of.get(planet)
        reason = "no prediction" if row is None else find_fault(mean[row], sigma[row])
        if reason:
            log.warning("%s: planet %s gets the training mean and a wide sigma: %s", path, planet, reason)
        else:
            means[position], sigmas[position] = mean[row], sigma[row]
    return write_atomically(path, _format_table(order, means, np.maximum(sigmas, SIGMA_FLOOR), columns))


def find_fault(mean: Array, sigma: Array) -> str | None:
    """Why this spectrum cannot be submitted, or None. mean, sigma (..., wavelength)."""
    if not np.isfinite(mean).all():
        return f"{np.count_nonzero(~np.isfinite(mean))} means are not finite"
    if not np.isfinite(sigma).all():
        return f"{np.count_nonzero(~np.isfinite(sigma))} sigmas are not finite"
    if (mean < 0).any():
        return f"{np.count_nonzero(mean < 0)} means are negative, the lowest {mean.min():g}"
    if (mean > 1).any():
        return f"{np.count_nonzero(mean > 1)} means exceed 1, the whole star, the highest {mean.max():g}"
    if (sigma <= 0).any():
        return f"{np.count_nonzero(sigma <= 0)} sigmas are not positive, the lowest {sigma.min():g}"
    return None


def read_submission(path: Path | str) -> tuple[tuple[str, ...], Array, Array]:
    """Planet ids, mean and sigma (planet, wavelength) of a valid submission, (Rp/Rs)². Raises SubmissionError.

    >>> from ariel_lib import read_submission
    >>> planets, mean, sigma = read_submission(folder / "sample_submission.csv")
    >>> mean.shape == sigma.shape == (len(planets), 283)
    True
    """
    planet_ids, table = _read_table(Path(path))
    for name in table.columns.drop("planet_id"):
        for row in np.flatnonzero(np.isnan(as_numbers(table[name]))):
            if (cell := table[name][row]).lower() != "nan":
                found = f"{cell!r} in {name} of planet {planet_ids[row]}"
                raise SubmissionError(path, "a number in every cell", found, "Look for empty or cut rows.")
    mean, sigma = (numbered_columns(table, kind, Path(path), SubmissionError) for kind in ("wl", "sigma"))
    fault = find_fault(mean, sigma)
    if fault:
        raise SubmissionError(path, "finite depths from 0 to 1 and positive sigmas", fault, "Write it again.")
    return planet_ids, mean, sigma


def validate_submission(path: Path | str, sample: Path | str | Sample | None = None) -> None:
    """Raise SubmissionError unless the file is valid and has the planets and wavelengths of the sample submission, if given."""
    planet_ids = read_submission(path)[0]
    if sample is None:
        return
    wanted, found = sample if isinstance(sample, Sample) else read_sample(sample), read_sample(path)
    sample = "sample_submission.csv" if isinstance(sample, Sample) else sample
    if found.n_wavelengths != wanted.n_wavelengths:
        raise SubmissionError(
            path, f"{wanted.n_wavelengths} wavelengths as in {sample}", f"{found.n_wavelengths}", "Check the wavelength axis."
        )
    if found.columns != wanted.columns:
        first = next(n for n, name in enumerate(wanted.columns) if found.columns[n] != name)
        raise SubmissionError(
            path, f"the columns of {sample} in its order", f"{found.columns[first]} in place of {wanted.columns[first]}",
            "Pass the sample's columns to write_submission.",
        )  # fmt: skip
    missing, extra = sorted(set(wanted.planet_ids) - set(planet_ids)), sorted(set(planet_ids) - set(wanted.planet_ids))
    if missing or extra:
        raise SubmissionError(
            path,
            f"the {len(wanted.planet_ids)} planets of {sample}",
            f"{len(missing)} missing ({_name_some(missing)}) and {len(extra)} unknown ({_name_some(extra)})",
            "Pass the sample's planet ids as order to write_submission.",
        )


def _format_table(planet_ids: Sequence[str], mean: Array, sigma: Array, columns: Sequence[str] | None) -> bytes:
    names = _columns(mean.shape[1])
    place = {name: n for n, name in enumerate(names)}
    order = [place[name] for name in columns or names]
    rows = [",".join(names[n] for n in order)]
    for planet, values in zip(planet_ids, np.hstack([mean, sigma]).tolist(), strict=True):
        cells = [planet, *map(repr, values)]  # repr gives the shortest text that is read back as the same float
        rows.append(",".join(cells[n] for n in order))
    return ("\n".join(rows) + "\n").encode()


def _columns(n_wavelengths: int) -> list[str]:
    return ["planet_id"] + [f"{kind}_{n}" for kind in ("wl", "sigma") for n in range(1, n_wavelengths + 1)]


def _read_table(path: Path, digests: dict[Path, str] | None = None) -> tuple[tuple[str, ...], pd.DataFrame]:
    """Planet ids and text of a submission or its sample: the columns planet_id, wl_1 … wl_N, sigma_1 … sigma_N in any order."""
    if not path.is_file():
        raise SubmissionError(path, "a submission", "no such file", "Check the path.")
    table = read_csv(path, SubmissionError, digests)
    n_wavelengths = (len(table.columns) - 1) // 2
    if n_wavelengths < 1 or set(table.columns) != set(_columns(n_wavelengths)):
        foreign = sorted(set(table.columns) - set(_columns(max(1, n_wavelengths))))
        raise SubmissionError(
            path,
            "the columns planet_id, wl_1 … wl_N, sigma_1 … sigma_N",
            f"{len(table.columns)} columns" + (f" with {foreign[0][:40]!r}" if foreign else f", {table.columns[0]} … {table.columns[-1]}"),
            "Keep the columns of sample_submission.csv.",
        )
    if not len(table):
        raise SubmissionError(path, "a row for every planet", "no row", "Take the challenge's file.")
    return _distinct(path, table["planet_id"]), table


def _distinct(path: Path, planet_ids: Sequence[str]) -> tuple[str, ...]:
    ids = tuple(normalise_planet_id(planet) for planet in planet_ids)
    require_distinct(ids, path, SubmissionError)
    broken = [planet for planet in ids if not planet or set(planet) & set(',"\r\n')]
    if broken:
        raise SubmissionError(
            path, "a planet id in every row", repr(broken[0]), "Use the ids of sample_submission.csv."
        )
    return ids


def _require_shapes(
    path: Path, order: Sequence[str], predicted: Sequence[str], mean: Array, sigma: Array, fallback_mean: Array
) -> None:
    if not order:
        raise SubmissionError(path, "at least one planet", "none", "Pass the sample's planet ids as order.")
    if fallback_mean.ndim != 1 or not fallback_mean.size:
        raise SubmissionError(
            path, "a fallback mean (wavelength,)", f"shape {fallback_mean.shape}", "Average the labels."
        )
    expected = (len(predicted), fallback_mean.size)
    if mean.shape != expected or sigma.shape != expected:
        raise SubmissionError(
            path,
            f"mean and sigma of shape {expected}, one row a planet id",
            f"{mean.shape} and {sigma.shape}",
            "Check the planet ids and the wavelength axis.",
        )


def _name_some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "") if names else "none"
