"""diagnostics.report and plots.page: metrics, tables and figures of the report; text is escaped, no request is made."""

import base64
import re

import numpy as np
import pandas as pd
import pytest

from ariel_lib.diagnostics.report import report_from_artifacts
from ariel_lib.io.layout import Spectra
from ariel_lib.io.submission import SubmissionError, write_submission
from ariel_lib.io.writer import write_spectra
from ariel_lib.metrics import naive_statistics, score
from ariel_lib.plots.figures import draw_spectra
from ariel_lib.plots.page import write_report

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def artifacts(tmp_path):
    rng = np.random.default_rng(0)
    ids = (EVIL, "7", "12", "31", "5", "8")
    truth = rng.uniform(0.01, 0.02, (6, 1)) + rng.normal(0, 1e-4, (6, 9))
    sigma = np.full_like(truth, 1e-4)
    mean = truth + sigma * rng.standard_normal(truth.shape)
    write_spectra(tmp_path / "labels.csv", Spectra(ids[:5], truth[:5]))
    write_submission(tmp_path / "submission.csv", ids, mean, sigma, fallback=(truth.mean(axis=0), 0.01))
    return tmp_path, truth, mean, sigma


def read_metric(html, name):
    return float(re.search(rf'<th scope="row">{name}</th><td>([^<]+)</td>', html).group(1))


def find_requests(html):
    links = re.findall(r"""(?:src|href|srcset|action)\s*=\s*["']([^"']*)""", html)
    return [link for link in links if not link.startswith("data:")] + re.findall(r"url\(|@import|<script|<link", html)


def test_write_report_makes_no_request_and_escapes_all_text(tmp_path):
    figure = draw_spectra([EVIL], np.full((1, 4), 0.01), np.full((1, 4), 1e-4))
    path = write_report(
        tmp_path / "deep" / "report.html",
        title=EVIL,
        metrics={EVIL: EVIL, "score": 0.5},
        figures={f'{EVIL}" onerror="alert(2)': figure},
        tables={EVIL: pd.DataFrame({EVIL: [EVIL]})},
        notes=[EVIL],
    )
    html = path.read_text()
    assert find_requests(html) == []
    assert EVIL not in html and html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 8
    assert '" onerror="' not in html
    assert "prefers-color-scheme: dark" in html


def test_write_report_embeds_the_png_files_that_it_writes(tmp_path):
    captions = ["Spectra: a/b", "spectra a b"]
    figures = {caption: draw_spectra(["1"], np.full((1, 4), 0.01), np.full((1, 4), 1e-4)) for caption in captions}
    path = write_report(tmp_path / "report.html", title="t", metrics={}, figures=figures, tables={})
    embedded = [base64.b64decode(text) for text in re.findall(r"base64,([^\"]+)", path.read_text())]
    assert embedded == [png.read_bytes() for png in sorted(tmp_path.glob("report_*.png"))]
    assert len(embedded) == 2
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".html", ".png", ".png"]


def test_report_from_artifacts_shows_the_score_of_the_labelled_planets(artifacts):
    folder, truth, mean, sigma = artifacts
    path = report_from_artifacts(folder / "submission.csv", folder / "r.html", labels_csv=folder / "labels.csv")
    html = path.read_text()
    naive_mean, naive_sigma = naive_statistics(truth[:5])
    expected = score(truth[:5], mean[:5], sigma[:5], naive_mean=naive_mean, naive_sigma=naive_sigma)
    assert read_metric(html, "score") == pytest.approx(expected, rel=1e-4)
    assert read_metric(html, "n_planets") == 5
    assert "no training labels were given" in html and "5 of them have labels" in html
    assert html.count("data:image/png") == 3
    assert EVIL not in html and find_requests(html) == []
    assert str(folder) not in html


def test_report_from_artifacts_takes_the_naive_answer_from_training_labels(artifacts):
    folder, truth, mean, sigma = artifacts
    write_spectra(folder / "train.csv", Spectra(("a", "b"), np.array([[0.01] * 9, [0.03] * 9])))
    path = report_from_artifacts(
        folder / "submission.csv",
        folder / "r.html",
        labels_csv=folder / "labels.csv",
        train_labels_csv=folder / "train.csv",
    )
    expected = score(truth[:5], mean[:5], sigma[:5], naive_mean=0.02, naive_sigma=0.01)
    assert read_metric(path.read_text(), "score") == pytest.approx(expected, rel=1e-4)


def test_report_from_artifacts_without_labels_has_spectra_and_no_metric(artifacts):
    folder = artifacts[0]
    axis = np.concatenate([[0.7], np.linspace(1.95, 3.9, 8)])
    html = report_from_artifacts(folder / "submission.csv", folder / "r.html", wavelengths=axis).read_text()
    assert html.count("data:image/png") == 1 and "Metrics" not in html
    assert EVIL not in html and find_requests(html) == []


def test_report_from_artifacts_is_reproducible(artifacts):
    folder = artifacts[0]
    pages = [
        report_from_artifacts(folder / "submission.csv", folder / name, labels_csv=folder / "labels.csv").read_bytes()
        for name in ("a.html", "b.html")
    ]
    assert pages[0] == pages[1]


def test_report_from_artifacts_raises_for_mismatched_inputs(artifacts):
    folder = artifacts[0]
    source, out = folder / "submission.csv", folder / "r.html"
    with pytest.raises(ValueError, match="9 wavelengths"):
        report_from_artifacts(source, out, wavelengths=np.arange(8))
    write_spectra(folder / "other.csv", Spectra(("999",), np.full((1, 9), 0.01)))
    with pytest.raises(ValueError, match="no planet of the submission"):
        report_from_artifacts(source, out, labels_csv=folder / "other.csv")
    write_spectra(folder / "narrow.csv", Spectra(("7",), np.full((1, 4), 0.01)))
    with pytest.raises(ValueError, match="4 wavelengths"):
        report_from_artifacts(source, out, labels_csv=folder / "narrow.csv")
    with pytest.raises(SubmissionError, match="no such file"):
        report_from_artifacts(folder / "absent.csv", out)
    assert not out.exists()
