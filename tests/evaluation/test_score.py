"""evaluation.score: a submission file against a file of true spectra."""

import numpy as np
import pytest

from ariel_lib.evaluation.score import evaluate_submission
from ariel_lib.io.layout import Spectra
from ariel_lib.io.submission import SubmissionError, write_submission
from ariel_lib.io.writer import write_spectra
from ariel_lib.metrics import naive_statistics, summary

IDS = ("11", "12", "13")
TRUTH = np.random.default_rng(3).uniform(0.005, 0.02, (3, 6))
SIGMA = np.full_like(TRUTH, 2e-4)


def write_pair(folder, ids, mean, sigma=SIGMA):
    write_spectra(folder / "truth.csv", Spectra(IDS, TRUTH))
    n = len(ids)
    write_submission(
        folder / "submission.csv", ids, mean[:n], sigma[:n], fallback=(np.full(6, 0.01), 0.01)
    )  # fmt: skip
    return folder / "submission.csv", folder / "truth.csv"


def test_figures_equal_metrics_summary_in_any_order_of_rows(tmp_path):
    mean = TRUTH + 1e-4
    submission, truth = write_pair(tmp_path, IDS[::-1], mean[::-1])
    naive_mean, naive_sigma = naive_statistics(TRUTH)
    figures = evaluate_submission(submission, truth)
    expected = summary(TRUTH, mean, SIGMA, naive_mean=naive_mean, naive_sigma=naive_sigma)
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


def test_planets_that_were_not_submitted_are_counted_and_left_out(tmp_path):
    submission, truth = write_pair(tmp_path, IDS[:2], TRUTH)
    figures = evaluate_submission(submission, truth)
    assert (figures["n_planets"], figures["n_not_submitted"], figures["mae"]) == (2, 1, 0)


def test_the_naive_answer_comes_from_the_training_labels(tmp_path):
    submission, truth = write_pair(tmp_path, IDS, TRUTH)
    write_spectra(tmp_path / "train.csv", Spectra(("1", "2"), 3 * TRUTH[:2]))
    figures = evaluate_submission(submission, truth, train_labels=tmp_path / "train.csv")
    assert (figures["naive_mean"], figures["naive_sigma"]) == pytest.approx(naive_statistics(3 * TRUTH[:2]))
    assert "note" not in figures
    assert evaluate_submission(submission, truth)["note"].startswith("not the challenge's score")


def test_a_planet_without_truth_raises_with_its_name(tmp_path):
    submission, truth = write_pair(tmp_path, ("11", "99"), TRUTH)
    with pytest.raises(SubmissionError, match="1 without truth: 99"):
        evaluate_submission(submission, truth)


def test_another_number_of_wavelengths_raises(tmp_path):
    submission, truth = write_pair(tmp_path, IDS, TRUTH)
    write_spectra(truth, Spectra(IDS, TRUTH[:, :5]))
    with pytest.raises(SubmissionError, match="expected 5 wavelengths, found 6"):
        evaluate_submission(submission, truth)
