"""The figures of the documentation, made by the project itself from a simulated toy set: docs/figures/*.png.

    python docs/figures.py [--out docs/figures] [--scratch build/docs]

A tiny set (16 planets of raw frames, 6 of them for testing) goes the whole road: what the figures show is how things look,
not how good the project is. A few minutes on one core; a second run uses what the first left in the scratch folder.
"""

import argparse
import json
from pathlib import Path

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

PLANETS, TEST_PLANETS, SEED, EPOCHS = 16, 6, 1, 3
SPIKE, SPIKE_BIN = 5e-4, 150  # (Rp/Rs)² added to one bin of a flat spectrum, for the rules to find


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--scratch", type=Path, default=Path("build/docs"))
    options = parser.parse_args()
    for name, figure in draw_all(options.scratch).items():
        print(write_atomically(options.out / f"{name}.png", render_png(figure, dpi=90)))


def draw_all(scratch: Path) -> dict[str, Figure]:
    """Every figure by its file's name."""
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
    """Held-out score by epoch; epoch 0 is the physical posterior."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    panel = figure.subplots()
    panel.plot([entry["epoch"] for entry in history], [entry["score"] for entry in history], "o-", color=BLUE)
    panel.set(xlabel="epoch", ylabel="held-out score", xticks=[entry["epoch"] for entry in history])
    return figure


def draw_rules(wavelength: np.ndarray) -> Figure:
    """What three rules have against a flat spectrum with a spike in one bin, in scales of each rule."""
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


if __name__ == "__main__":
    main()
