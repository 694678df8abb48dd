"""Figures of spectra, sigmas, scores and light curves, as matplotlib Figure objects without pyplot state.

Spectra are (planet, wavelength) in (Rp/Rs)²; wavelength 0 = FGS1 has a separate panel. Colours: Okabe & Ito (2008), and cividis
for maps, suited to colour vision deficiency. Independent of files and pages.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from statistics import NormalDist

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ariel_lib.metrics import column_weights, z_scores

Array = np.ndarray

BLUE, ORANGE, GREEN, BLACK, GREY = "#0072B2", "#D55E00", "#009E73", "#000000", "#999999"
UNITS = {"ppm": 1e6, "percent": 1e2}


def draw_spectra(
    planet_ids: Sequence[str],
    mean: Array,
    sigma: Array,
    *,
    truth: Array | None = None,
    wavelengths: Array | None = None,
    unit: str = "ppm",
) -> Figure:
    """Recovered spectra with 1-sigma bands, one row of panels per planet, with the true spectra if given.

    mean, sigma, truth  (planet, wavelength)
    wavelengths         (wavelength,) micron; None: the index of the wavelength
    unit                'ppm' or 'percent' of the stellar flux
    """
    scale, (axis, axis_label) = UNITS[unit], _spectral_axis(wavelengths, mean.shape[1])
    figure = _blank(8.0, 0.6 + 2.0 * len(planet_ids))
    panels = figure.subplots(
        len(planet_ids), 2, squeeze=False, sharex="col", sharey="row", gridspec_kw={"width_ratios": [1, 8]}
    )
    for row, (planet, (fgs1, airs)) in enumerate(zip(planet_ids, panels, strict=True)):
        center, width = scale * mean[row], scale * sigma[row]
        fgs1.errorbar(axis[:1], center[:1], width[:1], fmt="o", color=BLUE, capsize=3)
        airs.fill_between(axis[1:], (center - width)[1:], (center + width)[1:], color=BLUE, alpha=0.3, linewidth=0)
        airs.plot(axis[1:], center[1:], color=BLUE, label="recovered, 1 sigma")
        if truth is not None:
            fgs1.plot(axis[:1], scale * truth[row, :1], "D", color=ORANGE)
            airs.plot(axis[1:], scale * truth[row, 1:], color=ORANGE, linewidth=1, label="true")
        airs.set_title(f"planet {planet}", loc="left", fontsize="medium", parse_math=False)
        fgs1.set_ylabel(f"depth ({unit})")
        fgs1.set_xticks(axis[:1], ["FGS1"])
    panels[0, 1].legend(loc="upper right", fontsize="small")
    panels[-1, 1].set_xlabel(axis_label)
    return figure


def draw_calibration(truth: Array, mean: Array, sigma: Array) -> Figure:
    """Calibration of the sigmas. Left: z scores against the unit normal. Right: empirical against nominal coverage.

    truth, mean, sigma  (planet, wavelength)
    """
    z = z_scores(truth, mean, sigma)
    normal = NormalDist()
    edges = np.linspace(-5, 5, 51)
    levels = np.linspace(0.02, 0.98, 49)
    half_widths = np.array([normal.inv_cdf(0.5 * (1 + level)) for level in levels])
    figure = _blank(8.0, 3.6)
    histogram, reliability = figure.subplots(1, 2)
    for name, values, color in (("FGS1", z[:, 0], ORANGE), ("AIRS", z[:, 1:].ravel(), BLUE)):
        # values beyond the edges are counted in the outermost bins, so that outliers remain visible
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        histogram.stairs(counts / (values.size * np.diff(edges)), edges, color=color, label=name)
        inside = np.mean(np.abs(values)[:, None] <= half_widths, axis=0)
        reliability.plot(levels, inside, color=color, label=name)
    histogram.plot(edges, [normal.pdf(edge) for edge in edges], "--", color=BLACK, label="unit normal")
    histogram.set(xlabel="z = (true - recovered) / sigma", ylabel="density")
    reliability.plot([0, 1], [0, 1], "--", color=BLACK, label="ideal")
    reliability.set(xlabel="nominal coverage", ylabel="empirical coverage", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    for panel in (histogram, reliability):
        panel.legend(fontsize="small")
    return figure


def draw_gain_map(gain: Array, *, wavelengths: Array | None = None) -> Figure:
    """Gain of every element in the score, planets sorted from worst to best; negative is worse than the naive prediction.

    gain         (planet, wavelength), as metrics.gll_gain returns it
    wavelengths  (wavelength,) micron; None: the index of the wavelength
    """
    axis, axis_label = _spectral_axis(wavelengths, gain.shape[1])
    planet_gain = np.average(gain, axis=1, weights=column_weights(gain.shape[1]))
    sorted_gain = gain[np.argsort(planet_gain, kind="stable")]
    planets = np.arange(len(gain))
    figure = _blank(8.0, 4.2)
    fgs1, airs = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [1, 16]})
    shades = {"cmap": "cividis", "vmin": 0.0, "vmax": 1.0, "rasterized": True}
    fgs1.pcolormesh([0.0, 1.0], np.arange(len(gain) + 1) - 0.5, sorted_gain[:, :1], **shades)
    image = airs.pcolormesh(axis[1:], planets, sorted_gain[:, 1:], shading="nearest", **shades)
    fgs1.set_xticks([0.5], ["FGS1"])
    fgs1.set_ylabel("planet, worst to best")
    airs.set_xlabel(axis_label)
    figure.colorbar(image, ax=airs, extend="both", label="gain: 0 naive, 1 perfect")
    return figure


def draw_light_curve(time_h: Array, flux: Array, model: Array, *, flux_sigma: Array | None = None) -> Figure:
    """A white light curve with its fit, and residuals in ppm.

    time_h                   (time,) hours
    flux, model, flux_sigma  (time,) relative to the star out of transit; masked samples are not drawn
    """
    figure = _blank(8.0, 4.6)
    curve, residual = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    dots = {"fmt": ".", "markersize": 2, "color": GREY, "elinewidth": 0.5, "rasterized": True}
    curve.errorbar(time_h, flux, flux_sigma, label="measured", **dots)
    curve.plot(time_h, model, color=BLUE, zorder=3, label="fit")
    residual.errorbar(time_h, 1e6 * (flux - model), None if flux_sigma is None else 1e6 * flux_sigma, **dots)
    residual.axhline(0.0, color=BLUE, zorder=3)
    curve.set_ylabel("relative flux")
    curve.legend(fontsize="small")
    residual.set(xlabel="time (h)", ylabel="residual (ppm)")
    return figure


def draw_transits(curves: Mapping[str, tuple[Array, Array, Array | None]]) -> Figure:
    """White light curves side by side, with their fits and the residuals in ppm below where there is one.

    curves  title → time (time,) h, flux and model (time,) relative; NaN is not drawn; model None: flux alone
    """
    fitted = any(model is not None for _, _, model in curves.values())
    figure = _blank(1.0 + 3.6 * len(curves), 4.2 if fitted else 3.0)
    ratios = {"height_ratios": [3, 1]} if fitted else None
    panels = figure.subplots(1 + fitted, len(curves), squeeze=False, sharex="col", sharey="row", gridspec_kw=ratios)
    for column, (title, (time, flux, model)) in enumerate(curves.items()):
        panels[0, column].plot(time, flux, ".", markersize=2, color=GREY, rasterized=True)
        panels[0, column].set_title(title, loc="left", fontsize="medium", parse_math=False)
        panels[-1, column].set_xlabel("time (h)")
        if model is not None:
            panels[0, column].plot(time, model, color=BLUE)
            panels[1, column].plot(time, 1e6 * (flux - model), ".", markersize=2, color=GREY, rasterized=True)
            panels[1, column].axhline(0.0, color=BLUE)
    panels[0, 0].set_ylabel("relative flux")
    if fitted:
        panels[1, 0].set_ylabel("residual (ppm)")
    return figure


def draw_history(history: Sequence[Mapping[str, float | None]]) -> Figure:
    """Training history: score on the planets that choose the epoch (higher is better) and training loss by epoch.

    history  entries of metrics.json: member of the ensemble, epoch, loss (None for epoch 0, before training), score
    """
    figure = _blank(7.0, 3.2)
    scores, losses = figure.subplots(1, 2)
    for member in sorted({entry.get("member", 0) for entry in history}):
        entries = [entry for entry in history if entry.get("member", 0) == member]
        epoch, score = ([entry[name] for entry in entries] for name in ("epoch", "score"))
        loss = [np.nan if entry["loss"] is None else entry["loss"] for entry in entries]
        scores.plot(epoch, score, ".-", color=BLUE)
        scores.axhline(score[0], color=GREY, linestyle="--", label=None if member else "before training")
        losses.plot(epoch, loss, ".-", color=ORANGE)
    for axis in (scores, losses):
        axis.xaxis.get_major_locator().set_params(integer=True)
    scores.set(xlabel="epoch", ylabel="score on the choosing planets")
    scores.legend(frameon=False)
    losses.set(xlabel="epoch", ylabel="training loss")
    return figure


def draw_comparison(table: Mapping[str, Mapping[str, float]]) -> Figure:
    """Scores of several models with standard errors, the first on top. table: score and score_error by name of the model."""
    names = list(table)[::-1]
    figure = _blank(7.0, 0.9 + 0.32 * len(names))
    axes = figure.subplots()
    scores, errors = ([table[name][key] for name in names] for key in ("score", "score_error"))
    axes.errorbar(scores, range(len(names)), xerr=errors, fmt="o", color=BLUE, ecolor=GREY, capsize=3)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="score (higher is better) and its standard error over planets")
    axes.grid(axis="x", alpha=0.3)
    return figure


def render_png(figure: Figure, dpi: int = 120) -> bytes:
    """PNG of a figure, without date and version: equal figures give equal bytes."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


class _NotebookFigure(Figure):
    """A figure that a notebook shows as the last expression of a cell, without pyplot."""

    def _repr_png_(self) -> bytes:
        return render_png(self)


def _blank(width: float, height: float) -> Figure:
    """Empty figure of width × height inches."""
    figure = _NotebookFigure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _spectral_axis(wavelengths: Array | None, n_wavelengths: int) -> tuple[Array, str]:
    """Values (wavelength,) and label of the spectral axis."""
    if wavelengths is None:
        return np.arange(n_wavelengths), "wavelength index"
    return np.asarray(wavelengths, dtype=np.float64), "wavelength (micron)"
