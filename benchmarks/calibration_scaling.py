"""Does the rate stay flat? Toy planets through one and two workers, in sets of 8, 32 and 128.

    python benchmarks/calibration_scaling.py [--data DIR] [--sizes 8 32 128] [--rounds 1]
Rates are planets a second from the first one settled by each worker on, and over the whole call, start of the workers
included; medians over rounds, of which a small set has more. Writes calibration_scaling.json and .md under build/bench/.
Without --data, 8 toy planets are simulated; larger sets hold them again under other names.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from calibration import OUT, copy_planets

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.visits import calibrate_split
from ariel_lib.io.dataset import Dataset

PLANETS = 8
LEAST = 32  # planets that each row of the table is measured on: a small set is calibrated several times


def rates(data: str, planets: int, workers: int) -> tuple[float, float]:
    """Visits a second: once the workers have settled one each, and over all."""
    settled: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "data"
        copy_planets(data, root, planets)
        start = time.perf_counter()
        calibrate_split(
            Dataset(root, "train", light_curves=Path(scratch) / "out"), CalibrationSettings(), workers=workers,
            progress=lambda *_: settled.append(time.perf_counter()),
        )  # fmt: skip
        whole = (len(settled) - 1) / (time.perf_counter() - start)
    later = settled[workers:]
    return (len(later) - 1) / (later[-1] - later[0]), whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder in Kaggle's layout with toy planets in train/")
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if options.data is None:
            from ariel_lib.simulator.dataset import simulate_dataset

            simulate_dataset(scratch, n_planets=PLANETS, n_test=0, seed=1, size="toy")
        found = []
        for workers in (1, 2):
            for size in options.sizes:
                rounds = max(options.rounds, LEAST // size)
                runs = [rates(options.data or scratch, size, workers) for _ in range(rounds)]
                steady, whole = (statistics.median(values) for values in zip(*runs))
                found.append({"workers": workers, "planets": size, "visits_per_s": steady, "with_start": whole})
    lines = ["| workers | planets | visits a second | start of the workers included |", "|---|---|---|---|"]
    lines += [f"| {r['workers']} | {r['planets']} | {r['visits_per_s']:.2f} | {r['with_start']:.2f} |" for r in found]
    print("\n".join(lines))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "calibration_scaling.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (OUT / "calibration_scaling.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
