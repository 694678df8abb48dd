"""Charts of the dashboard that explain the spectra: attributions, decoder gates, physical rules, calibration, run time.

As in charts.py: arrays in, no files; the page's colours come from its theme.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter

from ariel_lib.plots.charts import COLORS, STYLES, Array, Chart, new_figure

BUDGET_HOURS = 9.0
METHODS = {"shap": "GradientShap (SHAP)", "ig": "Integrated Gradients"}
GATE_NAMES = ("spectrum", "star", "fgs1")  # the order of models.decoder.EXPERTS; a test compares them


def attribution_overlay(
    method: str, attribution: Array, error: Array, correction: Array, mean: Array, wavelength: Array
) -> Chart:
    """Mean absolute attribution of V50's correction to input wavelengths, over the mean spectrum.

    method       "shap" or "ig"
    attribution  (planet, band, wavelength)  ppm
    error        (planet, band)              completeness error, ppm
    correction   (planet, band)              ppm
    mean         (wavelength,)               mean depth over planets, (Rp/Rs)²
    """
    strength = np.abs(attribution).mean(axis=0)
    table = pd.DataFrame({"wavelength_micron": wavelength, "mean_spectrum_ppm": 1e6 * mean})
    for band, row in enumerate(strength, 1):
        table[f"band_{band}_ppm"] = row
    worst, typical = float(error.max()), float(np.median(np.abs(correction)))

    def draw():
        figure, axis = new_figure(8, 3.8)
        for n, row in enumerate(strength):
            axis.plot(wavelength[1:], row[1:], color=COLORS[n], linestyle=STYLES[n], label=f"band {n + 1}")
        axis.set(xlabel="input wavelength (micron)", ylabel="mean |attribution| (ppm)")
        axis.legend(fontsize="small", ncols=3)
        over = axis.twinx()
        over.plot(wavelength[1:], 1e6 * mean[1:], color=COLORS[-1], linewidth=0.8)
        over.set_ylabel("mean recovered depth (ppm, grey)")
        return figure

    reading = (
        f"{METHODS[method]} of V50's correction to the initial estimate in six bands, {len(attribution)} planets. Completeness error: "
        f"at most {worst:.3g} ppm; median correction: {typical:.3g} ppm."
    )
    name = "shap_overlay" if method == "shap" else "integrated_gradients"
    return Chart(name, f"{METHODS[method]}: input wavelengths that change the spectrum", reading, table, draw)


def symbolic_maps(deviations: Mapping[str, Array], limits: Mapping[str, float], wavelength: Array) -> Chart:
    """Maps of the deviations from the physical rules.

    deviations: by rule, (planet, wavelength) in scales of the rule, NaN where a planet was not checked; limits: by rule, the
    deviation above which it is violated.
    """
    table = pd.DataFrame({"wavelength_micron": wavelength})
    known = {rule: np.abs(map_[np.isfinite(map_).all(axis=1)]) for rule, map_ in deviations.items()}
    for rule, map_ in known.items():
        table[f"{rule}_violated_share"] = (map_ > limits[rule]).mean(axis=0) if len(map_) else np.nan

    def draw():
        figure, axes = new_figure(8, 1.0 + 1.3 * len(deviations), len(deviations), 1, sharex=True, squeeze=False)
        for axis, (rule, map_) in zip(axes[:, 0], deviations.items()):
            top = limits[rule] or 1.0
            image = axis.imshow(
                np.abs(map_), cmap="cividis", vmin=0, vmax=top, aspect="auto", interpolation="nearest",
                extent=(wavelength[1], wavelength[-1], len(map_), 0),
            )  # fmt: skip
            axis.set_ylabel(rule)
            figure.colorbar(image, ax=axis, extend="max")
        axes[-1, 0].set_xlabel("wavelength (micron)")
        return figure

    shares = ", ".join(f"{rule} {np.mean((m > limits[rule]).any(axis=1)):.1%}" for rule, m in known.items() if len(m))
    reading = f"|Deviation| in scales of each rule, planets worst first; the brightest colour is a violation. Violating planets: {shares}."
    return Chart("symbolic_violations", "Violations of the physical rules", reading, table, draw)


def symbolic_gradients(gradients: Mapping[str, Array], mean: Array, wavelength: Array) -> Chart:
    """RMS gradient ∂L/∂μ of each rule's penalty, over the mean spectrum.

    gradients: by rule, (planet, wavelength); mean (wavelength,): mean depth over planets.
    """
    table = pd.DataFrame({"wavelength_micron": wavelength, "mean_spectrum_ppm": 1e6 * mean})
    for rule, gradient in gradients.items():
        table[rule] = np.sqrt(np.mean(gradient**2, axis=0))

    def draw():
        figure, axis = new_figure(8, 3.8)
        for n, rule in enumerate(gradients):
            shown = table[rule].where(table[rule] > 0)[1:]
            if not shown.notna().any():
                continue
            axis.plot(wavelength[1:], shown, color=COLORS[n], linestyle=STYLES[n], label=rule)
        axis.set(xlabel="wavelength (micron)", ylabel="RMS ∂L/∂μ")
        if axis.lines:
            axis.set_yscale("log")
            axis.legend(fontsize="small", ncols=3)
        over = axis.twinx()
        over.plot(wavelength[1:], 1e6 * mean[1:], color=COLORS[-1], linewidth=0.8)
        over.set_ylabel("mean recovered depth (ppm, grey)")
        return figure

    reading = "Gradient of each rule's penalty by the depth in each bin; rules with zero gradient are not drawn."
    return Chart("symbolic_gradients", "∂L/∂μ of the physical rules", reading, table, draw)


def gate_traces(gates: Array, wavelength: Array) -> Chart:
    """Weights of the decoder's experts by wavelength: gates (planet, wavelength, expert)."""
    table = pd.DataFrame({"wavelength_micron": wavelength})
    for n, name in enumerate(GATE_NAMES):
        table[name] = gates[..., n].mean(axis=0)
        table[f"{name}_p16"], table[f"{name}_p84"] = np.percentile(gates[..., n], (16, 84), axis=0)

    def draw():
        figure, axis = new_figure(8, 3.4)
        for n, name in enumerate(GATE_NAMES):
            low, high = table[f"{name}_p16"], table[f"{name}_p84"]
            axis.plot(wavelength[1:], table[name][1:], color=COLORS[n], linestyle=STYLES[n], label=name)
            axis.fill_between(wavelength[1:], low[1:], high[1:], color=COLORS[n], alpha=0.25, linewidth=0)
            axis.vlines(wavelength[0] + 0.02 * n, low[0], high[0], color=COLORS[n])
            axis.plot(wavelength[0] + 0.02 * n, table[name][0], color=COLORS[n], marker="os^"[n])
        axis.set(xlabel="wavelength (micron)", ylabel="weight", ylim=(0, 1))
        axis.legend(fontsize="small", ncols=3)
        return figure

    reading = "Weight of each of the decoder's experts: mean over planets, band 16 to 84 %. FGS1 is at the left."
    return Chart("gates", "Decoder gates", reading, table, draw)


def calibration_quality(table: pd.DataFrame) -> Chart:
    """Quality of the calibrated light curves: table from diagnostics.calibration_quality, one row per visit and instrument."""
    framed = table["bad_pixels_percent"].notna().any()

    def draw():
        figure, axes = new_figure(9, 6.2, 2, 2)
        axes = axes.ravel()
        for n, (name, part) in enumerate(table.groupby("instrument")):
            style = {"color": COLORS[n], "marker": "o^"[n % 2], "linestyle": "none", "markersize": 4, "alpha": 0.7, "label": name}
            axes[0].plot(part["propagated_ppm"], part["scatter_ppm"], **style)
            axes[1].plot(np.arange(len(part)), np.sort(part["masked_percent"])[::-1], **style)
            axes[2].plot(part["flux_drift_percent"], part["centroid_drift_pixel"], **style)
            axes[3].plot(np.arange(len(part)), np.sort(part["bad_pixels_percent"])[::-1], **style)
        ends = np.nanmin(table["propagated_ppm"]), np.nanmax(table["propagated_ppm"])
        axes[0].plot(ends, ends, color=COLORS[-1], linewidth=1)
        axes[0].set(xlabel="propagated sigma (ppm)", ylabel="scatter (ppm)", xscale="log", yscale="log")
        axes[1].set(xlabel="visit, worst first", ylabel="masked samples (%)", ylim=(0, None))
        axes[3].set(xlabel="visit, worst first", ylabel="bad pixels (%)", ylim=(0, None))
        axes[2].set(xlabel="flux drift (%)", ylabel="pointing drift (pixel)")
        axes[3].set_visible(bool(framed))
        axes[0].xaxis.set_minor_formatter(NullFormatter())
        axes[0].legend(fontsize="small")
        return figure

    frames = "" if framed else " Bad pixels are not shown: the data set has light curves but no frames."
    reading = f"{len(table)} light curves. The scatter should equal the propagated sigma (line); masked samples are outliers.{frames}"
    return Chart("calibration_quality", "Calibration", reading, table, draw)


def stage_timing(seconds: Mapping[str, float]) -> Chart:
    """Run time of each stage, s."""
    table = pd.DataFrame({"stage": list(seconds), "seconds": list(seconds.values())})
    total = sum(seconds.values()) / 3600

    def draw():
        figure, axis = new_figure(8, 1.0 + 0.35 * len(seconds))
        axis.barh(list(seconds), list(seconds.values()), color=COLORS[0])
        axis.axvline(3600 * BUDGET_HOURS, color=COLORS[1], linestyle="--", label="nine hours")
        axis.set(xlabel="seconds", xscale="log", xlim=(0.1, 1e5))
        axis.invert_yaxis()
        axis.legend(fontsize="small")
        return figure

    reading = f"Run time of the recorded stages on the machines used: {total:.3g} h of {BUDGET_HOURS:.0f}."
    return Chart("timing", "Time by stage", reading, table.round(2), draw)
