"""ariel_lib.cli: output, error messages and exit codes of the commands."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from ariel_lib import __version__
from ariel_lib.calibration.visits import Failure
from ariel_lib.cli import app
from ariel_lib.io.layout import Spectra
from ariel_lib.io.submission import write_submission
from ariel_lib.io.writer import write_spectra

COMMANDS = ("simulate", "calibrate", "train", "predict", "corel-train", "check", "score", "report", "test")
COMMANDS += ("diagnose", "ablate", "verify", "freeze", "track")
HEAVY = ("torch", "numpy", "pandas", "hydra", "matplotlib", "rich.progress")


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_sample(folder, submitted=("11", "12")):
    depth = np.random.default_rng(0).uniform(0.005, 0.02, (3, 6))
    write_spectra(folder / "truth.csv", Spectra(("11", "12", "13"), depth))
    n = len(submitted)
    write_submission(
        folder / "submission.csv", submitted, depth[:n] + 1e-5, np.full((n, 6), 2e-5),
        fallback=(depth.mean(axis=0), 0.01),
    )  # fmt: skip
    return ["--truth", folder / "truth.csv", "--submission", folder / "submission.csv"]


def test_help_imports_no_heavy_package():
    check = f"import sys; from ariel_lib import cli; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_an_example(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"Example: spectramind {command}" in result.stdout


def test_version_prints_the_version_only():
    assert invoke("--version").stdout.strip() == __version__


def test_score_prints_json_and_nothing_else(tmp_path):
    result = invoke("score", *write_sample(tmp_path))
    figures = json.loads(result.stdout)
    assert result.exit_code == 0
    assert {"score", "nll", "mae", "rmse_ppm", "coverage_80"} <= set(figures)
    assert (figures["year"], figures["n_planets"], figures["n_not_submitted"]) == (2025, 2, 1)
    assert figures["rmse_ppm"] == pytest.approx(10)


def test_score_by_the_rules_of_2024(tmp_path):
    sample = write_sample(tmp_path)
    old, new = (json.loads(invoke("score", *sample, "--year", year).stdout) for year in (2024, 2025))
    assert old["year"] == 2024 and old["score"] != new["score"]


def test_a_submitted_planet_without_truth_gives_one_line_and_code_2(tmp_path):
    result = invoke("score", *write_sample(tmp_path, ("11", "99")))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1 and "99" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("score", "--truth", "no.csv", "--submission", "no.csv"), "no.csv: expected a submission, found no such file"),
        (("train", "training.batchsize=3"), "Did you mean training.batch_size?"),
        (("train", "--config", "no.yaml"), "no.yaml: no such configuration file"),
        (("calibrate", "--data", "nowhere", "--split", "train", "--out", "x"), "nowhere: expected a data folder"),
        (("report", "--submission", "no.csv", "--out", "x.html"), "no.csv: expected a submission"),
        (("simulate", "--out", "x", "--planets", "2", "--seed", "1", "--test-planets", "5"), "test"),
    ],
)
def test_invalid_input_gives_one_line_and_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("spectramind: ") and result.stderr.count("\n") == 1
    assert message in result.stderr


def test_a_misspelt_option_is_not_parsed_as_an_override():
    result = invoke("train", "--confg", "configs/train.yaml")
    assert result.exit_code == 2 and "--confg" in result.stderr


def test_an_unexpected_error_keeps_its_traceback(tmp_path, monkeypatch):
    from ariel_lib import metrics

    # numpy raises ValueError for the shapes inside a function of the library
    monkeypatch.setattr(metrics, "perfect_sigma", lambda *arguments: np.full(5, 1e-5))
    result = invoke("score", *write_sample(tmp_path))
    assert result.exit_code == 1 and isinstance(result.exception, ValueError)


def test_calibrate_lists_failed_visits_and_exits_with_1(tmp_path, monkeypatch):
    (tmp_path / "train" / "7").mkdir(parents=True)
    (tmp_path / "train" / "7" / "FGS1_signal_0.parquet").touch()
    failed = Failure("7", 1, "truncated")
    report = SimpleNamespace(done=[("7", 0)], skipped=[], failed=[failed])
    engine = SimpleNamespace(calibrate_split=lambda *arguments, **settings: report)
    monkeypatch.setitem(sys.modules, "ariel_lib.calibration.visits", engine)
    result = invoke("calibrate", "--data", tmp_path, "--split", "train", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "done": 1,
        "skipped": 0,
        "failed": [{"planet_id": "7", "visit": 1, "reason": "truncated", "traceback": ""}],
    }


def test_train_writes_its_log_to_stderr(monkeypatch):
    received = {}

    def train(config, *, progress, log):
        received["seed"] = config.training.seed
        progress(1, 2)
        log("epoch 1")
        return {"weights": "w.safetensors", "validation": {"score": 0.5}}

    monkeypatch.setattr("ariel_lib.commands.run_training", train)
    result = invoke("train", "+training.seed=1337")
    assert received == {"seed": 1337}
    assert json.loads(result.stdout)["validation"] == {"score": 0.5}
    assert "epoch 1" in result.stderr


def test_report_writes_a_page(tmp_path):
    result = invoke("report", *write_sample(tmp_path), "--out", tmp_path / "page.html")
    assert result.exit_code == 0
    assert "<html" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_self_test_reports_a_failed_check(monkeypatch):
    from ariel_lib import selftest

    def fail():
        raise selftest.SelfTestError("expected 0, found 1")

    for name in ("imports", "score", "submission", "notebooks"):
        monkeypatch.setattr(selftest, f"check_{name}", lambda: None)
    monkeypatch.setattr(selftest, "check_scan", fail)
    result = invoke("test")
    checks = json.loads(result.stdout)["checks"]
    assert result.exit_code == 1
    assert checks["scan"].startswith("failed") and checks["score"] == "ok"


@pytest.mark.slow
def test_the_deep_self_test_passes():
    result = invoke("test", "--deep")
    assert result.exit_code == 0, result.stderr
    assert 0 <= json.loads(result.stdout)["deep"]["score"] <= 1
