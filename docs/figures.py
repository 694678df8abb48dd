"""The figures of the documentation: two diagrams, and what each package makes of a simulated toy set: docs/figures/*.png.

    python docs/figures.py [--out docs/figures] [--scratch build/docs]

The set is tiny (16 planets of raw frames, 6 of them for testing): the figures show what the data look like, not how good the
project is. A few minutes on one core; a second run uses what the first left in the scratch folder. The package graph is read
from the source, by the functions of tests/test_layers.py.
"""

import argparse
import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from matplotlib.figure import Figure

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.visits import calibrate_split
from ariel_lib.config import load_config
from ariel_lib.instrument import AIRS
from ariel_lib.io.archive import Archive
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import light_curves_path
from ariel_lib.io.light_curves import load_light_curves
from ariel_lib.io.storage import write_atomically
from ariel_lib.io.submission import read_submission
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import gll_gain, naive_answer
from ariel_lib.plots.figures import (
    BLUE,
    ORANGE,
    draw_calibration,
    draw_gain_map,
    draw_light_curve,
    draw_spectra,
    render_png,
)
from ariel_lib.prediction.predict import predict
from ariel_lib.simulator.dataset import simulate_dataset
from ariel_lib.symbolic.context import make_context
from ariel_lib.symbolic.rules import find_violations
from ariel_lib.training.examples import training_set
from ariel_lib.training.loop import train
from ariel_lib.transit.result import load_estimate

ROOT = Path(__file__).parents[1]
PLANETS, TEST_PLANETS, SEED, EPOCHS = 16, 6, 1, 3
SPIKE, SPIKE_BIN = 5e-4, 150  # (Rp/Rs)² added to one bin of a flat spectrum, for the rules to find


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--scratch", type=Path, default=Path("build/docs"))
    options = parser.parse_args()
    for name, figure in (draw_diagrams() | draw_all(options.scratch)).items():
        print(write_atomically(options.out / f"{name}.png", render_png(figure, dpi=90)))


def draw_diagrams() -> dict[str, Figure]:
    """The figures that need no data, by their file's name."""
    return {"data_flow": draw_data_flow(), "package_graph": draw_package_graph(package_graph())}


def draw_all(scratch: Path) -> dict[str, Figure]:
    """The figures of the toy set, by their file's name."""
    data, curves, model = scratch / "data", scratch / "curves", scratch / "model"
    if not (data / "test.csv").is_file():
        simulate_dataset(data, n_planets=PLANETS, n_test=TEST_PLANETS, seed=SEED, size="toy")
    dataset = Dataset(data, light_curves=curves)
    for split in ("train", "test"):
        calibrate_split(dataset.with_split(split), CalibrationSettings())
    if not (model / "metrics.json").is_file():
        settings = [f"data.root={data}", f"data.light_curves={curves}", f"training.out={model}", f"training.epochs={EPOCHS}"]
        config = load_config(None, [*settings, "model.bin_width=20", "calibration.workers=1"])
        train(training_set(config), config, log=print)
    submission = scratch / "predicted" / "submission.csv"
    predict(dataset, weights=model / "weights.safetensors", out=submission)
    planets, mean, sigma = read_submission(submission)
    truth, wavelength = read_spectra(data / "test.csv").of(planets), dataset.wavelengths
    naive = naive_answer(dataset.with_split("train").labels().depth)
    estimate = load_estimate(submission.parent / "estimates" / "test" / f"{planets[0]}.safetensors")
    white = next(curve for curve in estimate.white if curve.instrument == AIRS.name)
    return {
        "frames": draw_frames(dataset.archive, planets[0]),
        "light_curves": draw_curves(load_light_curves(light_curves_path(curves, "test", planets[0], 0))),
        "transit": draw_light_curve(white.time, white.flux, white.model, flux_sigma=np.full(len(white.time), white.sigma)),
        "history": draw_history(json.loads((model / "metrics.json").read_bytes())["history"]),
        "spectra": draw_spectra(planets[:2], mean[:2], sigma[:2], truth=truth[:2], wavelengths=wavelength),
        "coverage": draw_calibration(truth, mean, sigma),
        "rules": draw_rules(wavelength),
        "gain": draw_gain_map(gll_gain(truth, mean, sigma, **naive), wavelengths=wavelength),
    }


def draw_frames(archive: Archive, planet: str) -> Figure:
    """One raw AIRS read, and the difference of the two reads of a ramp."""
    counts = next(archive.signal("test", planet, 0, AIRS).blocks(2))
    first, second = (read.astype(float).reshape(AIRS.rows, AIRS.columns) for read in counts[:2])
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for panel, image, title in zip(figure.subplots(2, 1), (second, second - first), ("read, counts", "difference of two reads, counts")):
        shown = panel.imshow(image, aspect="auto", cmap="cividis", vmin=np.percentile(image, 1), vmax=np.percentile(image, 99.5))
        panel.set(title=title, ylabel="row")
        figure.colorbar(shown, ax=panel)
    return figure


def draw_curves(curves) -> Figure:
    """White light of both instruments against its median, with the propagated sigma."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    for panel, curve, name in zip(figure.subplots(2, 1, sharex=True), (curves.fgs1, curves.airs), ("FGS1", "AIRS, all wavelengths")):
        used = np.where(curve.mask, 0.0, 1.0).reshape(len(curve.time), -1)
        flux = (used * curve.flux.reshape(used.shape)).sum(axis=1)
        sigma = np.sqrt((used * curve.variance.reshape(used.shape)).sum(axis=1))
        level = np.median(flux)
        panel.errorbar(curve.time, flux / level, sigma / level, fmt=".", markersize=2, color=BLUE, elinewidth=0.4, rasterized=True)
        panel.set(title=name, ylabel="relative flux")
    panel.set_xlabel("time (h)")
    return figure


def draw_history(history: list[dict]) -> Figure:
    """Score of the choosing planets by epoch; epoch 0 is the initial estimate."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    panel = figure.subplots()
    panel.plot([entry["epoch"] for entry in history], [entry["score"] for entry in history], "o-", color=BLUE)
    panel.set(xlabel="epoch", ylabel="score of the choosing planets", xticks=[entry["epoch"] for entry in history])
    return figure


def draw_rules(wavelength: np.ndarray) -> Figure:
    """Deviation that three rules find in a flat spectrum with a spike in one bin, in scales of each rule."""
    mean = np.full((1, len(wavelength)), 0.0147)
    mean[0, SPIKE_BIN] += SPIKE
    mu, grid = torch.from_numpy(mean), torch.tensor(wavelength, dtype=torch.float64)
    found = find_violations(mu, make_context(mu, torch.full_like(mu, 5e-5), grid))
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panel = figure.subplots()
    for name, colour in (("smoothness", BLUE), ("resolution", ORANGE), ("molecular_bands", "#009E73")):
        panel.plot(wavelength[1:], found[name].sigmas[0, 1:], color=colour, label=name)
    panel.set(xlabel="wavelength (micron)", ylabel="deviation (scales of the rule)")
    panel.legend()
    return figure


BOXES = {  # name: (column, row, text); a name with a dot in front is a package, the others are data
    "frames": (0, 0, "frames and\ncalibration maps"), ".calibration": (1, 0, "calibration"),
    "light_curves": (2, 0, "light curves,\ntwo variances"), ".simulator": (0, 1, "simulator"), ".transit": (2, 1, "transit"),
    "stars": (1, 1, "star table"), "depths": (2, 2, "depths and\ntheir covariance"),
    ".transit.population": (1, 2, "transit.population"), "labels": (0, 3, "labels of\ntraining planets"),
    ".priors": (1, 3, "priors"), "posteriors": (2, 3, "Gaussian posterior,\nlibrary posterior"), ".training": (0, 4, "training"),
    ".models": (2, 4, "models: V50"), "weights": (1, 4, "weights"), ".uncertainty": (2, 5, "uncertainty"),
    ".prediction": (2, 6, "prediction"), "submission": (1, 6, "submission.csv:\nmean and sigma"),
    ".checks": (0, 6, "symbolic, evaluation,\ndiagnostics"),
}  # fmt: skip
ARROWS = (
    ("frames", ".calibration"), (".calibration", "light_curves"), (".simulator", "frames"), ("light_curves", ".transit"),
    ("stars", ".transit"), (".transit", "depths"), ("depths", ".transit.population"), (".transit.population", "depths"),
    ("labels", ".transit.population"), ("labels", ".priors"), (".priors", "posteriors"), ("depths", "posteriors"),
    ("labels", ".training"), (".training", "weights"), ("weights", ".models"), ("posteriors", ".models"),
    (".models", ".uncertainty"), (".uncertainty", ".prediction"), (".prediction", "submission"), ("submission", ".checks"),
)  # fmt: skip
COLUMN, ROW = 3.0, 1.15  # inches between the centres of boxes


def draw_data_flow() -> Figure:
    """What is computed from what: packages in blue, data in white."""
    figure = Figure(figsize=(8.4, 8.0), layout="constrained")
    panel = figure.subplots()
    centre = {name: (COLUMN * column, -ROW * row) for name, (column, row, _) in BOXES.items()}
    shown = {
        name: panel.text(
            *centre[name], text, ha="center", va="center", fontsize=9.5, color="white" if name[0] == "." else "black",
            bbox={"boxstyle": "round,pad=0.45", "facecolor": BLUE if name[0] == "." else "white", "edgecolor": BLUE},
        )
        for name, (_, _, text) in BOXES.items()
    }  # fmt: skip
    for source, target in ARROWS:
        bend = "arc3,rad=0.3" if (target, source) in ARROWS else "arc3"
        arrow = {"arrowstyle": "-|>", "color": "0.4", "connectionstyle": bend, "patchA": shown[source].get_bbox_patch(),
                 "patchB": shown[target].get_bbox_patch()}  # fmt: skip
        panel.annotate("", centre[target], centre[source], arrowprops=arrow)
    columns, rows = zip(*centre.values())
    panel.set(xlim=(min(columns) - 1.3, max(columns) + 1.3), ylim=(min(rows) - 0.6, max(rows) + 0.6))
    panel.axis("off")
    return figure


def load_layers() -> ModuleType:
    """tests/test_layers.py, which reads the imports and holds the table of packages."""
    spec = importlib.util.spec_from_file_location("test_layers", ROOT / "tests" / "test_layers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package_graph() -> dict[str, list[str]]:
    """package → packages that it imports, less those that it also reaches through another (the transitive reduction)."""
    layers = load_layers()
    graph = layers.edges([module for module in layers.MODULES if not layers.is_public_list(module)])

    @cache
    def below(package: str) -> frozenset[str]:
        return frozenset(graph[package]).union(*(below(other) for other in graph[package]))

    return {
        package: sorted(other for other in graph[package] if not any(other in below(third) for third in graph[package]))
        for package in sorted(graph, key=layers.ORDER.index)
    }


def place_packages(graph: Mapping[str, list[str]]) -> tuple[list[list], dict]:
    """A layered drawing (Sugiyama, Tagawa & Toda 1981, IEEE Trans. SMC 11, 109): arrows as lists of nodes, and x, y of each node.

    y is the longest way down to a package that imports none. An arrow that passes rows has a node (package, package, y) in each.
    """

    @cache
    def height(package: str) -> int:
        return 1 + max((height(other) for other in graph[package]), default=-1)

    arrows = [
        [package, *((package, other, y) for y in range(height(package) - 1, height(other), -1)), other]
        for package in graph for other in graph[package]
    ]  # fmt: skip
    y = {node: height(node) if isinstance(node, str) else node[2] for node in [*graph, *(n for arrow in arrows for n in arrow)]}
    beside: dict = {node: [] for node in y}
    for arrow in arrows:
        for upper, lower in pairwise(arrow):
            beside[upper].append(lower)
            beside[lower].append(upper)
    rows = [[node for node in y if y[node] == row] for row in range(max(y.values()) + 1)]
    x = {node: n - len(row) / 2 for row in rows for n, node in enumerate(row)}
    for sweep in range(40):
        for row in rows if sweep % 2 else rows[::-1]:
            wanted = {node: np.mean([x[other] for other in beside[node]] or [x[node]]) for node in row}
            x |= _spread(wanted)
    return arrows, {node: (x[node], y[node]) for node in y}


def _spread(wanted: dict) -> dict:
    """Nodes of one row at the places wanted, or as near as the width of their names lets them be."""
    order = sorted(wanted, key=wanted.get)
    width = [len(node) + 5.0 if isinstance(node, str) else 4.0 for node in order]
    places = [wanted[order[0]]]
    for n, node in enumerate(order[1:], 1):
        places.append(max(wanted[node], places[-1] + (width[n - 1] + width[n]) / 2))
    shift = np.mean([wanted[node] - place for node, place in zip(order, places)])
    return {node: place + shift for node, place in zip(order, places)}


def draw_package_graph(graph: Mapping[str, list[str]]) -> Figure:
    """Packages by name, an arrow from each to those that it imports."""
    figure = Figure(figsize=(9, 8.5), layout="constrained")
    panel = figure.subplots()
    arrows, place = place_packages(graph)
    for arrow in arrows:
        points = np.array([place[node] for node in arrow])
        panel.plot(*points[:-1].T, color="0.6", linewidth=0.9)
        panel.annotate("", points[-1] + (0, 0.22), points[-2], arrowprops={"arrowstyle": "-|>", "color": "0.6", "shrinkA": 0, "shrinkB": 0})
    for package in graph:
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": BLUE}
        panel.text(*place[package], package, ha="center", va="center", fontsize=9.5, bbox=box)
    panel.set_ylim(-0.5, max(y for _, y in place.values()) + 0.5)
    panel.margins(x=0.1)
    panel.axis("off")
    return figure


if __name__ == "__main__":
    main()
