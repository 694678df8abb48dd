"""Score of a submission file against the true spectra, with the statistics of `metrics.summary`."""

from pathlib import Path

import numpy as np

from ariel_lib.errors import ArchiveError
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.submission import SubmissionError, read_submission
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import naive_statistics, summary

# where the naive answer, which scores 0, is not that of the training labels
NOT_THE_CHALLENGES = "not the challenge's score: its naive answer is computed from the truth of these planets"


def evaluate_submission(
    submission: Path | str, truth: Path | str, *, year: int = 2025, train_labels: Path | str | None = None
) -> dict[str, float | int | str]:
    """metrics.summary over the submitted planets, with the number of planets and the naive answer, JSON-able.

    submission, truth  CSV files in the challenge's formats
    train_labels       CSV file of the labels whose mean and standard deviation are the naive answer; default: the truth itself,
                       and "note" then says that "score" is not the challenge's
    Planets of `truth` that were not submitted are left out and counted in n_not_submitted.
    Raises SubmissionError for a submitted planet without truth, or another number of wavelengths.
    """
    planet_ids, mean, sigma = read_submission(submission)
    spectra = read_spectra(truth)
    known = set(spectra.planet_ids)
    unknown = [planet for planet in planet_ids if planet not in known]
    if unknown:
        found = f"{len(unknown)} without truth: {', '.join(unknown[:5])}{' …' if len(unknown) > 5 else ''}"
        raise SubmissionError(
            submission, f"only planets of {truth}", found, "Score it against the truth of its own set."
        )
    if mean.shape[1] != spectra.depth.shape[1]:
        found = f"{mean.shape[1]}"
        raise SubmissionError(
            submission, f"{spectra.depth.shape[1]} wavelengths", found, f"{truth} fixes their number."
        )
    labels = spectra if train_labels is None else read_spectra(train_labels)
    naive_mean, naive_sigma = naive_statistics(labels.depth)
    note = {} if train_labels is not None else {"note": f"{NOT_THE_CHALLENGES}: no training labels were given"}
    figures = summary(
        spectra.of(planet_ids), mean, sigma, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year
    )  # fmt: skip
    return {
        **figures,
        "n_planets": len(planet_ids),
        "n_not_submitted": len(known) - len(planet_ids),
        "year": year,
        "naive_mean": naive_mean,
        "naive_sigma": naive_sigma,
        **note,
    }


def read_true_spectra(truth: Path | str, dataset: Dataset) -> np.ndarray:
    """(planet, wavelength) true spectra of a data set's planets, in their order, from a CSV file in the format of train.csv.

    Raises ArchiveError where the file lacks a planet or has another number of wavelengths.
    """
    spectra, count = read_spectra(truth), len(dataset.wavelengths)
    without = sorted(set(dataset.planets) - set(spectra.planet_ids))
    if without:
        found = f"none of {len(without)}, such as {without[0]}"
        raise ArchiveError(truth, f"the {len(dataset.planets)} planets of {dataset.root / dataset.split}", found)
    if spectra.depth.shape[1] != count:
        raise ArchiveError(truth, f"{count} wavelengths, as in wavelengths.csv", f"{spectra.depth.shape[1]}")
    return spectra.of(dataset.planets)
