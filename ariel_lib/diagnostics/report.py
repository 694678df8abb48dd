"""One self-contained HTML page: metrics, tables and figures embedded, no request to anywhere, light and dark.

Reads artifacts on disk (a submission, labels), never a model. All text is escaped and the page forbids scripts.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from ariel_lib import metrics as scoring
from ariel_lib.archive import Spectra, read_spectra
from ariel_lib.diagnostics.figures import draw_calibration, draw_gain_map, draw_spectra, render_png
from ariel_lib.storage import write_atomically
from ariel_lib.submission import read_submission

Array = np.ndarray

GOALS = {
    "score": "higher, at most 1",
    "nll": "lower",
    "mae": "lower",
    "rmse_ppm": "lower",
    "coverage_80": "0.80",
    "coverage_90": "0.90",
    "z_rms": "1",
    "z_rms_fgs1": "1",
    "z_rms_airs": "1",
}
PLANETS_DRAWN = 5
PLANETS_LISTED = 20

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --line: #cccccc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #16181c; --line: #444a52; } }
body { color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif;
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .75rem; text-align: left; }
.wide { overflow-x: auto; }
img { max-width: 100%; height: auto; background: #ffffff; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for note in notes %}<p>{{ note }}</p>
{% endfor %}{% if metrics %}<h2>Metrics</h2>
<table><thead><tr><th scope="col">metric</th><th scope="col">value</th><th scope="col">goal</th></tr></thead><tbody>
{% for name, value in metrics %}<tr><th scope="row">{{ name }}</th><td>{{ value }}</td>
<td>{{ goals.get(name, "") }}</td></tr>
{% endfor %}</tbody></table>
{% endif %}{% for caption, png in figures %}<h2>{{ caption }}</h2>
<p><img alt="{{ caption }}" src="data:image/png;base64,{{ png }}"></p>
{% endfor %}{% for caption, header, rows in tables %}<h2>{{ caption }}</h2>
<div class="wide"><table>
<thead><tr>{% for cell in header %}<th scope="col">{{ cell }}</th>{% endfor %}</tr></thead><tbody>
{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% endfor %}</body>
</html>
"""


def write_report(
    path: Path | str,
    *,
    title: str,
    metrics: Mapping[str, object],
    figures: Mapping[str, Figure],
    tables: Mapping[str, pd.DataFrame],
    notes: Sequence[str] = (),
) -> Path:
    """Write the page, and each figure as a PNG beside it. The keys of figures and tables are their captions."""
    path = Path(path)
    pngs = {caption: render_png(figure) for caption, figure in figures.items()}
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
    html = page.render(
        title=title,
        notes=notes,
        goals=GOALS,
        metrics=[(name, _format(value)) for name, value in metrics.items()],
        figures=[(caption, b64encode(png).decode()) for caption, png in pngs.items()],
        tables=[
            (caption, list(table.columns), [[_format(cell) for cell in row] for row in table.itertuples(index=False)])
            for caption, table in tables.items()
        ],
    )
    for number, (caption, png) in enumerate(pngs.items(), start=1):
        slug = re.sub(r"[^a-z0-9]+", "_", caption.lower()).strip("_")[:60]
        write_atomically(path.with_name(f"{path.stem}_{number:02d}_{slug}.png"), png)
    return write_atomically(path, html.encode())


def report_from_artifacts(
    submission_csv: Path | str,
    out_html: Path | str,
    *,
    labels_csv: Path | str | None = None,
    wavelengths: Array | None = None,
    train_labels_csv: Path | str | None = None,
    title: str = "Recovered spectra",
) -> Path:
    """The page of one submission: spectra with their bands, and how good they are where labels are given.

    wavelengths       (wavelength,) micron; None: the axis is the wavelength's index
    train_labels_csv  labels that define the naive answer; None: labels_csv itself, and the page says so
    """
    planet_ids, mean, sigma = read_submission(submission_csv)
    if wavelengths is not None and np.shape(wavelengths) != (mean.shape[1],):
        raise ValueError(
            f"{submission_csv} has {mean.shape[1]} wavelengths, the axis given has shape {np.shape(wavelengths)}"
        )
    notes = [f"{len(planet_ids)} planets, {mean.shape[1]} wavelengths, from {Path(submission_csv).name}."]
    if labels_csv is None:
        few = slice(0, PLANETS_DRAWN)
        figure = draw_spectra(planet_ids[few], mean[few], sigma[few], wavelengths=wavelengths)
        tables = {f"Planets, the first {PLANETS_LISTED}": _list_predictions(planet_ids, mean, sigma)}
        return write_report(out_html, title=title, metrics={}, figures={"Spectra": figure}, tables=tables, notes=notes)

    labels = read_spectra(labels_csv)
    rows = _match_labels(planet_ids, mean.shape[1], labels, labels_csv)
    notes.append(f"{len(rows)} of them have labels in {Path(labels_csv).name}; what follows is about those.")
    if train_labels_csv is None:
        notes.append("The naive answer is taken from these labels, for want of training labels.")
    train = labels if train_labels_csv is None else read_spectra(train_labels_csv)
    naive = scoring.naive_answer(train.depth)
    known = [planet_ids[row] for row in rows]
    case = labels.of(known), mean[rows], sigma[rows]
    figures, table = _judge(known, *case, wavelengths=wavelengths, **naive)
    metrics, tables = scoring.summary(*case, **naive), {f"Planets, the {PLANETS_LISTED} worst": table}
    return write_report(out_html, title=title, metrics=metrics, figures=figures, tables=tables, notes=notes)


def _match_labels(planet_ids: Sequence[str], n_wavelengths: int, labels: Spectra, labels_csv: Path | str) -> list[int]:
    if labels.depth.shape[1] != n_wavelengths:
        raise ValueError(f"{labels_csv} has {labels.depth.shape[1]} wavelengths, the submission {n_wavelengths}")
    labelled = set(labels.planet_ids)
    rows = [row for row, planet in enumerate(planet_ids) if planet in labelled]
    if not rows:
        raise ValueError(f"no planet of the submission is in {labels_csv}; give the labels of its planets")
    return rows


def _judge(
    planet_ids: Sequence[str],
    truth: Array,
    mean: Array,
    sigma: Array,
    *,
    naive_mean: float,
    naive_sigma: float,
    wavelengths: Array | None,
) -> tuple[dict[str, Figure], pd.DataFrame]:
    gain = scoring.gll_gain(truth, mean, sigma, naive_mean=naive_mean, naive_sigma=naive_sigma)
    planet_gain = np.average(gain, axis=1, weights=scoring.column_weights(gain.shape[1]))
    order = np.argsort(planet_gain, kind="stable")
    spread = np.unique(np.linspace(0, len(order) - 1, min(PLANETS_DRAWN, len(order))).round().astype(int))
    few = order[spread]
    figures = {
        "Spectra, from the worst planet to the best": draw_spectra(
            [planet_ids[row] for row in few], mean[few], sigma[few], truth=truth[few], wavelengths=wavelengths
        ),
        "Are the sigmas honest": draw_calibration(truth, mean, sigma),
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


def _format(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
