"""Calibration under failures: killed processes, a full disk, damaged files. Other visits are unaffected; a rerun completes the rest."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.visits import calibrate_split
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.light_curves import load_light_curves

SETTINGS = CalibrationSettings()
PATIENCE = 60  # s


@pytest.fixture(scope="module", autouse=True)
def built_in_steps():
    """Registered steps stay in force: workers and commands are processes of their own, which apply them too."""


def copies(data: Path, root: Path, number: int) -> Path:
    """A data set of `number` copies of planet 23."""
    (root / "train").mkdir(parents=True)
    for path in data.glob("*.*"):
        (root / path.name).symlink_to(path)
    for planet in range(number):
        (root / "train" / str(100 + planet)).symlink_to(data / "train" / "23")
    return root


def command(root: Path, out: Path, workers: int = 1) -> list[str]:
    arguments = ["calibrate", "--data", str(root), "--split", "train", "--out", str(out), "--workers", str(workers)]
    return [sys.executable, "-c", "from ariel_lib.cli import app; app()", *arguments]


def results(out: Path) -> list[Path]:
    return sorted((out / "train").glob("*.safetensors"))


def wait_until(true) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children() -> list[int]:
    return [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


def test_all_visits_are_calibrated_although_a_worker_is_killed(data, tmp_path):
    root, killed = copies(data, tmp_path / "data", 6), []

    def kill_one(settled: int, total: int) -> None:
        if settled == 1 and not killed:
            killed.append(children()[0])
            os.kill(killed[0], signal.SIGKILL)

    report = calibrate_split(Dataset(root, "train", light_curves=tmp_path / "out"), SETTINGS, workers=2, progress=kill_one)
    settled = sorted(planet for planet, _ in (*report.done, *report.skipped))  # the worker may have died after it wrote its file
    assert killed and settled == [str(100 + n) for n in range(6)] and not report.failed
    assert len(results(tmp_path / "out")) == 6


def test_a_killed_main_process_leaves_complete_files_and_no_orphans_and_a_rerun_completes_the_rest(data, tmp_path):
    root, out = copies(data, tmp_path / "data", 16), tmp_path / "out"
    main = subprocess.Popen(command(root, out, workers=2), start_new_session=True, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(results(out)) >= 2)
    main.send_signal(signal.SIGKILL)
    main.wait()
    wait_until(lambda: not group_lives(main.pid))
    before = results(out)
    assert 2 <= len(before) < 16
    for path in before:
        load_light_curves(path)
    report = calibrate_split(Dataset(root, "train", light_curves=out), SETTINGS)
    assert len(report.skipped) == len(before) and len(report.done) == 16 - len(before)


def group_lives(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_only_the_visits_without_space_fail(data, tmp_path, small_disk):
    root = copies(data, tmp_path / "data", 8)
    done = subprocess.run(command(root, small_disk), capture_output=True, text=True, check=False)
    outcome = json.loads(done.stdout)
    assert done.returncode == 1 and outcome["done"] == len(results(small_disk)) > 0
    assert len(outcome["failed"]) >= 8 - outcome["done"] > 0
    assert all("No space left" in failure["reason"] for failure in outcome["failed"])
    for path in results(small_disk):
        load_light_curves(path)
    assert not [path for path in (small_disk / "train").iterdir() if path.name.startswith(".")]
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    report = calibrate_split(Dataset(root, "train", light_curves=small_disk), SETTINGS)
    assert not report.failed and len(report.skipped) == outcome["done"] and len(report.done) == 8 - outcome["done"]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def scramble(content: bytes) -> bytes:
    middle = len(content) // 4
    return content[:middle] + bytes(byte ^ 0xA5 for byte in content[middle : middle + 20000]) + content[middle + 20000 :]


def empty(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("ruin", [cut, scramble, empty])
@pytest.mark.parametrize("name", ["AIRS-CH0_signal_0.parquet", "FGS1_signal_0.parquet", "AIRS-CH0_calibration_0/linear_corr.parquet"])
def test_a_damaged_file_fails_its_own_visit_only_and_is_named(data, tmp_path, ruin, name):
    root = copies(data, tmp_path / "data", 1)
    for path in (data / "train" / "23").rglob("*.parquet"):
        copy = root / "train" / "200" / path.relative_to(data / "train" / "23")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(ruin(path.read_bytes()) if str(copy).endswith(name) else path.read_bytes())
    report = calibrate_split(Dataset(root, "train", light_curves=tmp_path / "out"), SETTINGS)
    assert report.done == (("100", 0),)
    assert [(failure.planet_id, failure.visit) for failure in report.failed] == [("200", 0)]
    assert Path(name).name in report.failed[0].reason
    written = json.loads((tmp_path / "out" / "train" / "calibration_report.json").read_text())
    assert written["failed"][0]["reason"] == report.failed[0].reason
