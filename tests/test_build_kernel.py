"""build_kernel.py: notebooks that are the same bytes every time, and parameters that exist."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ariel_lib.execution.time_budget import Budget
from ariel_lib.prediction.predict import NothingPredictedError, require_predicted

pytest.importorskip("jupytext")
ROOT = Path(__file__).parents[1]
SOURCE = (
    '# %% [markdown]\n# # Title\n\n# %% tags=["parameters"]\nplanets = 3\nout = "here"\n\n# %%\nprint(planets, out)\n'
)


def load_builder():
    spec = importlib.util.spec_from_file_location("build_kernel", ROOT / "build_kernel.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


builder = load_builder()


def write_notebook(folder, source=SOURCE):
    path = folder / "sample.ipynb"
    path.write_text(builder.render(source), encoding="utf-8")
    return path


def test_two_builds_in_two_processes_are_the_same_bytes(tmp_path):
    for name, seed in (("one", "1"), ("two", "2")):
        command = [sys.executable, str(ROOT / "build_kernel.py"), "--out", str(tmp_path / name)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": "C"})
    built = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert built == ["manifest.json", "submission.ipynb", "toy.ipynb", "train.ipynb"]
    for name in built:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_cells_are_clean_and_their_ids_differ_even_for_equal_text():
    notebook = json.loads(builder.render("# %%\n1\n\n# %%\n1\n"))
    first, second = notebook["cells"]
    assert first["id"] != second["id"]
    assert first["outputs"] == [] and first["execution_count"] is None and first["metadata"] == {}


def test_an_id_changes_only_with_its_own_cell():
    before = json.loads(builder.render(SOURCE))["cells"]
    after = json.loads(builder.render(SOURCE.replace("print(planets, out)", "print(out)")))["cells"]
    assert [a["id"] == b["id"] for a, b in zip(before, after, strict=True)] == [True, True, False]


@pytest.mark.parametrize("name", ["submission", "toy", "train"])
def test_each_kernel_has_one_parameters_cell_and_holds_no_logic(name):
    source = (ROOT / "kernels" / f"{name}.py").read_text(encoding="utf-8")
    assert source.count('tags=["parameters"]') == source.count('tags=["install"]') == 1
    # the library is not there yet when it is installed, so that cell alone must find its way
    before, install, after = re.split(r'# %% tags=\["install"\]|(?<=invalidate_caches\(\))', source)
    assert len(install.splitlines()) < 18
    source = before + after
    assert not [line for line in source.splitlines() if line.startswith(("def ", "class ", "for ", "while ", "if "))]


def test_the_card_names_the_built_notebook_and_no_internet():
    card = json.loads((ROOT / "kernel-metadata.json").read_text(encoding="utf-8"))
    assert card["enable_internet"] is False
    assert card["code_file"] == "build/kernel/submission.ipynb"
    assert card["id"].partition("/")[2] == card["title"].lower().replace(" ", "-")


@pytest.mark.parametrize("name", ["submission", "toy", "train"])
def test_the_kernels_name_their_inputs_as_kaggle_toml_does(name):
    source = (ROOT / "kernels" / f"{name}.py").read_text(encoding="utf-8")
    assert builder.with_names(source, builder.kaggle_names()) == source  # the committed kernels are in step
    names = {"competition": "other-2027", "datasets": {"wheels": "Mes roues à moi", "weights": "Poids d'été"}}
    changed = builder.with_names(source, names)
    assert 'wheels_set = "mes-roues-a-moi"' in changed
    assert ('competition = "other-2027"' in changed) == (name != "toy")
    assert ('weights_set = "poids-d-ete"' in changed) == (name == "submission")


@pytest.mark.parametrize("name", ["submission", "toy", "train"])
def test_of_several_sets_of_wheels_the_named_one_is_installed_and_a_tie_refused(name, tmp_path, monkeypatch):
    source = (ROOT / "kernels" / f"{name}.py").read_text(encoding="utf-8")
    cell = re.search(r'# %% tags=\["install"\]\n(.*?)\n# %%', source, re.S)[1]
    installed = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: installed.append(command[command.index("--find-links") + 1]))
    for folder in ("a", "datasets/me/mine"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "spectramind-wheels.json").touch()
    exec(cell, {"inputs": tmp_path, "wheels_set": "mine"})
    assert installed == [tmp_path / "datasets/me/mine"]
    with pytest.raises(SystemExit, match="expected one data set of wheels"):
        exec(cell, {"inputs": tmp_path, "wheels_set": "spectramind-wheels"})
    assert len(installed) == 1


def test_a_folder_that_cannot_be_written_is_one_line(capsys):
    assert builder.main(["--out", f"{os.devnull}/kernel"]) == 2
    assert capsys.readouterr().err.startswith("build_kernel.py: ")


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path):
    executed = tmp_path / "executed.ipynb"
    with pytest.raises(builder.KernelError, match="no parameter planet; it has out, planets"):
        builder.run(write_notebook(tmp_path), executed, {"planet": 4})
    assert not executed.exists()


def test_a_notebook_runs_with_its_parameters_in_this_interpreter(tmp_path):
    pytest.importorskip("papermill")
    notebook = write_notebook(tmp_path, SOURCE + "\n# %%\nimport sys\nprint(sys.executable)\n")
    builder.run(notebook, tmp_path / "executed.ipynb", {"planets": 4})
    cells = json.loads((tmp_path / "executed.ipynb").read_text(encoding="utf-8"))["cells"]
    printed = ["".join(output["text"]) for cell in cells for output in cell.get("outputs", ()) if "text" in output]
    assert printed[0] == "4 here\n"
    assert Path(printed[1].strip()).resolve() == Path(sys.executable).resolve()


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("0.5", 0.5), ("None", None), ("a/b.csv", "a/b.csv"), ("'7'", "7")]
)
def test_parameters_are_literals_or_text(text, value):
    assert builder.parse_parameters([f"name={text}"]) == {"name": value}


def test_a_parameter_without_a_value_is_refused():
    with pytest.raises(builder.KernelError, match="NAME=VALUE"):
        builder.parse_parameters(["name"])


def test_the_submission_kernel_ends_with_an_error_where_every_planet_has_the_training_mean(tmp_path):
    last = (ROOT / "kernels" / "submission.py").read_text().split("\n# %%\n")[-1]
    budget, absent = Budget(None), tmp_path / "no.csv"
    names = {"budget": budget, "out": absent, "report": absent, "truth": None, "dataset": SimpleNamespace(wavelengths=None)}
    names |= {"report_from_artifacts": lambda *paths, **settings: None, "require_predicted": require_predicted}
    names |= {"remove_scratch": lambda out: None}
    exec(last, names | {"result": {"planets": 2, "fallbacks": {"7": "damaged"}}})
    with pytest.raises(NothingPredictedError, match="all 2 have the training mean, the first, 7, since: damaged"):
        exec(last, names | {"result": {"planets": 2, "fallbacks": {"7": "damaged", "8": "late"}}})
