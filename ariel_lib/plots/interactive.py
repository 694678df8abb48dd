"""Interactive plots of the dashboard with Bokeh: the spectrum of a selected planet and the maps of embeddings.

BokehJS is inlined from the package, so that pages load nothing from other hosts. Needs the extra [diagnostics].
"""

import gzip
from base64 import b64encode

import numpy as np
import pandas as pd

from ariel_lib.plots.charts import COLORS

LEVELS = 4095  # quantisation steps over the range of a planet's spectrum, far smaller than its sigma


def pack(arrays: list[np.ndarray]) -> str:
    """Compress arrays (planet, wavelength) to base64 of gzip: for each, float32 minimum and step by planet, then uint16 steps."""
    parts = []
    for array in arrays:
        low, high = array.min(axis=1), array.max(axis=1)
        step = np.where(high > low, (high - low) / LEVELS, 1.0)
        steps = np.rint((array - low[:, None]) / step[:, None])
        parts += [low.astype("<f4"), step.astype("<f4"), steps.astype("<u2")]
    return b64encode(gzip.compress(b"".join(part.tobytes() for part in parts), 9, mtime=0)).decode()


def spectrum_plot(wavelength: np.ndarray, mean: np.ndarray, sigma: np.ndarray, truth: np.ndarray | None):
    """Plot of one spectrum, arrays (wavelength,). The page replaces the data sources 'airs' and 'fgs1' by the selected planet's."""
    from bokeh.models import ColumnDataSource

    columns = {"x": wavelength, "mean": 1e6 * mean, "low": 1e6 * (mean - sigma), "high": 1e6 * (mean + sigma)}
    columns["truth"] = np.full(len(mean), np.nan) if truth is None else 1e6 * truth
    plot = _plot("spectrum", 380, "wavelength (micron)", "depth (ppm)")
    fgs1, airs = (
        ColumnDataSource({column: values[part] for column, values in columns.items()}, name=name)
        for name, part in (("fgs1", slice(0, 1)), ("airs", slice(1, None)))
    )
    plot.varea("x", "low", "high", source=airs, fill_color=COLORS[0], fill_alpha=0.35, legend_label="1 sigma")
    plot.line("x", "mean", source=airs, color=COLORS[0], line_width=2, legend_label="recovered")
    plot.line("x", "truth", source=airs, color=COLORS[1], line_dash="dashed", line_width=1.5, legend_label="true")
    plot.segment("x", "low", "x", "high", source=fgs1, color=COLORS[0], line_width=3)
    plot.scatter("x", "mean", source=fgs1, color=COLORS[0], size=9)
    plot.scatter("x", "truth", source=fgs1, color=COLORS[1], marker="diamond", size=11)
    plot.legend.orientation = "horizontal"
    plot.add_layout(plot.legend[0], "above")  # inside the plot it could hide the spectrum
    return plot


def embedding_plot(kind: str, table: pd.DataFrame, colour: str):
    """Scatter plot of columns x and y of table, coloured by another column.

    The page can change the colour through the data source '{kind}_points' and the mapper '{kind}_colours'.
    """
    from bokeh.models import ColorBar, ColumnDataSource, HoverTool, LinearColorMapper
    from bokeh.palettes import Cividis256

    columns = {name: table[name].tolist() for name in table.columns}
    source = ColumnDataSource(columns | {"shade": table[colour].tolist()}, name=f"{kind}_points")
    mapper = LinearColorMapper(Cividis256, low=float(table[colour].min()), high=float(table[colour].max()), name=f"{kind}_colours")
    plot = _plot(kind, 380, "", "")
    plot.axis.visible = plot.grid.visible = False
    plot.add_layout(ColorBar(color_mapper=mapper, background_fill_alpha=0, major_label_text_color=COLORS[-1]), "right")
    plot.scatter("x", "y", source=source, size=7, color={"field": "shade", "transform": mapper}, line_color=COLORS[-1], line_width=0.8)
    names = [name for name in table.columns if name not in ("x", "y")]
    plot.add_tools(HoverTool(tooltips=[(name, f"@{{{name}}}") for name in names]))
    return plot


def bokeh_script() -> str:
    """BokehJS for a script element, without widgets."""
    from bokeh.resources import Resources

    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


def as_json(plots: list) -> list[dict]:
    """Plots as items for Bokeh.embed.embed_item, which draws each into the element with the plot's name."""
    from bokeh.embed import json_item

    return [json_item(plot, plot.name) for plot in plots]


def alone(plot, title: str) -> str:
    """HTML page with a single plot and inlined BokehJS; the title is escaped."""
    from bokeh.embed import file_html
    from bokeh.resources import INLINE

    return file_html(plot, INLINE, title)


def _plot(name: str, height: int, x: str, y: str):
    """Empty Bokeh figure with axis labels x and y and transparent background."""
    from bokeh.plotting import figure

    plot = figure(
        name=name, height=height, sizing_mode="stretch_width", tools="pan,wheel_zoom,box_zoom,reset", x_axis_label=x, y_axis_label=y,
        background_fill_alpha=0, border_fill_alpha=0, outline_line_color=COLORS[-1],
    )  # fmt: skip
    plot.toolbar.logo = None
    plot.grid.grid_line_alpha = 0.2
    for axis in plot.axis:
        for part in ("axis_line", "major_tick_line", "minor_tick_line", "axis_label_text", "major_label_text"):
            setattr(axis, f"{part}_color", COLORS[-1])
    return plot
