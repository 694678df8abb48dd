"""Self-test of an installation, `spectramind test`: quick checks, and with --deep the pipeline on a small simulated data set."""

import importlib
import importlib.util
import pkgutil
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np

import ariel_lib
from ariel_lib.errors import SpectraMindError

DEEP_PLANETS, DEEP_TEST_PLANETS, DEEP_EPOCHS, DEEP_BIN_WIDTH = 8, 2, 2, 20
OPTIONAL = {"ariel_lib.server": ("fastapi", "gui")}  # packages of the library: what they cannot be imported without, and its extra


class SelfTestError(SpectraMindError):
    """A failed check of the installation; the message contains the expected and the found value."""


def run_checks(*, deep: bool = False, log: Callable[[str], None] = print) -> dict:
    """Run every check, also after a failed one, and log the result of each.

    deep  also run the pipeline on a small simulated data set, if the quick checks pass; raises SelfTestError where it fails

    Returns versions, checks (name → 'ok' or the reason of the failure), ok and, if deep, the result of evaluate_submission.
    """
    checks = {
        "imports": check_imports,
        "scan": check_scan,
        "score": check_score,
        "submission": check_submission,
        "notebooks": check_notebooks,
    }
    outcome = {}
    for name, check in checks.items():
        started = time.perf_counter()
        try:
            outcome[name] = check() or "ok"
        except (ImportError, ValueError, ArithmeticError, RuntimeError, OSError) as error:
            outcome[name] = f"failed: {type(error).__name__}: {error}"
        log(f"{name}: {outcome[name]} ({time.perf_counter() - started:.1f} s)")
    result = {
        "versions": versions(),
        "checks": outcome,
        "ok": not any(text.startswith("failed") for text in outcome.values()),
    }
    if deep and result["ok"]:
        result["deep"] = run_pipeline(log=log)
    return result


def versions() -> dict[str, str]:
    """Versions of Python and of the required packages; 'missing' for a package that is not installed."""
    found = {"python": platform.python_version(), "spectramind": ariel_lib.__version__}
    for requirement in metadata.requires("spectramind") or ():
        name = re.match(r"[\w.-]+", requirement).group()
        if "extra ==" not in requirement:
            found[name] = _version(name)
    return found


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "missing"


def check_imports() -> str | None:
    """Import every module of the library except packages whose optional dependencies are not installed."""
    skipped = {package: extra for package, (needs, extra) in OPTIONAL.items() if importlib.util.find_spec(needs) is None}
    for module in pkgutil.walk_packages(ariel_lib.__path__, "ariel_lib."):
        if not module.name.startswith(tuple(skipped)):
            importlib.import_module(module.name)
    hints = [f"without {package}: pip install 'spectramind[{extra}]' adds what it needs" for package, extra in skipped.items()]
    return ", ".join(["ok", *hints]) if hints else None


def check_scan() -> None:
    """Check that the chunked state-space scan equals the sequential recurrence."""
    import torch

    from ariel_lib.models.ssm import scan_chunked, scan_sequential

    random = torch.Generator().manual_seed(0)
    x, dt = torch.randn(2, 150, 2, 4, generator=random), torch.rand(2, 150, 2, generator=random)
    B, C = torch.randn(2, 150, 8, generator=random), torch.randn(2, 150, 8, generator=random)
    A = -torch.rand(2, generator=random)
    slow, fast = scan_sequential(x, dt, A, B, C), scan_chunked(x, dt, A, B, C)
    _expect(
        "largest relative difference of the two scans", float((slow - fast).abs().max() / slow.abs().max()), 0, 1e-5
    )


def check_score() -> None:
    """Check that the naive answer scores 0, the truth 1, and the truth for half of the planets with the naive answer for the others 0.5."""
    from ariel_lib.metrics import naive_statistics, perfect_sigma, score

    truth = np.random.default_rng(0).uniform(0.001, 0.03, (20, 283))
    naive_mean, naive_sigma = naive_statistics(truth)
    naive = {"naive_mean": naive_mean, "naive_sigma": naive_sigma}
    best = np.broadcast_to(perfect_sigma(283), truth.shape)
    guess_mean, guess_sigma = np.full_like(truth, naive_mean), np.full_like(truth, naive_sigma)
    half = np.arange(20)[:, None] < 10
    _expect("score of the naive answer", score(truth, guess_mean, guess_sigma, **naive), 0, 1e-9)
    _expect("score of the truth", score(truth, truth, best, **naive), 1, 1e-9)
    mixed = score(truth, np.where(half, truth, guess_mean), np.where(half, best, guess_sigma), **naive)
    _expect("score with half of the planets perfect", mixed, 0.5, 1e-9)


def check_submission() -> None:
    """Check that a submission is read back exactly as it was written."""
    from ariel_lib.io.submission import read_submission, validate_submission, write_submission

    mean = np.random.default_rng(1).uniform(0.001, 0.03, (1, 283))
    fallback = np.full(283, 0.0147)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "submission.csv"
        order = ("1",)
        write_submission(path, order, mean, 0.01 * mean, fallback=(fallback, 0.01), order=order)
        validate_submission(path)
        planet_ids, read_mean, _ = read_submission(path)
    if planet_ids != order or not np.array_equal(read_mean, mean):
        raise SelfTestError("expected the submission as it was written, found other values")


def check_notebooks() -> str | None:
    """Check that the Kaggle kernels can be converted to notebooks; skipped without a checkout or the extra [kernel]."""
    builder = Path(__file__).parents[1] / "build_kernel.py"
    if not builder.is_file():
        return "skipped: no checkout, so no kernels to render"
    if importlib.util.find_spec("jupytext") is None:
        return "skipped: needs pip install 'spectramind[kernel]'"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(builder), "--out", folder]
        done = subprocess.run(command, capture_output=True, check=False, encoding="utf-8", errors="replace")
    if done.returncode:
        raise SelfTestError(f"{builder.name} ended with {done.returncode}: {done.stderr.strip()}")
    return None


def run_pipeline(*, log: Callable[[str], None] = print) -> dict[str, float]:
    """Simulate, calibrate, train, predict and score in a temporary folder. Returns the result of evaluate_submission."""
    from ariel_lib.calibration.pipeline import CalibrationSettings
    from ariel_lib.calibration.visits import calibrate_split
    from ariel_lib.config import Config, DataConfig, ModelConfig, TrainingConfig
    from ariel_lib.evaluation.score import evaluate_submission
    from ariel_lib.io.dataset import Dataset
    from ariel_lib.prediction.predict import predict
    from ariel_lib.simulator.dataset import simulate_dataset
    from ariel_lib.training.examples import training_set
    from ariel_lib.training.loop import train

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data, curves, out = folder / "data", folder / "light_curves", folder / "submission.csv"
        log(f"deep: simulating {DEEP_PLANETS} planets")
        simulate_dataset(data, n_planets=DEEP_PLANETS, n_test=DEEP_TEST_PLANETS, seed=0, size="toy")
        log("deep: calibrating")
        for split in ("train", "test"):
            report = calibrate_split(Dataset(data, split, light_curves=curves), CalibrationSettings(), workers=2)
            if report.failed:
                raise SelfTestError(f"calibration failed for {report.failed}")
        log("deep: training")
        config = Config(
            data=DataConfig(root=str(data), light_curves=str(curves)),
            model=ModelConfig(bin_width=DEEP_BIN_WIDTH),
            training=TrainingConfig(epochs=DEEP_EPOCHS, out=str(folder / "model")),
        )
        weights = train(training_set(config), config, log=log)["weights"]
        log("deep: predicting")
        predict(Dataset(data, light_curves=curves), weights=weights, out=out)
        return evaluate_submission(out, data / "test.csv", train_labels=data / "train.csv")


def _expect(name: str, found: float, expected: float, tolerance: float) -> None:
    if not abs(found - expected) <= tolerance:
        raise SelfTestError(f"{name}: expected {expected} within {tolerance}, found {found}")
