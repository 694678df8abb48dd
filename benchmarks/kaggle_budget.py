"""What 1100 planets cost on Kaggle: rates measured here at full size, extrapolated to its cores, against the nine hours.

    python benchmarks/kaggle_budget.py --weights FILE [--data DIR] [--planets 1100] [--visits 1.3]
--data holds at least one full-size planet under train/; without it one is simulated first (some three minutes). Each
stage is run twice and the second time counts, with compiled code loaded and files in the page cache.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ariel_lib.calibration.fused import calibrate_visit
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.io.archive import Archive
from ariel_lib.io.light_curves import save_light_curves
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import PlanetFit
from ariel_lib.prediction.answer import answer
from ariel_lib.simulator.dataset import simulate_dataset
from ariel_lib.transit.estimate import estimate_depths

LIMIT_H = 9.0
KAGGLE_CORES = 4
DISK_FACTOR = 1.5  # assumed: reading frames from Kaggle's input mount against this machine's page cache
SLOWER = 1.3  # assumed: a core of Kaggle's against one here
INSTALL_S, WRITE_S, REPORT_S = 60, 60, 60  # assumed: wheels and imports, rewriting the csv every round, the report


def second(work: Callable[[], object]) -> tuple[object, float]:
    """The result and the seconds of the second run."""
    work()
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def measure(archive: Archive, weights: Path, scratch: Path) -> dict[str, float]:
    """Seconds of one core: calibrating a visit, fitting a planet of one visit, answering a planet."""
    planet = archive.planets("train")[0]
    curves, calibrate = second(lambda: calibrate_visit(archive, "train", planet, 0, CalibrationSettings()))
    path = scratch / "curves.safetensors"
    save_light_curves(path, curves)
    star = archive.star("train", planet)
    estimate, fit = second(lambda: estimate_depths([curves], star, archive.wavelengths()))
    checkpoint = Checkpoint.load(weights)
    _, network = second(lambda: answer(PlanetFit(estimate, star, (path,)), checkpoint))
    return {"calibrate a visit": calibrate, "fit a planet": fit, "answer a planet": network}


def print_table(rates: dict[str, float], planets: int, visits: float) -> None:
    pieces = {"calibrate a visit": planets * visits, "fit a planet": planets * (1 + 0.7 * (visits - 1)), "answer a planet": planets}
    factors = {"calibrate a visit": SLOWER * DISK_FACTOR, "fit a planet": SLOWER, "answer a planet": SLOWER}
    print(f"{'stage':20} {'s, one core':>12} {'pieces':>8} {'2 cores here, h':>16} {'Kaggle, h':>10}")
    here = there = 0.0
    for stage, seconds in rates.items():
        cores = (1, 1) if stage == "answer a planet" else (2, KAGGLE_CORES)
        hours = [seconds * pieces[stage] / n * factor / 3600 for n, factor in zip(cores, (1, factors[stage]))]
        here, there = here + hours[0], there + hours[1]
        print(f"{stage:20} {seconds:12.2f} {pieces[stage]:8.0f} {hours[0]:16.2f} {hours[1]:10.2f}")
    fixed = (INSTALL_S + WRITE_S + REPORT_S) / 3600
    print(f"{'install, write, report':20} {'':19} {fixed:16.2f} {fixed:10.2f}")
    total = there + fixed
    print(f"{'total':20} {'':21} {here + fixed:16.2f} {total:10.2f}   of {LIMIT_H:.0f} h, {100 * total / LIMIT_H:.0f} %")
    print(f"Assumed: {visits} visits a planet, {KAGGLE_CORES} cores that each take {SLOWER} times as long as one here,")
    print(f"frames read {DISK_FACTOR} times as slowly, perfect sharing among cores, the network on one core without the GPU.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--planets", type=int, default=1100)
    parser.add_argument("--visits", type=float, default=1.3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data
        if data is None:
            data = Path(scratch) / "data"
            simulate_dataset(data, n_planets=1, n_test=0, seed=0, size="full")
        print_table(measure(Archive(data), options.weights, Path(scratch)), options.planets, options.visits)


if __name__ == "__main__":
    main()
