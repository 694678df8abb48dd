"""ariel_lib.ablation: a grid that is killed goes on, and its leaderboard is the ranking of what ran."""

import json
import zipfile

import pandas as pd
import pytest

from ariel_lib import ablation
from ariel_lib.ablation import ablate, load_grid
from ariel_lib.config import ConfigError

GRID = """
out: {out}
base: [data.root={data}]
grid:
  training.batch_size: [8, 16]
  model.operator: [rgcn, gatv2]
"""


@pytest.fixture
def grid(tmp_path):
    (tmp_path / "grid.yaml").write_text(GRID.format(out=tmp_path / "out", data=tmp_path))
    return tmp_path / "grid.yaml"


def invent(point, out, log):
    """A point's run without the training: figures that depend on its settings, files of the names that a run leaves."""
    batch, operator = point.config.training.batch_size, point.config.model.operator
    figures = {
        "validation": 0.5 + (batch == 16) * 0.1, "coverage_gap": 0.05, "runtime_s": 20.0 if operator == "gatv2" else 10.0,
        "violations": 0.0, "z_error": 0.1, "mae": 1e-4,
    }  # fmt: skip
    point.folder.mkdir(parents=True, exist_ok=True)
    for name in ablation.BUNDLED:
        (point.folder / name).write_text("{}")
    text = {"config_hash": ablation.config_hash(point.config), "figures": figures}
    (point.folder / ablation.RESULT).write_text(json.dumps(text))
    return figures


def test_the_grid_is_the_product_and_every_point_has_its_folder(grid):
    points, _, _ = load_grid(grid, ["training.seed=7"])
    assert [point.name for point in points][:2] == [
        "training.batch_size=8 model.operator=rgcn", "training.batch_size=8 model.operator=gatv2"
    ]  # fmt: skip
    assert len({point.folder for point in points}) == 4 and {point.config.training.seed for point in points} == {7}


def test_a_killed_grid_runs_only_what_is_left(grid, monkeypatch):
    ran = []

    def run(point, out, log, die_after=2):
        if len(ran) == die_after:
            raise KeyboardInterrupt
        ran.append(point.name)
        return invent(point, out, log)

    monkeypatch.setattr(ablation, "run_point", run)
    with pytest.raises(KeyboardInterrupt):
        ablate(grid, log=str)
    monkeypatch.setattr(ablation, "run_point", lambda *a: run(*a, die_after=99))
    result = ablate(grid, log=str)
    assert (result["ran"], result["kept"]) == (2, 2) and len(set(ran)) == len(ran) == 4
    assert ablate(grid, log=str)["ran"] == 0
    assert ablate(grid, ["training.seed=9"], log=str)["ran"] == 4  # another configuration: nothing of the old is kept


def test_leaderboard_and_bundle(grid, monkeypatch):
    monkeypatch.setattr(ablation, "run_point", invent)
    result, out = ablate(grid, log=str), grid.parent / "out"
    assert result["winner"] == "training.batch_size=16 model.operator=rgcn"
    table = pd.read_csv(out / "leaderboard.csv")
    # by hand: weights without public 25/60, 10/60, 15/60, 10/60; all gaps and violations alike
    assert table["composite"].tolist() == pytest.approx([1.0, 45 / 60, 35 / 60, 20 / 60])
    assert "No public score" in (out / "leaderboard.md").read_text() and "No public score" in (out / "leaderboard.html").read_text()
    with zipfile.ZipFile(result["bundle"]) as bundle:
        assert {"weights.safetensors", "manifest_train.json", "leaderboard.csv", "ablation.yaml"} <= set(bundle.namelist())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grid: {training.batchsize: [1]}", "Did you mean training.batch_size"),
        ("grid: {training.batch_size: 1}", "expected a list"),
        ("gird: {}", "expected the keys"),
        ("grid: {training.batch_size: [1]}\npublic: {nobody: 0.5}", "no such point"),
    ],
)
def test_a_wrong_grid_is_refused_before_anything_runs(tmp_path, text, said):
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_grid(tmp_path / "grid.yaml")
