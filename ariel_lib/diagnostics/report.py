"""A short HTML report of a submission: its spectra and, with labels, their errors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ariel_lib import metrics as scoring
from ariel_lib.errors import SpectraMindError
from ariel_lib.evaluation.score import NOT_THE_CHALLENGES
from ariel_lib.io.layout import Spectra
from ariel_lib.io.submission import read_submission
from ariel_lib.io.submission_record import SubmissionRecord
from ariel_lib.io.tables import read_spectra
from ariel_lib.plots.figures import draw_calibration, draw_gain_map, draw_spectra
from ariel_lib.plots.page import write_report

Array = np.ndarray

PLANETS_DRAWN = 5
PLANETS_LISTED = 20


def report_from_artifacts(
    submission_csv: Path | str,
    out_html: Path | str,
    *,
    labels_csv: Path | str | None = None,
    wavelengths: Array | None = None,
    train_labels_csv: Path | str | None = None,
    title: str = "Recovered spectra",
) -> Path:
    """Write the report of a submission: spectra with one-sigma bands, the remarks of `predict` on its planets and, with labels, metrics,
    calibration and gain.

    labels_csv        true spectra of the submission's planets, or of some of them
    wavelengths       (wavelength,) micron; None: the axis is the index of the wavelength
    train_labels_csv  labels of the naive answer; None: labels_csv, with a note on the page

    Raises SpectraMindError for labels or wavelengths that do not match the submission.
    """
    planet_ids, mean, sigma = read_submission(submission_csv)
    if wavelengths is not None and np.shape(wavelengths) != (mean.shape[1],):
        raise SpectraMindError(
            f"{submission_csv}: expected {mean.shape[1]} wavelengths, found an axis of shape {np.shape(wavelengths)}"
        )
    notes = [f"{len(planet_ids)} planets, {mean.shape[1]} wavelengths, from {Path(submission_csv).name}."]
    remarks = _list_remarks(submission_csv, planet_ids)
    if labels_csv is None:
        few = slice(0, PLANETS_DRAWN)
        figure = draw_spectra(planet_ids[few], mean[few], sigma[few], wavelengths=wavelengths)
        tables = {f"Planets, the first {PLANETS_LISTED}": _list_predictions(planet_ids, mean, sigma)} | remarks
        return write_report(out_html, title=title, metrics={}, figures={"Spectra": figure}, tables=tables, notes=notes)

    labels = read_spectra(labels_csv)
    rows = _match_labels(planet_ids, mean.shape[1], labels, labels_csv)
    notes.append(f"{len(rows)} of them have labels in {Path(labels_csv).name}; metrics and figures refer to these.")
    if train_labels_csv is None:
        notes.append(f"The score is {NOT_THE_CHALLENGES}: no training labels were given.")
    train = labels if train_labels_csv is None else read_spectra(train_labels_csv)
    naive = scoring.naive_answer(train.depth)
    known = [planet_ids[row] for row in rows]
    arrays = labels.of(known), mean[rows], sigma[rows]
    figures, table = _evaluate(known, *arrays, wavelengths=wavelengths, **naive)
    metrics, tables = scoring.summary(*arrays, **naive), {f"Planets, the {PLANETS_LISTED} worst": table} | remarks
    return write_report(out_html, title=title, metrics=metrics, figures=figures, tables=tables, notes=notes)


def _list_remarks(submission_csv: Path | str, planet_ids: Sequence[str]) -> dict[str, pd.DataFrame]:
    """A table of the planets with the training mean, or with an answer that does without some of the data; empty without any."""
    known = SubmissionRecord.of(submission_csv).remarks
    rows = [{"planet": planet, "remark": known[planet]} for planet in planet_ids if planet in known]
    return {f"Remarks on {len(rows)} of {len(planet_ids)} planets": pd.DataFrame(rows)} if rows else {}


def _match_labels(planet_ids: Sequence[str], n_wavelengths: int, labels: Spectra, labels_csv: Path | str) -> list[int]:
    """Rows of the submission with a label. Raises SpectraMindError for none, or another number of wavelengths."""
    if labels.depth.shape[1] != n_wavelengths:
        raise SpectraMindError(f"{labels_csv} has {labels.depth.shape[1]} wavelengths, the submission {n_wavelengths}")
    labelled = set(labels.planet_ids)
    rows = [row for row, planet in enumerate(planet_ids) if planet in labelled]
    if not rows:
        raise SpectraMindError(f"no planet of the submission is in {labels_csv}; give the labels of its planets")
    return rows


def _evaluate(
    planet_ids: Sequence[str],
    truth: Array,
    mean: Array,
    sigma: Array,
    *,
    naive_mean: float,
    naive_sigma: float,
    wavelengths: Array | None,
) -> tuple[dict, pd.DataFrame]:
    """Figures by caption, and a table of the planets with the lowest gain."""
    gain = scoring.gll_gain(truth, mean, sigma, naive_mean=naive_mean, naive_sigma=naive_sigma)
    planet_gain = np.average(gain, axis=1, weights=scoring.column_weights(gain.shape[1]))
    order = np.argsort(planet_gain, kind="stable")
    spread = np.unique(np.linspace(0, len(order) - 1, min(PLANETS_DRAWN, len(order))).round().astype(int))
    few = order[spread]
    figures = {
        "Spectra, from the worst planet to the best": draw_spectra(
            [planet_ids[row] for row in few], mean[few], sigma[few], truth=truth[few], wavelengths=wavelengths
        ),
        "Calibration of the sigmas": draw_calibration(truth, mean, sigma),
        "Gain of each planet and wavelength": draw_gain_map(gain, wavelengths=wavelengths),
    }
    z = scoring.z_scores(truth, mean, sigma)
    table = pd.DataFrame(
        {
            "planet": planet_ids,
            "gain": planet_gain,
            "rmse (ppm)": 1e6 * np.sqrt(np.mean((mean - truth) ** 2, axis=1)),
            "median sigma (ppm)": 1e6 * np.median(sigma, axis=1),
            "z rms": np.sqrt(np.mean(z**2, axis=1)),
        }
    )
    return figures, table.iloc[order[:PLANETS_LISTED]]


def _list_predictions(planet_ids: Sequence[str], mean: Array, sigma: Array) -> pd.DataFrame:
    table = {"planet": planet_ids, "mean depth (ppm)": 1e6 * mean.mean(axis=1)}
    return pd.DataFrame(table | {"median sigma (ppm)": 1e6 * np.median(sigma, axis=1)}).head(PLANETS_LISTED)
