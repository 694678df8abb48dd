"""Calibration of one full-size visit: the kernel, the pure read of the same pixels, and the organisers' recipe.

Each runs in processes of its own, in turn, on the same files; in each the visit is done twice: once for the first time and
the peak memory, once more for the time when compiled code is loaded and files are in the page cache.
    python benchmarks/calibration.py [--data DIR] [--rounds 5] [--without-baseline]
Writes build/bench/calibration.json. Without --data a full-size planet is simulated first (some three minutes, 230 MB).
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from ariel_lib.archive import Archive
from ariel_lib.calibration import fused
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.instrument import AIRS, FGS1, Instrument

OUT = Path("build/bench/calibration.json")


def ours(archive: Archive, planet: str) -> None:
    fused.calibrate_visit(archive, "train", planet, 0, CalibrationSettings())


def read(archive: Archive, planet: str) -> None:
    """The pixels that `ours` reads, and nothing done with them."""
    with ThreadPoolExecutor(1) as reader:
        for instrument in (AIRS, FGS1):
            signal = archive.signal("train", planet, 0, instrument)
            for _ in fused.Pixels(signal, instrument, reader):
                pass
            signal.close()


def baseline(archive: Archive, planet: str) -> None:
    """The organisers' order in NumPy and pandas: whole detector, float64, a polynomial a pixel, plain sums."""
    for instrument in (FGS1, AIRS):
        organisers_sum(archive, planet, instrument)


def organisers_sum(archive: Archive, planet: str, instrument: Instrument) -> np.ndarray:
    folder = archive.root / "train" / planet
    counts = pd.read_parquet(folder / f"{instrument.name}_signal_0.parquet").to_numpy()
    converter = archive.converter("train", planet, instrument)
    maps = archive.calibration_maps("train", planet, 0, instrument)
    _, integration = archive.read_times(instrument, len(counts))
    signal = counts.astype(np.float64).reshape(-1, instrument.rows, instrument.columns)
    signal = signal / converter.gain + converter.offset
    for row, column in itertools.product(range(instrument.rows), range(instrument.columns)):
        signal[:, row, column] = np.poly1d(maps.linearity[::-1, row, column])(signal[:, row, column])
    signal -= maps.dark * integration[:, None, None]
    signal = np.where(maps.dead, np.nan, signal[1::2] - signal[::2])
    signal /= np.where(maps.dead, np.nan, maps.flat)
    return np.nansum(signal, axis=(1, 2) if instrument is FGS1 else 1)


WAYS = {"ours": ours, "read": read, "baseline": baseline}


def run_once(way: str, data: str) -> dict[str, float]:
    """In this process: the visit for the first time and, but for the slow baseline, once more."""
    archive = Archive(data)
    planet = archive.planets("train")[0]
    times, peak = [], 0.0
    for _ in range(1 if way == "baseline" else 2):
        before = os.times()
        WAYS[way](archive, planet)
        after = os.times()
        times.append((after.elapsed - before.elapsed, after.user + after.system - before.user - before.system))
        peak = peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"wall_s": times[-1][0], "cpu_s": times[-1][1], "first_wall_s": times[0][0], "peak_mb": peak}


def compare(data: str, rounds: int, ways: list[str]) -> dict[str, dict[str, float]]:
    """Medians over rounds; the baseline takes part in the first round only."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for n in range(rounds):
        for way in ways:
            if way == "baseline" and n > 0:
                continue
            start = time.perf_counter()
            command = [sys.executable, __file__, "--data", data, "--one", way]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            found[way].append(result | {"process_s": time.perf_counter() - start})
    return {
        way: {key: statistics.median(r[key] for r in results) for key in results[0]} for way, results in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder in Kaggle's layout with a full-size planet in train/")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-baseline", action="store_true", help="it needs 3 GB of memory and 16 s")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_once(options.one, options.data)))
        return
    ways = ["ours", "read"] if options.without_baseline else ["ours", "read", "baseline"]
    with tempfile.TemporaryDirectory() as scratch:
        if options.data is None:
            from ariel_lib.simulator.dataset import simulate_dataset

            simulate_dataset(scratch, n_planets=1, n_test=0, seed=1, size="full")
        medians = compare(options.data or scratch, options.rounds, ways)
    for way, values in medians.items():
        print(f"{way:9}" + "".join(f"  {key} {value:8.2f}" for key, value in values.items()))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"cores": os.cpu_count(), "rounds": options.rounds, "medians": medians}, indent=1))


if __name__ == "__main__":
    main()
