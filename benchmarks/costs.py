"""What V50 costs on this machine: an epoch of training, and answers for 1100 planets from calibrated light curves.

    python benchmarks/costs.py train  --data DIR [--epochs 2] [KEY=VALUE …]
    python benchmarks/costs.py answer --data DIR --weights FILE [--workers 2 --scale-to 1100]

train   two epochs after the fits, which are kept under --out for the next run: seconds an epoch, planets a second, peak memory
answer  `spectramind predict` of the test planets from their light curves, fits included, nothing kept: seconds, and what
        another number of planets would take: the start once, the rest in proportion
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from ariel_lib.config import load_config
from ariel_lib.io.dataset import Dataset
from ariel_lib.prediction.predict import predict
from ariel_lib.training.examples import training_set
from ariel_lib.training.loop import train


def cost_training(options: argparse.Namespace) -> dict:
    """Time between the log lines of two epochs; memory is the whole process's, the planets' light curves among it."""
    stamps = []

    def log(line: str) -> None:
        if line.startswith("epoch "):
            stamps.append(time.monotonic())

    settings = [f"data.root={options.data}", f"training.out={options.out}", *options.overrides, f"training.epochs={options.epochs}"]
    began = time.monotonic()
    config = load_config(None, settings)
    result = train(training_set(config), config, log=log)
    epoch = (stamps[-1] - stamps[0]) / (len(stamps) - 1)
    trained = result["planets"] - result["choosing"] - result["held_out"]
    return {
        "training_planets": trained, "before_the_first_epoch_s": round(stamps[0] - began, 1), "epoch_s": round(epoch, 1),
        "planets_a_second": round(trained / epoch, 1), "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "parameters": result["parameters"],
    }  # fmt: skip


def cost_answers(options: argparse.Namespace) -> dict:
    """The clock of predict, and when its first planet was answered."""
    stamps = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        told = predict(
            Dataset(options.data), weights=options.weights, out=Path(folder) / "submission.csv", workers=options.workers,
            progress=lambda done, of: stamps.append((done, time.monotonic() - began)),
        )  # fmt: skip
    total, (first, start) = time.monotonic() - began, stamps[0]
    rate = (total - start) / (told["planets"] - first)
    return {
        "planets": told["planets"], "without_answer": len(told["fallbacks"]), "workers": options.workers, "seconds": round(total, 1),
        "until_the_first_s": round(start, 1), "planet_s": round(rate, 3),
        f"minutes_for_{options.scale_to}": round((start + rate * (options.scale_to - first)) / 60, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "answer"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/costs"))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scale-to", type=int, default=1100)
    parser.add_argument("overrides", nargs="*", help="settings of the training, as for spectramind train")
    options = parser.parse_args()
    if options.what == "answer" and options.weights is None:
        parser.error("answer needs --weights FILE")
    print(json.dumps(cost_training(options) if options.what == "train" else cost_answers(options), indent=1))


if __name__ == "__main__":
    main()
