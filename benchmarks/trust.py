"""What uncertainty and symbolic cost: sigmas made honest and spectra held against physics, for many planets on two cores.

    python benchmarks/trust.py --labels LABELS.csv [--planets 1100 --visits 110]

Spectra are labels with noise, half of the planets calibrate. Light curves of full length are simulated for the first --visits
planets and stand under the names of the others too, so each is searched for bumps several times; the search looks for every transit itself.
Prints one JSON of seconds by the clock: the temperature, fitted on half of the planets and applied to all; COREL applied, its
training apart; and what `spectramind check --workers 2` does: reading, guard, rules, logs.
"""

import argparse
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ariel_lib.evaluation.physics_check import check_submission
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import light_curves_path, list_light_curves
from ariel_lib.io.storage import write_atomically
from ariel_lib.io.submission import write_submission
from ariel_lib.metrics import naive_answer
from ariel_lib.simulator import dataset
from ariel_lib.simulator.planet import Planet
from ariel_lib.uncertainty.conformal import JOINT, MARGINAL
from ariel_lib.uncertainty.corel import corel_features, train_corel
from ariel_lib.uncertainty.temperature import fit_temperature

WORKERS = 2
MAGNITUDES = (6.0, 11.0)  # K
LEVEL = 0.80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="csv of spectra to draw from")
    parser.add_argument("--planets", type=int, default=1100)
    parser.add_argument("--visits", type=int, default=110, help="light curves that are simulated")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("build/trust"))
    options = parser.parse_args()
    torch.set_num_threads(WORKERS)
    drawn = make_data(options)
    seconds, training = uncertainty_seconds(drawn, np.random.default_rng(options.seed))
    seconds["check"] = checking_seconds(options, drawn)
    result = {
        "planets": options.planets, "workers": WORKERS, "seconds": {name: round(s, 3) for name, s in seconds.items()},
        "total_s": round(sum(seconds.values()), 2), "corel_training_s": round(training, 2),
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    write_atomically(options.out / "trust.json", json.dumps(result, indent=1).encode())


def make_data(options) -> list[Planet]:
    """Star tables and light curves under {out}/data, unless they are there; the planets, those past --visits being the first
    ones once more."""
    data = options.out / "data"
    drawn = dataset.draw_planets(
        options.seed, {"train": 0, "test": options.planets}, 1, MAGNITUDES, dataset.read_labels(options.labels)
    )
    first = [planet for _, _, planet in drawn[: options.visits]]
    for n, (split, number, planet) in enumerate(drawn):
        twin = first[n % len(first)]
        drawn[n] = (split, number, replace(twin, catalogue=replace(twin.catalogue, planet_id=planet.planet_id)))
    there = data / "lightcurves"
    if there.is_dir() and set(list_light_curves(there, "test")) == {planet.planet_id for _, _, planet in drawn}:
        return [planet for _, _, planet in drawn]
    shutil.rmtree(there, ignore_errors=True)
    dataset.write_truth(data, drawn, seed=options.seed, size="full", level="lightcurves")
    dataset.write_tables(data, drawn, dataset.FULL_SAMPLES)
    for n, (split, _, planet) in enumerate(drawn):
        target = light_curves_path(data / "lightcurves", split, planet.planet_id, 0)
        if n < len(first):
            dataset.write_light_curves(data, split, planet, 0, dataset.FULL_SAMPLES, None, np.random.default_rng([options.seed, n]))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(light_curves_path(data / "lightcurves", split, first[n % len(first)].planet_id, 0), target)
    return [planet for _, _, planet in drawn]


def uncertainty_seconds(drawn: list[Planet], rng: np.random.Generator) -> tuple[dict[str, float], float]:
    """By method; and COREL's training."""
    truth = np.array([planet.depth for planet in drawn])
    sigma = 1e-4 * np.exp(0.5 * rng.standard_normal((len(truth), 1))) * np.ones(truth.shape[1])
    depth = truth + sigma * rng.standard_normal(truth.shape)
    mean = truth + 0.5 * (depth - truth)
    naive = naive_answer(truth)
    features = corel_features(mean, sigma, depth, sigma, sigma)
    half = slice(0, len(truth) // 2)
    seen, seconds = (mean[half], sigma[half], truth[half]), {}
    start = time.perf_counter()
    corel = train_corel(features[half], *seen, level=LEVEL)
    training = time.perf_counter() - start

    def corel_applied() -> None:
        corel.sigmas(features, mean, sigma)
        for promise in (MARGINAL, JOINT):
            corel.intervals(features, mean, sigma, promise)

    methods = {"temperature": lambda: fit_temperature(*seen, **naive).apply(sigma), "COREL applied": corel_applied}
    for name, method in methods.items():
        start = time.perf_counter()
        method()
        seconds[name] = time.perf_counter() - start
    return seconds, training


def checking_seconds(options, drawn: list[Planet]) -> float:
    names = [planet.planet_id for planet in drawn]
    mean = np.array([planet.depth for planet in drawn])
    sigma = np.full_like(mean, 5e-5)
    path = options.out / "submission.csv"
    write_submission(path, names, mean, sigma, fallback=(mean[0], 0.01), order=names)
    start = time.perf_counter()
    summary = check_submission(path, Dataset(options.out / "data"), options.out / "check", workers=WORKERS)
    taken = time.perf_counter() - start
    if summary["with_light_curves"] != options.planets:
        raise SystemExit(f"only {summary['with_light_curves']} of {options.planets} planets were searched for bumps")
    return taken


if __name__ == "__main__":
    main()
