"""dvc.yaml: every stage is a command of the project, and `dvc repro` runs it once, offline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from ariel_lib.cli import app

ROOT = Path(__file__).parents[1]
PROGRAM = f"#!{sys.executable}\nfrom ariel_lib.cli import app\n\nif __name__ == '__main__':  # its workers are spawned\n    app()\n"


def stages():
    found = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("do", stage) for name, stage in found.items()}


def test_every_stage_is_a_command_with_options_that_exist():
    root = typer.main.get_command(app)
    assert list(stages()) == ["simulate", "calibrate", "train", "predict", "score"]
    for stage in stages().values():
        program, command, *words = stage["cmd"].split()
        options = {option for parameter in root.commands[command].params for option in parameter.opts}
        assert program == "spectramind" and {word for word in words if word.startswith("--")} <= options


def test_what_a_stage_reads_another_makes_or_the_repository_holds():
    outs = [out for stage in stages().values() for out in [*stage.get("outs", ()), *stage.get("metrics", ())]]
    made = [out if isinstance(out, str) else next(iter(out)) for out in outs]
    made = [path.replace("${item}", item) for path in made for item in ("train", "test")]
    for stage in stages().values():
        for path in stage.get("deps", ()):
            assert any(path.startswith(out) for out in made) or (ROOT / path).exists(), path


@pytest.mark.slow
def test_repro_works_offline_and_does_nothing_twice(tmp_path):
    dvc = os.environ.get("SPECTRAMIND_DVC") or shutil.which("dvc")
    if dvc is None:
        pytest.skip("needs the extra [dvc]")
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    small = text.replace("planets: 30", "planets: 10").replace("test_planets: 6", "test_planets: 2").replace("epochs: 3", "epochs: 1")
    assert small != text
    (tmp_path / "dvc.yaml").write_text(small)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "spectramind").write_text(PROGRAM)
    (tmp_path / "bin" / "spectramind").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "true"}
    for name in ("http_proxy", "https_proxy"):  # whoever asks the network is told no
        environment |= {name: "http://127.0.0.1:9", name.upper(): "http://127.0.0.1:9"}

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("git", "init", "-q")
    run(dvc, "init", "-q")
    assert "Running stage 'train'" in run(dvc, "repro")
    assert 0 <= json.loads((tmp_path / "build" / "dvc" / "score.json").read_text())["score"] <= 1
    assert "Running stage" not in run(dvc, "repro")
    run(dvc, "remote", "add", "-q", "-d", "local", str(tmp_path / "remote"))
    run(dvc, "push", "-q")
    for made in (".dvc/cache", "build"):
        shutil.rmtree(tmp_path / made)
    run(dvc, "pull", "-q")
    assert "Running stage 'train'" not in run(dvc, "repro")  # only the score, which is small and not kept there
    assert (tmp_path / "build" / "dvc" / "score.json").is_file()
    (tmp_path / "configs" / "toy.yaml").write_text((ROOT / "configs" / "toy.yaml").read_text() + "# another\n")
    again = run(dvc, "repro")
    assert "Running stage 'train'" in again and "Running stage 'simulate'" not in again
