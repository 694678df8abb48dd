"""The dashboard: one self-contained HTML page, and every chart as PNG and CSV beside it.

All text from data is escaped, and the page's Content-Security-Policy forbids every request.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ariel_lib import metrics as scoring
from ariel_lib.diagnostics.projection import ProjectionError, project
from ariel_lib.io.storage import write_atomically
from ariel_lib.plots import charts, explanation_charts, interactive
from ariel_lib.plots.charts import Chart, paper
from ariel_lib.plots.page import GOALS

Array = np.ndarray
MOVING = ("umap", "tsne")  # interactive charts
HERE = Path(__file__).parent


@dataclass(frozen=True)
class DashboardData:
    """All data of a dashboard.

    wavelength                     (wavelength,) micron, FGS1 first
    mean, sigma, truth             (planet, wavelength); truth may be None
    naive                          naive_mean and naive_sigma, empty without labels
    configuration                  shown as JSON
    stars                          table with the column planet and catalogue columns, or None
    explanation                    arrays of attribution.explain, for the planets `explained`
    deviations, limits, gradients  by rule: (planet, wavelength) in units of the rule's scale, a number, (planet, wavelength) ∂L/∂μ
    calibration_quality            table of calibration_quality.summarise_visits, or None
    seconds                        by stage
    missing                        name → reason of what cannot be drawn
    """

    planets: Sequence[str]
    wavelength: Array
    mean: Array
    sigma: Array
    truth: Array | None
    naive: Mapping[str, float]
    configuration: Mapping[str, object]
    stars: pd.DataFrame | None = None
    explanation: Mapping[str, Array] = field(default_factory=dict)
    explained: Sequence[str] = ()
    deviations: Mapping[str, Array] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    gradients: Mapping[str, Array] = field(default_factory=dict)
    calibration_quality: pd.DataFrame | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def draw_dashboard(page: Path | str, shown: DashboardData, *, title: str = "SpectraMind V50", seed: int = 0) -> dict:
    """Write the page, its PNG and CSV files and diagnostic_summary.json beside it; returns the summary, JSON-able."""
    page, missing = Path(page), dict(shown.missing)
    planets = _planet_table(shown)
    order = planets.index.to_numpy()
    drawn = _charts(shown, order, planets, missing, seed)
    pictures = {chart.name: {kind: _png(chart, kind) for kind in ("light", "dark")} for chart in drawn}
    names = []
    for chart in drawn:
        write_atomically(page.parent / f"{chart.name}.png", pictures[chart.name]["light"])
        write_atomically(page.parent / f"{chart.name}.csv", chart.table.to_csv(index=False))
        names += [f"{chart.name}.png", f"{chart.name}.csv"]
    write_atomically(page.parent / "planets.csv", planets.to_csv(index=False))
    colours = [name for name in planets.columns if name != "planet"]
    moving = {c.name: c for c in drawn if c.name in MOVING}
    for kind, chart in moving.items():
        plot = interactive.embedding_plot(kind, chart.table, colours[0])
        write_atomically(page.parent / f"{kind}.html", interactive.alone(plot, chart.title))
        names.append(f"{kind}.html")
    write_atomically(page, _render(title, shown, planets, drawn, moving, pictures, colours, missing))
    summary = {
        "planets": len(shown.planets), "metrics": _metrics(shown), "files": sorted([*names, "planets.csv", page.name]),
        "missing": missing, "seconds": dict(shown.seconds),
    }  # fmt: skip
    if "ig_error" in shown.explanation:
        summary["completeness_error_ppm"] = {m: float(shown.explanation[f"{m}_error"].max()) for m in explanation_charts.METHODS}
    write_atomically(page.parent / "diagnostic_summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


def _metrics(shown: DashboardData) -> dict[str, float]:
    """metrics.summary, or the median sigma without truth."""
    if shown.truth is None:
        return {"median_sigma_ppm": float(1e6 * np.median(shown.sigma))}
    return scoring.summary(shown.truth, shown.mean, shown.sigma, **shown.naive)


def _planet_table(shown: DashboardData) -> pd.DataFrame:
    """A row for each planet, worst score first, or widest sigma first; the index is the planet's row in the arrays."""
    table = pd.DataFrame({"planet": list(shown.planets)})
    if shown.truth is not None:
        gain = scoring.gll_gain(shown.truth, shown.mean, shown.sigma, **shown.naive)
        table["score"] = np.average(gain, axis=1, weights=scoring.column_weights(gain.shape[1]))
        table["rmse_ppm"] = 1e6 * np.sqrt(np.mean((shown.mean - shown.truth) ** 2, axis=1))
    table["depth_ppm"] = 1e6 * shown.mean.mean(axis=1)
    table["sigma_ppm"] = 1e6 * np.median(shown.sigma, axis=1)
    if shown.stars is not None:
        table = table.merge(shown.stars, on="planet", how="left")
    first, rising = ("score", True) if shown.truth is not None else ("sigma_ppm", False)
    return table.sort_values(first, ascending=rising, kind="stable")


def _charts(shown: DashboardData, order: Array, planets: pd.DataFrame, missing: dict, seed: int) -> list[Chart]:
    """All charts for which there are data, in the order of the page; adds the reason for others to `missing`."""
    found, wavelength = [], shown.wavelength
    mean, sigma = shown.mean[order], shown.sigma[order]
    if shown.truth is not None:
        truth = shown.truth[order]
        gain = scoring.gll_gain(truth, mean, sigma, **shown.naive)
        found += [
            charts.gain_heatmap(list(planets["planet"]), gain, wavelength),
            charts.residual_spectrum(mean - truth, sigma, wavelength), charts.fft_residuals(mean - truth, sigma),
            charts.coverage_curve(truth, mean, sigma), charts.pit_histogram(truth, mean, sigma), charts.z_histogram(truth, mean, sigma),
        ]  # fmt: skip
    else:
        missing["errors"] = "no true spectra given"
    if shown.explanation:
        found += _explanation_charts(shown, planets, mean.mean(axis=0), missing, seed)
    if shown.deviations:
        sorted_maps = {rule: map_[order] for rule, map_ in shown.deviations.items()}
        found.append(explanation_charts.symbolic_maps(sorted_maps, shown.limits, wavelength))
        found.append(explanation_charts.symbolic_gradients(shown.gradients, mean.mean(axis=0), wavelength))
    if shown.calibration_quality is not None and len(shown.calibration_quality):
        found.append(explanation_charts.calibration_quality(shown.calibration_quality))
    if shown.seconds:
        found.append(explanation_charts.stage_timing(shown.seconds))
    return found


def _explanation_charts(shown: DashboardData, planets: pd.DataFrame, mean: Array, missing: dict, seed: int) -> list[Chart]:
    """Projections of the embeddings, attributions and gates."""
    arrays, found = shown.explanation, []
    rows = planets.set_index("planet").loc[list(shown.explained)].reset_index()
    for kind in MOVING:
        try:
            points = project(kind, arrays["embedding"], seed)
            found.append(charts.scatter_map(kind, points, rows, rows.columns[1]))
        except ProjectionError as error:
            missing[kind] = str(error)
    for method in explanation_charts.METHODS:
        values = arrays[method], arrays[f"{method}_error"], arrays["correction"]
        found.append(explanation_charts.attribution_overlay(method, *values, mean, shown.wavelength))
    return [*found, explanation_charts.gate_traces(arrays["gates"], shown.wavelength)]


def _png(chart: Chart, kind: str) -> bytes:
    """A chart as PNG with 256 colours, a third of the size of full colour; without a date, so that the bytes are reproducible."""
    from PIL import Image

    raw, small = BytesIO(), BytesIO()
    with paper(kind):
        chart.draw().savefig(raw, format="png", dpi=100)
    Image.open(raw).convert("RGB").quantize(256).save(small, "png", optimize=True)
    return small.getvalue()


def _render(title, shown: DashboardData, planets, drawn, moving, pictures, colours, missing) -> str:
    """The HTML page."""
    order = planets.index.to_numpy()
    arrays = [x[order] for x in (shown.mean, shown.sigma, shown.truth) if x is not None]
    first = [x[0] for x in arrays] if shown.truth is not None else [arrays[0][0], arrays[1][0], None]
    items = [interactive.spectrum_plot(shown.wavelength, *first)]
    items += [interactive.embedding_plot(kind, chart.table, colours[0]) for kind, chart in moving.items()]
    items = interactive.as_json(items)
    for item in items[1:]:
        item["target_id"] += "_plot"
    captions = ["; ".join(f"{n} {v:.4g}" for n, v in zip(colours, row)) for row in planets[colours].to_numpy(float)]
    names = list(planets["planet"])
    data = {
        "planets": names, "labels": [f"{p}  {v:.3g}" for p, v in zip(names, planets[colours[0]])], "captions": captions,
        "wavelength": shown.wavelength.tolist(), "arrays": ["mean", "sigma", "truth"][: len(arrays)],
        "packed": interactive.pack(arrays), "items": items,
    }  # fmt: skip
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    page = environment.from_string((HERE / "dashboard.html").read_text(encoding="utf-8"))
    metrics = [(name, f"{value:.6g}", GOALS.get(name, "")) for name, value in _metrics(shown).items()]
    order_text = "Sorted by score, worst first." if shown.truth is not None else "Sorted by sigma, widest first: no true spectra."
    return page.render(
        title=title, notes=[f"{len(names)} planets, {shown.mean.shape[1]} wavelengths."], charts=drawn, moving=moving,
        colours=colours, metrics=metrics, configuration=json.dumps(shown.configuration, indent=1, ensure_ascii=False),
        pictures={n: {k: b64encode(png).decode() for k, png in both.items()} for n, both in pictures.items() if n not in moving},
        packed=True, order=order_text, missing=missing.items(), bokeh=Markup(interactive.bokeh_script()),
        data=Markup(htmlsafe_json_dumps(data)), script=Markup((HERE / "dashboard.js").read_text(encoding="utf-8")),
    )  # fmt: skip
