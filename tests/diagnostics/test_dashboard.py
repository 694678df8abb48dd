"""diagnostics.dashboard: files and tables are complete, hostile text is escaped, the page makes no request."""

import base64
import gzip
import json
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ariel_lib.diagnostics.dashboard import DashboardData, draw_dashboard
from ariel_lib.diagnostics.projection import ProjectionError, project
from ariel_lib.plots import charts, explanation_charts
from ariel_lib.plots.interactive import LEVELS, pack

pytest.importorskip("bokeh")
EVIL = "<script>alert(1)</script>"
FOREIGN = "\udce9"  # of a folder whose name is not UTF-8
N, WAVELENGTHS = 8, 40
DRIFTS = ("flux_drift_percent", "centroid_drift_pixel", "bad_pixels_percent")


def make_data(**changes):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.01, 0.02, (N, 1)) + rng.normal(0, 1e-4, (N, WAVELENGTHS))
    sigma = np.full_like(truth, 1e-4)
    planets = [EVIL, *(str(row) for row in range(1, N))]
    bands = np.abs(rng.normal(size=(3, 6, WAVELENGTHS)))
    explanation = {"embedding": rng.normal(size=(N, 4)), "gates": rng.dirichlet((1, 1, 1), (N, WAVELENGTHS)), "correction": bands[..., 0]}
    explanation |= {m: bands for m in explanation_charts.METHODS} | {f"{m}_error": 0.1 * bands[..., 0] for m in explanation_charts.METHODS}
    visits = {"planet": [EVIL], "instrument": [EVIL], "scatter_ppm": [2.0], "propagated_ppm": [1.0], "masked_percent": [1.0]}
    data = {
        "planets": planets, "wavelength": np.linspace(0.7, 3.9, WAVELENGTHS), "mean": truth + sigma * rng.normal(size=truth.shape),
        "sigma": sigma, "truth": truth, "naive": {"naive_mean": 0.015, "naive_sigma": 0.005}, "configuration": {EVIL: EVIL},
        "stars": pd.DataFrame({"planet": planets, "Ts": [np.nan, *np.linspace(4000, 6000, N - 1)]}), "explanation": explanation,
        "explained": planets, "deviations": {"smoothness": rng.normal(size=truth.shape)}, "limits": {"smoothness": 1.0},
        "gradients": {"smoothness": rng.normal(size=truth.shape)}, "seconds": {EVIL: 1.0}, "missing": {EVIL: EVIL + FOREIGN},
        "calibration_quality": pd.DataFrame(visits | {name: [0.1] for name in DRIFTS}),
    }  # fmt: skip
    return DashboardData(**data | changes)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboard")
    summary = draw_dashboard(folder / "v50_report_v1.html", make_data(), title=EVIL)
    return folder, summary, (folder / "v50_report_v1.html").read_text()


def test_all_expected_files_exist_and_every_chart_is_png_and_csv(drawn):
    folder, summary, _ = drawn
    expected = {"v50_report_v1.html", "gll_heatmap.png", "umap.html", "umap.png", "tsne.html", "tsne.png", "shap_overlay.png"}
    expected |= {"fft_residuals.png", "symbolic_violations.png", "coverage.csv"}
    assert expected <= set(summary["files"]) and (folder / "diagnostic_summary.json").is_file()
    assert all((folder / name).stat().st_size > 0 for name in summary["files"])
    pngs = {name[:-4] for name in summary["files"] if name.endswith(".png")}
    assert pngs == {name[:-4] for name in summary["files"] if name.endswith(".csv")} - {"planets"}


def test_hostile_text_is_escaped_and_the_page_makes_no_request(drawn):
    html = drawn[2]
    assert EVIL not in html and "&lt;script&gt;alert(1)&lt;/script&gt;\\udce9" in html
    ours = re.sub(r"<script>.*?</script>", "", html, flags=re.S)  # without BokehJS and the page's own script, which contain no data
    links = re.findall(r"""(?:src|href|srcset|action)\s*=\s*["']([^"']*)""", ours)
    assert links and all(re.match(r"data:|#|[\w]+\.(png|csv|html)$", link) for link in links)
    assert "default-src 'none'" in html and "@import" not in ours


def test_the_data_block_lists_the_planets_worst_first(drawn):
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', drawn[2], re.S).group(1))
    table = pd.read_csv(drawn[0] / "planets.csv", dtype={"planet": str})
    assert data["planets"] == table["planet"].tolist() and EVIL in data["planets"]
    assert table["score"].is_monotonic_increasing
    assert len(data["arrays"]) == 3


def test_without_truth_or_explanation_the_summary_lists_what_is_missing(tmp_path):
    summary = draw_dashboard(tmp_path / "page.html", make_data(truth=None, explanation={}))
    assert "errors" in summary["missing"] and "gll_heatmap.png" not in summary["files"]
    assert "median_sigma_ppm" in summary["metrics"]


def test_packed_spectra_are_exact_to_half_a_step():
    array = np.random.default_rng(1).uniform(0.01, 0.012, (5, 7))
    raw = gzip.decompress(base64.b64decode(pack([array])))
    low, step = np.frombuffer(raw, "<f4", 5), np.frombuffer(raw, "<f4", 5, 20)
    steps = np.frombuffer(raw, "<u2", 35, 40).reshape(5, 7)
    back = low[:, None] + steps * step[:, None]
    assert np.abs(back - array).max() < 0.51 * 0.002 / LEVELS + 1e-8


def test_coverage_table_matches_the_nominal_level():
    truth = np.zeros((1000, 3))
    mean = np.random.default_rng(2).normal(size=truth.shape)
    table = charts.coverage_curve(truth, mean, np.ones_like(truth)).table
    assert np.abs(table["airs"] - table["nominal"]).max() < 0.05
    assert (charts.coverage_curve(truth, mean, np.full_like(truth, 0.3)).table["airs"] < table["nominal"]).all()


def test_a_ripple_in_the_residuals_peaks_at_its_frequency():
    ripple = 1e-4 * np.sin(2 * np.pi * 0.25 * np.arange(40)) * np.ones((4, 1))
    residual = np.concatenate([np.zeros((4, 1)), ripple], axis=1)
    table = charts.fft_residuals(residual, np.full_like(residual, 1e-5)).table
    assert table["cycles_per_bin"][table["residual_ppm"].idxmax()] == pytest.approx(0.25)


@pytest.mark.parametrize("kind", ["umap", "tsne"])
def test_projections_are_reproducible_and_separate_two_clusters(kind):
    rng = np.random.default_rng(3)
    embedding = np.concatenate([rng.normal(0, 0.1, (12, 4)), rng.normal(5, 0.1, (12, 4))])
    first, again = (project(kind, embedding, seed=1) for _ in range(2))
    assert np.array_equal(first, again)
    near = [np.linalg.norm(first - point, axis=1).argsort()[1] for point in first]
    assert sum((row < 12) == (other < 12) for row, other in enumerate(near)) >= 22


def test_too_few_planets_raise():
    with pytest.raises(ProjectionError, match="found 3"):
        project("tsne", np.zeros((3, 4)))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a Chromium")
def test_a_browser_draws_every_chart_without_errors_or_requests(drawn):
    pytest.importorskip("playwright")
    look = runpy.run_path(Path(__file__).parents[2] / "benchmarks" / "dashboard_browser.py")["look"]
    for name, view in look(drawn[0] / "v50_report_v1.html", shutil.which("chromium"), None)["views"].items():
        assert view["errors"] == view["requests"] == view["blank"] == view["alerts"] == [], name
        assert view["keyboard_moves_planet"] and not view["wider_than_window"], name
