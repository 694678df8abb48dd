"""Charts of the dashboard on the quality of the spectra: each has a title, an explanation, a data table and a figure.

explanation_charts.py has the charts that explain how the spectra were obtained. Arrays in, no files. A figure is drawn once under
each paper(), which sets the page's colours. Colours: Okabe & Ito (2008), visible on both pages, and cividis for maps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ariel_lib.metrics import z_scores

Array = np.ndarray

COLORS = ("#3B8FC4", "#E07B28", "#17A37F", "#CC79A7", "#B09A1F", "#7F7F7F")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
_PAPERS = {"light": ("#ffffff", "#1a1a1a"), "dark": ("#16181c", "#e6e6e6")}


@dataclass(frozen=True)
class Chart:
    """A chart. name: of its files; reading: explanation in the caption; table: data, written as CSV; draw: makes the figure."""

    name: str
    title: str
    reading: str
    table: pd.DataFrame
    draw: Callable[[], Figure]


def paper(kind: str):
    """Matplotlib context with the colours of the 'light' or 'dark' page."""
    back, ink = _PAPERS[kind]
    colours = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "axes.titlecolor")
    backs = ("figure.facecolor", "axes.facecolor", "legend.facecolor", "savefig.facecolor")
    return matplotlib.rc_context(dict.fromkeys(colours, ink) | dict.fromkeys(backs, back) | {"font.size": 10})


def gain_heatmap(planets: list[str], gain: Array, wavelength: Array) -> Chart:
    """Map of the score's gain: planets sorted worst first, gain (planet, wavelength)."""
    table = pd.DataFrame(gain, columns=[f"wl_{n + 1}" for n in range(gain.shape[1])]).round(4)
    table.insert(0, "planet", planets)

    def draw():
        figure, (fgs1, airs) = new_figure(8, 4.2, 1, 2, sharey=True, gridspec_kw={"width_ratios": [1, 16]})
        shades = {"cmap": "cividis", "vmin": 0.0, "vmax": 1.0, "aspect": "auto", "interpolation": "nearest"}
        fgs1.imshow(gain[:, :1], extent=(0, 1, len(gain), 0), **shades)
        image = airs.imshow(gain[:, 1:], extent=(wavelength[1], wavelength[-1], len(gain), 0), **shades)
        fgs1.set(xticks=[0.5], xticklabels=["FGS1"], ylabel="planet, worst first")
        airs.set_xlabel("wavelength (micron)")
        figure.colorbar(image, ax=airs, extend="both", label="gain: 0 naive, 1 perfect")
        return figure

    reading = "Gain in Gaussian log-likelihood of every planet and bin, as in the score; brighter is better."
    return Chart("gll_heatmap", "GLL, planet by wavelength", reading, table, draw)


def residual_spectrum(residual: Array, sigma: Array, wavelength: Array) -> Chart:
    """Bias and RMS error by wavelength: residual = recovered − true and sigma, each (planet, wavelength)."""
    columns = {
        "wavelength_micron": wavelength, "bias_ppm": 1e6 * residual.mean(axis=0), "rms_ppm": _rms_ppm(residual),
        "stated_sigma_ppm": _rms_ppm(sigma),
    }  # fmt: skip
    table = pd.DataFrame(columns)
    reading = "The RMS error should equal the stated sigma, and the bias be near zero. FGS1 is at the left."
    draw = _lines(table, "wavelength_micron", "wavelength (micron)", "ppm", fgs1=True)
    return Chart("residuals", "Residuals by wavelength", reading, table, draw)


def fft_residuals(residual: Array, sigma: Array) -> Chart:
    """Amplitude spectrum of the AIRS residuals (planet, wavelength) over bins; structure periodic in wavelength gives a peak.

    The mean residual of each planet is removed.
    """
    airs, n = residual[:, 1:] - residual[:, 1:].mean(axis=1, keepdims=True), residual.shape[1] - 1
    amplitude = 1e6 * np.sqrt(np.mean(np.abs(np.fft.rfft(airs, axis=1)) ** 2, axis=0) / n)
    white = 1e6 * np.sqrt(np.mean(sigma[:, 1:] ** 2))
    frequency = np.fft.rfftfreq(n)
    table = pd.DataFrame({"cycles_per_bin": frequency, "residual_ppm": amplitude, "white_noise_ppm": white}).iloc[1:]
    reading = "White noise of the stated sigma lies on the dashed line; errors smooth in wavelength appear at the left."
    draw = _lines(table, "cycles_per_bin", "cycles per bin", "amplitude (ppm)", log=True)
    return Chart("fft_residuals", "Fourier amplitudes of the residuals", reading, table, draw)


def coverage_curve(truth: Array, mean: Array, sigma: Array) -> Chart:
    """Empirical against nominal coverage of central intervals; arrays (planet, wavelength)."""
    z, levels = np.abs(z_scores(truth, mean, sigma)), np.linspace(0.02, 0.98, 49)
    half = np.array([NormalDist().inv_cdf(0.5 * (1 + level)) for level in levels])
    inside = {name: [float(np.mean(part <= h)) for h in half] for name, part in (("fgs1", z[:, :1]), ("airs", z[:, 1:]))}
    table = pd.DataFrame({"nominal": levels, **inside, "ideal": levels})
    reading = "Fraction of true values inside the stated interval; below the diagonal the sigmas are too small."
    draw = _lines(table, "nominal", "nominal coverage", "empirical coverage")
    return Chart("coverage", "Coverage", reading, table, draw)


def pit_histogram(truth: Array, mean: Array, sigma: Array) -> Chart:
    """Histogram of the probability integral transform; arrays (planet, wavelength)."""
    from scipy.stats import norm

    edges = np.linspace(0, 1, 21)
    pit = norm.cdf(z_scores(truth, mean, sigma))
    return _histogram(
        "pit", "Probability integral transform", pit, edges, np.ones(20), "PIT",
        "Flat for calibrated sigmas; U-shaped if they are too small, peaked if too large, sloped for a bias.",
    )  # fmt: skip


def z_histogram(truth: Array, mean: Array, sigma: Array) -> Chart:
    """Histogram of the z scores; arrays (planet, wavelength)."""
    edges = np.linspace(-5, 5, 51)
    z = np.clip(z_scores(truth, mean, sigma), -5, 5)
    expected = np.array([NormalDist().pdf(x) for x in 0.5 * (edges[1:] + edges[:-1])])
    return _histogram(
        "z_scores", "z = (true − recovered) / sigma", z, edges, expected, "z",
        "Should follow the unit normal; values beyond ±5 are counted in the outermost bins.",
    )  # fmt: skip


def scatter_map(kind: str, points: Array, table: pd.DataFrame, colour: str) -> Chart:
    """Scatter plot of a projection ("umap" or "tsne"): points (planet, 2), coloured by a column of table (one row per planet)."""
    shown = pd.DataFrame({"x": points[:, 0], "y": points[:, 1]}).join(table)
    title = {"umap": "UMAP", "tsne": "t-SNE"}[kind]

    def draw():
        figure, axis = new_figure(6, 4.4)
        dots = axis.scatter(shown["x"], shown["y"], c=shown[colour], cmap="cividis", s=12)
        axis.set(xticks=[], yticks=[])
        figure.colorbar(dots, ax=axis, label=colour)
        return figure

    reading = "Each point is the FGS1 embedding of a planet; distances between separate groups have no meaning."
    return Chart(kind, f"{title} of the embeddings", reading, shown, draw)


def _histogram(name, title, values, edges, expected, label, reading) -> Chart:
    """Histogram of values (planet, wavelength), FGS1 and AIRS apart, with the expected density (bin,)."""
    table = pd.DataFrame({"from": edges[:-1], "to": edges[1:]})
    for part, chosen in (("fgs1", values[:, :1]), ("airs", values[:, 1:])):
        table[part] = np.histogram(chosen, edges)[0] / (chosen.size * np.diff(edges))
    table["expected"] = expected

    def draw():
        figure, axis = new_figure(6, 3.4)
        for n, column in enumerate(("fgs1", "airs", "expected")):
            axis.stairs(table[column], edges, color=COLORS[n], linestyle=STYLES[n], label=column)
        axis.set(xlabel=label, ylabel="density")
        axis.legend(fontsize="small")
        return figure

    return Chart(name, title, reading, table, draw)


def _lines(
    table: pd.DataFrame, x: str, x_label: str, y_label: str, *, log: bool = False, fgs1: bool = False
) -> Callable[[], Figure]:
    """Function that draws every other column of table against column x; fgs1: the first row is drawn as separate points."""
    first = int(fgs1)

    def draw():
        figure, axis = new_figure(8, 3.4)
        for n, name in enumerate(column for column in table.columns if column != x):
            axis.plot(table[x][first:], table[name][first:], color=COLORS[n], linestyle=STYLES[n], label=name)
            if fgs1:
                axis.plot(table[x][:1], table[name][:1], color=COLORS[n], marker="os^"[n % 3])
        axis.set(xlabel=x_label, ylabel=y_label, yscale="log" if log else "linear")
        axis.legend(fontsize="small")
        return figure

    return draw


def _rms_ppm(values: Array) -> Array:
    """Root mean square over planets in ppm, (wavelength,)."""
    return 1e6 * np.sqrt(np.mean(values**2, axis=0))


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **settings) -> tuple[Figure, object]:
    """Figure of width × height inches without pyplot, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **settings)
