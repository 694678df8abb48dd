"""Every documented command, verbatim, in a folder prepared like that of `make toy`, has exit code 0.

`predict` stands for the submission notebook of `make toy`. Takes half an hour on one core.
"""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOMINAL = (
    "spectramind train --config configs/train.yaml +model=v50 +data=ariel_nominal +training.seed=1337 +training.batch_size=32 "
    "+training.optimizer=adamw +training.challenge_loss=true +calibration.temperature=true +symbolic.smoothness.weight=0.10 "
    "+symbolic.nonnegativity.weight=0.05 +symbolic.resolution.weight=0.05 +symbolic.lensing_bump.weight=0.05 +uncertainty.corel=false"
)
TOY_DATA = "spectramind simulate --out build/toy/data --planets 32 --test-planets 8 --seed 1"  # as the Makefile has it
DASHBOARD = "spectramind diagnose dashboard --outdir outputs/diagnostics --html outputs/diagnostics/v50_report_v1.html"


def test_the_toy_set_is_that_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)/", "").replace("$(TOY)", "build/toy")
    assert TOY_DATA in makefile


@pytest.mark.slow
def test_documented_commands_succeed(tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")

    def run(command):
        words = [sys.executable, "-c", "from ariel_lib.cli import app; app()", *shlex.split(command)[1:]]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
        return json.loads(done.stdout) if done.stdout.strip() else {}

    run(TOY_DATA)
    run("spectramind train --config configs/toy.yaml")
    run("spectramind predict --data build/toy/data --weights build/toy/model/weights.safetensors --out build/toy/submission.csv")
    assert run("spectramind test --deep")["ok"]
    run("spectramind train --config configs/train.yaml +data.split=toy +training.seed=1337")
    run(f"{NOMINAL} data.root=build/toy/data")
    intervals = run("spectramind corel-train --q 0.80 --outdir outputs/corel")
    held_out = json.loads((tmp_path / "outputs/v50/metrics.json").read_text(encoding="utf-8"))["held_out"]
    assert intervals["planets"] == held_out == 4 and intervals["marginal"]["infinite"] == 1  # too few planets for finite intervals
    assert run(DASHBOARD)["missing"] == {}
    for manifest in ("outputs/v50/manifest_train.json", "outputs/corel/manifest_corel-train.json", "outputs/diagnostics/manifest.json"):
        assert run(f"spectramind verify {manifest}")["changes"] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build", "configs", "outputs"]
