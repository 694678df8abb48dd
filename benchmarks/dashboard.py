"""A dashboard of many planets that went through all commands: light curves simulated, a small training, predicted, drawn. Size and time.

    python benchmarks/dashboard.py --labels train.csv --out build/dashboard --planets 1100
    python benchmarks/dashboard_browser.py build/dashboard/diagnostics/v50_report_v1.html --shots build/dashboard

Most of an hour on one core and 8 GB on disk. What is there already is not made again. Prints what `diagnose` says of the page.
"""

import argparse
import json
from pathlib import Path

from ariel_lib.commands import run_diagnosis, run_prediction, run_training
from ariel_lib.config import load_config
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.submission_record import SubmissionRecord
from ariel_lib.simulator.dataset import simulate_dataset

TRAINING_PLANETS, EPOCHS, SEED = 120, 8, 8


def predict_many(out: Path, n: int, labels: Path | None, workers: int) -> Path:
    """The submission for n simulated planets; what it needs and has not is made."""
    data, model, submission = out / "data", out / "run" / "model", out / "run" / "submission.csv"
    if not (data / "test.csv").is_file():
        simulate_dataset(data, n_planets=TRAINING_PLANETS + n, n_test=n, seed=SEED, labels=labels, level="lightcurves", size="full")
    if not (model / "manifest_train.json").is_file():
        settings = [f"data.root={data}", f"training.out={model}", f"training.epochs={EPOCHS}", f"calibration.workers={workers}"]
        run_training(load_config(None, [*settings, "training.seed=1337"]))
    if not (submission.parent / "manifest_predict.json").is_file():
        run_prediction(Dataset(data), weights=model / "weights.safetensors", out=submission, workers=workers)
    return submission


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, help="Spectra of the planets; default: drawn by the simulator.")
    parser.add_argument("--out", type=Path, default=Path("build/dashboard"))
    parser.add_argument("--planets", type=int, default=1100)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    submission = predict_many(arguments.out, arguments.planets, arguments.labels, arguments.workers)
    record = SubmissionRecord.of(submission)
    result = run_diagnosis(record, record.dataset(), arguments.out / "diagnostics", workers=arguments.workers)
    print(json.dumps({name: result[name] for name in ("html", "planets", "bytes", "seconds", "missing")}, indent=1))


if __name__ == "__main__":
    main()
