"""docs/first_spectrum.py renders to a notebook that runs from the first cell to the last, with figures and tables in it."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="needs the extra [kernel]")
pytest.importorskip("papermill", reason="needs the extra [kernel]")
ROOT = Path(__file__).parents[1]


def execute(folder, monkeypatch, **parameters):
    """Render and run the notebook in a folder; its outputs, cell by cell, as data by kind."""
    spec = importlib.util.spec_from_file_location("build_kernel", ROOT / "build_kernel.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    notebook, executed = folder / "first_spectrum.ipynb", folder / "executed.ipynb"
    notebook.write_text(builder.render((ROOT / "docs" / "first_spectrum.py").read_text(encoding="utf-8")), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(folder)
    builder.run(notebook, executed, parameters)
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    return [output["data"] for cell in cells for output in cell.get("outputs", ()) if "data" in output]


def assert_shows_everything(outputs):
    assert sum("image/png" in data for data in outputs) == 3  # the spectrum, the fit, the spectrum with the truth
    pages = "".join("".join(data.get("text/html", "")) for data in outputs)
    titles = ("Light curves of planet", "Transit fit of planet", "Spectrum of planet")
    for words in (*titles, "impact_parameter", "<td>split</td><td>test</td>"):
        assert words in pages


def test_the_notebook_runs_on_a_data_set_and_a_model_that_are_given(tiny_run, tmp_path, monkeypatch):
    assert_shows_everything(execute(tmp_path, monkeypatch, data=str(tiny_run.data), weights=str(tiny_run.weights)))
    assert not (tmp_path / "first_spectrum").exists()


@pytest.mark.slow
def test_the_notebook_makes_its_own_data_and_model(tmp_path, monkeypatch):
    assert_shows_everything(execute(tmp_path, monkeypatch))
    assert (tmp_path / "first_spectrum" / "model" / "weights.safetensors").is_file()
