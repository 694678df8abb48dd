"""A locale of pure ASCII, folders that are not UTF-8: files name their encoding, results are written, output ends no run."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.io.dataset import Dataset

ROOT = Path(__file__).parents[1]
SOURCES = [*ROOT.glob("*.py"), *(path for name in ("ariel_lib", "benchmarks", "docs", "kernels") for path in (ROOT / name).rglob("*.py"))]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
FOREIGN = os.fsdecode("d\xe9".encode("latin-1"))  # a folder named on a system of another encoding


def calls(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            yield name, texts, {keyword.arg for keyword in node.keywords}, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_every_text_that_is_read_or_written_names_its_encoding():
    without = [
        where
        for path in SOURCES
        for name, texts, keywords, where in calls(path)
        if "encoding" not in keywords
        and (name in ("read_text", "write_text") or (name in ("run", "Popen", "check_output") and "text" in keywords)
             or (name == "open" and any(text in ("r", "w", "a", "x", "rt", "wt") for text in texts)))
    ]  # fmt: skip
    assert not without


def test_text_with_a_path_in_it_is_encoded_by_the_writer_alone():
    """Of what is encoded elsewhere, JSON is ASCII; other text may have a folder's name in it that is not UTF-8."""
    for path in (ROOT / "ariel_lib").rglob("*.py"):
        written = (line for line in path.read_text(encoding="utf-8").splitlines() if "write_atomically(" in line)
        assert not [line for line in written if ".encode(" in line and "json.dumps(" not in line], path


def spectramind(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from ariel_lib.cli import app; app()", *map(str, arguments)]
    return subprocess.run(command, env=os.environ | ASCII | {"PYTHONPATH": str(ROOT)}, capture_output=True, encoding="ascii")


def test_commands_do_their_work_in_a_folder_that_is_not_utf8_with_an_ascii_locale(tmp_path):
    pytest.importorskip("batman", reason="the simulator needs it")
    folder = tmp_path / FOREIGN
    folder.mkdir()
    for command in (
        ["simulate", "--out", folder / "data", "--planets", 2, "--test-planets", 1, "--seed", 1],
        ["calibrate", "--data", folder / "data", "--split", "test", "--out", folder / "curves"],
    ):
        done = spectramind(*command)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] > 0
    assert json.loads((folder / "curves" / "manifest_calibrate.json").read_text(encoding="utf-8"))["artifacts"]
    assert len(Dataset(folder / "data", "test", light_curves=folder / "curves").planets) == 1


def test_an_error_about_a_foreign_folder_is_one_line(tmp_path):
    done = spectramind("calibrate", "--data", tmp_path / FOREIGN, "--split", "test", "--out", tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "\\udce9" in done.stderr


def test_a_planet_whose_name_cannot_be_written_to_a_submission_is_refused(tmp_path):
    (tmp_path / "test" / FOREIGN).mkdir(parents=True)
    (tmp_path / "test" / FOREIGN / "FGS1_signal_0.parquet").touch()
    with pytest.raises(ArchiveError, match="planets named in UTF-8"):
        Dataset(tmp_path, "test").planets  # noqa: B018
