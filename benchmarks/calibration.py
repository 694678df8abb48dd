"""Calibration of one full-size visit: ours, the pure read of the same columns, and the organisers' recipe.

Each runs in processes of its own, in turn, on the same files; in each the visit is done six times (the baseline: once): a
first time, and the median of the later ones, when compiled code is loaded and files are in the page cache.
    python benchmarks/calibration.py [--data DIR] [--rounds 5] [--without-baseline] [--planets 8]
Writes calibration.json, .md and .png under build/bench/. Without --data a full-size planet is simulated first.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from organisers import organisers_light_curve

from ariel_lib.calibration import fused
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.plan import pixels_in_use
from ariel_lib.calibration.visits import calibrate_split
from ariel_lib.execution.worker_process import ENVIRONMENT
from ariel_lib.instrument import AIRS, FGS1
from ariel_lib.io.archive import Archive
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.signal import return_memory

OUT = Path("build/bench")
REPEATS = 6
FIELDS = ("wall_s", "cpu_s", "first_wall_s", "peak_mb", "process_s")


def ours(archive: Archive, planet: str) -> None:
    fused.calibrate_visit(archive, "train", planet, 0, CalibrationSettings())


def read(archive: Archive, planet: str) -> None:
    """The floor: the columns that `ours` reads, by the plainest call there is."""
    for instrument in (FGS1, AIRS):
        path = archive.root / "train" / planet / f"{instrument.name}_signal_0.parquet"
        names = pq.read_schema(path).names
        pq.read_table(path, columns=[names[pixel] for pixel in np.flatnonzero(pixels_in_use(instrument))])


def reader(archive: Archive, planet: str) -> None:
    """The same columns by the reader of `ours`, and nothing done with them."""
    with closing(fused.Reader()) as threads:
        for instrument in (FGS1, AIRS):
            signal = archive.signal("train", planet, 0, instrument)
            for _ in fused.Pixels(signal, instrument, threads):
                pass
            signal.close()


def baseline(archive: Archive, planet: str) -> None:
    for instrument in (FGS1, AIRS):
        organisers_light_curve(archive, "train", planet, 0, instrument)


WAYS = {"ours": ours, "read": read, "reader": reader, "baseline": baseline}


def run_once(way: str, data: str) -> dict[str, float]:
    """In this process: the visit for the first time and, but for the slow baseline, five times more."""
    if way in ("ours", "reader"):
        return_memory()  # as the engine does, and with the memory pool of its workers
    planet = Archive(data).planets("train")[0]
    wall, cpu = [], []
    for _ in range(1 if way == "baseline" else REPEATS):
        before, start = os.times(), time.perf_counter()
        WAYS[way](Archive(data), planet)
        wall.append(time.perf_counter() - start)
        after = os.times()
        cpu.append(after.user + after.system - before.user - before.system)
    later = slice(min(1, len(wall) - 1), None)
    return {"wall_s": statistics.median(wall[later]), "cpu_s": statistics.median(cpu[later]), "first_wall_s": wall[0], "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Of this process alone: getrusage counts what its parent held before it started."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) / 1024


def compare(data: str, rounds: int, ways: list[str]) -> dict[str, dict[str, float]]:
    """Medians over rounds; the baseline takes part in the first round only. process_s: start, first visit, end."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for n in range(rounds):
        for way in ways:
            if way == "baseline" and n > 0:
                continue
            start = time.perf_counter()
            command = [sys.executable, __file__, "--data", data, "--one", way]
            pool = {} if way in ("read", "baseline") else {"ARROW_DEFAULT_MEMORY_POOL": ENVIRONMENT["ARROW_DEFAULT_MEMORY_POOL"]}
            done = subprocess.run(command, check=True, capture_output=True, env=os.environ | pool, encoding="utf-8")
            result = json.loads(done.stdout)
            total = time.perf_counter() - start
            later = result["wall_s"] * (0 if way == "baseline" else REPEATS - 1)
            found[way].append(result | {"process_s": total - later})
    return {way: {key: statistics.median(r[key] for r in results) for key in FIELDS} for way, results in found.items()}


def planets_per_second(data: str, planets: int, workers: int) -> float:
    """Full-size planets (one, under many names), result written, from the first settled on: without the workers' start."""
    settled: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "data"
        copy_planets(data, root, planets)
        calibrate_split(
            Dataset(root, "train", light_curves=Path(scratch) / "out"), CalibrationSettings(), workers=workers,
            progress=lambda *_: settled.append(time.perf_counter()),
        )  # fmt: skip
    settled = settled[workers:]  # the call before the start, and the first of each worker
    return (len(settled) - 1) / (settled[-1] - settled[0])


def copy_planets(data: str, root: Path, planets: int) -> None:
    """The data set at `root` with the planets of `data` again and again, by symbolic links."""
    (root / "train").mkdir(parents=True)
    for path in Path(data).resolve().glob("*.*"):
        (root / path.name).symlink_to(path)
    sources = sorted((Path(data).resolve() / "train").iterdir())
    for number in range(planets):
        (root / "train" / str(1000 + number)).symlink_to(sources[number % len(sources)])


def table(medians: dict[str, dict[str, float]]) -> str:
    lines = ["| way | " + " | ".join(FIELDS) + " |", "|---" * (1 + len(FIELDS)) + "|"]
    lines += [f"| {way} | " + " | ".join(f"{values[key]:.2f}" for key in FIELDS) + " |" for way, values in medians.items()]
    return "\n".join(lines)


def draw(medians: dict[str, dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, key, label in ((axes[0], "wall_s", "wall time, s"), (axes[1], "peak_mb", "peak memory, MB")):
        bars = axis.barh(list(medians), [values[key] for values in medians.values()], color="tab:blue")
        axis.bar_label(bars, fmt="%.3g", padding=2)
        axis.set(xscale="log", xlabel=label)
        axis.margins(x=0.25)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder in Kaggle's layout with a full-size planet in train/")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--planets", type=int, default=8, help="for the throughput of one and two workers; 0: leave it out")
    parser.add_argument("--without-baseline", action="store_true", help="it needs 6 GB of memory and half a minute")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_once(options.one, options.data)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if options.data is None:
            from ariel_lib.simulator.dataset import simulate_dataset

            simulate_dataset(scratch, n_planets=1, n_test=0, seed=1, size="full")
        data = options.data or scratch
        medians = compare(data, options.rounds, [way for way in WAYS if way != "baseline" or not options.without_baseline])
        rates = {workers: planets_per_second(data, options.planets, workers) for workers in (1, 2) if options.planets}
    lines = [table(medians), "", f"ours / read: {medians['ours']['wall_s'] / medians['read']['wall_s']:.2f} in wall time"]
    if "baseline" in medians:
        lines.append(f"baseline / ours: {medians['baseline']['wall_s'] / medians['ours']['wall_s']:.1f} in wall time")
    for workers, rate in rates.items():
        compared = f"{1 / rate:.2f} s a planet, {1 / rate / medians['read']['wall_s']:.2f} times the read"
        lines.append(f"{workers} workers: {rate:.2f} full-size planets a second, results written: {compared}")
    print("\n".join(lines))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "calibration.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    record = {"cores": os.cpu_count(), "rounds": options.rounds, "medians": medians, "planets_per_second": rates}
    (OUT / "calibration.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    draw(medians, OUT / "calibration.png")


if __name__ == "__main__":
    main()
