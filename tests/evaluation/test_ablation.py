"""evaluation.ablation: an interrupted grid is resumed, and its leaderboard ranks the points that ran."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from ariel_lib.commands import run_ablation as ablate
from ariel_lib.config import ConfigError, load_config
from ariel_lib.errors import ArchiveError
from ariel_lib.evaluation import ablation
from ariel_lib.evaluation.ablation import load_grid
from ariel_lib.evaluation.leaderboard import ranked
from ariel_lib.evaluation.score import evaluate_submission
from ariel_lib.io.dataset import Dataset
from ariel_lib.pipeline.planet_fits import PlanetFit, PlanetFits
from ariel_lib.prediction.predict import predict
from ariel_lib.provenance.record import verify_run

ROOT = Path(__file__).parents[2]

GRID = """
out: {out}
base: [data.root={data}]
grid:
  training.batch_size: [8, 16]
  model.operator: [rgcn, gatv2]
"""


@pytest.fixture
def grid(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("planet_id,wl_1,wl_2\n1,0.01,0.01\n")
    (tmp_path / "data" / "wavelengths.csv").write_text("wl_1,wl_2\n0.7,2.0\n")
    (tmp_path / "data" / "sample_submission.csv").write_text("planet_id,wl_1,wl_2,sigma_1,sigma_2\n7,0.01,0.01,0.01,0.01\n")
    (tmp_path / "grid.yaml").write_text(GRID.format(out=tmp_path / "out", data=tmp_path / "data"))
    monkeypatch.setattr(ablation, "_fit", lambda *arguments: fits_of("light curves"))
    return tmp_path / "grid.yaml"


def fits_of(source):
    return PlanetFits({"1": PlanetFit(None, None, (), source)}, {})


def invent_figures(point, train=None):
    """In place of run_point: figures that depend on the settings, and files with the names that a run leaves."""
    batch, operator = point.config.training.batch_size, point.config.model.operator
    figures = {
        "validation": 0.5 + (batch == 16) * 0.1, "coverage_gap": 0.05, "runtime_s": 20.0 if operator == "gatv2" else 10.0,
        "violations": 0.0, "z_error": 0.1, "mae": 1e-4,
    }  # fmt: skip
    point.folder.mkdir(parents=True, exist_ok=True)
    for name in ablation.BUNDLED:
        (point.folder / name).write_text("{}")
    text = {"config_hash": ablation.config_hash(point.config), "data": point.data, "figures": figures}
    (point.folder / ablation.RESULT).write_text(json.dumps(text))


def test_the_grid_is_a_product_and_every_point_has_a_folder(grid):
    points, _, _ = load_grid(grid, ["training.seed=7"])
    assert [point.name for point in points][:2] == [
        "training.batch_size=8 model.operator=rgcn", "training.batch_size=8 model.operator=gatv2"
    ]  # fmt: skip
    assert len({point.folder for point in points}) == 4 and {point.config.training.seed for point in points} == {7}


def test_an_interrupted_grid_runs_only_the_unfinished_points(grid, monkeypatch):
    ran = []

    def run(point, die_after=2, train=None):
        if len(ran) == die_after:
            raise KeyboardInterrupt
        ran.append(point.name)
        invent_figures(point)

    monkeypatch.setattr(ablation, "run_point", run)
    with pytest.raises(KeyboardInterrupt):
        ablate(grid, log=str)
    monkeypatch.setattr(ablation, "run_point", lambda point, train: run(point, die_after=99))
    result = ablate(grid, log=str)
    assert (result["ran"], result["kept"]) == (2, 2) and len(set(ran)) == len(ran) == 4
    assert ablate(grid, log=str)["ran"] == 0
    assert ablate(grid, ["training.seed=9"], log=str)["ran"] == 4  # another configuration
    (grid.parent / "data" / "train.csv").write_text("planet_id,wl_1,wl_2\n1,0.02,0.01\n")
    assert ablate(grid, log=str)["ran"] == 4  # other labels
    assert ablate(grid, log=str)["ran"] == 0
    monkeypatch.setattr(ablation, "_fit", lambda *arguments: fits_of("other light curves, of the same names and sizes"))
    assert ablate(grid, log=str)["ran"] == 4
    monkeypatch.setattr(ablation, "_device", lambda wanted: "cuda")
    assert ablate(grid, log=str)["ran"] == 4  # another bin_width, where that is automatic


def test_initial_weights_trained_again_make_the_points_outdated(grid, monkeypatch):
    weights = grid.parent / "initial.safetensors"
    weights.write_bytes(b"one")
    monkeypatch.setattr(ablation, "run_point", invent_figures)
    assert [ablate(grid, [f"training.initial_weights={weights}"], log=str)["ran"] for _ in range(2)] == [4, 0]
    weights.write_bytes(b"two")
    assert ablate(grid, [f"training.initial_weights={weights}"], log=str)["ran"] == 4


def test_a_failed_point_is_listed_and_run_again(grid, monkeypatch):
    def run(point, train=None):
        if point.name.endswith("batch_size=8 model.operator=gatv2"):
            raise ValueError("no")
        invent_figures(point)

    monkeypatch.setattr(ablation, "run_point", run)
    result, out = ablate(grid, log=str), grid.parent / "out"
    assert list(result["failed"].values()) == ["ValueError: no"] and len(pd.read_csv(out / "leaderboard.csv")) == 3
    assert all("ValueError: no" in (out / f"leaderboard.{kind}").read_text() for kind in ("md", "html"))
    monkeypatch.setattr(ablation, "run_point", invent_figures)
    assert ablate(grid, log=str)["ran"] == 1


def test_points_of_several_grids_are_joined_without_duplicates(tmp_path):
    (tmp_path / "grid.yaml").write_text("grid: [{training.seed: [0, 1], model.ssm_depth: [1, 2]}, {training.seed: [0, 7]}]")
    found = [(p.config.training.seed, p.config.model.ssm_depth) for p in load_grid(tmp_path / "grid.yaml")[0]]
    assert found == [(0, 1), (0, 2), (1, 1), (1, 2), (7, 2)]  # the second grid's seed 0 has the default depth 2


def test_ranking_figures_use_the_cross_fitted_sigmas_of_corel():
    own = {"score": 0.5, "coverage_80": 0.7, "z_rms": 1.2, "mae": 1e-4}
    corel = {"score": {"corel": 0.4}, "statistics": {"corel": {"coverage_80": 0.81, "z_rms": 0.9}}}
    plain, with_corel = (ablation.ranking_figures({"validation": {"v50": own}} | extra) for extra in ({}, {"corel": corel}))
    assert plain == pytest.approx({"validation": 0.5, "coverage_gap": 0.1, "z_error": 0.2, "mae": 1e-4})
    assert with_corel == pytest.approx({"validation": 0.4, "coverage_gap": 0.01, "z_error": 0.1, "mae": 1e-4})


SMALL = ["model.d_model=16", "model.d_state=4", "model.hidden=8", "model.gnn_layers=1", "training.epochs=1", "training.batch_size=128"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_four_points_killed_after_two_are_resumed(tmp_path, workers):
    from ariel_lib.simulator import dataset
    dataset.simulate_dataset(tmp_path / "data", n_planets=12, n_test=2, seed=5, size="toy", level="lightcurves")
    text = f"out: {tmp_path / 'out'}\ngrid: {{model.ssm_depth: [1, 2], symbolic.smoothness.weight: [0.0, 0.1]}}"
    (tmp_path / "grid.yaml").write_text(text)
    command = [sys.executable, "-c", "from ariel_lib.cli import app; app()", "ablate", "--config", str(tmp_path / "grid.yaml")]
    command += [f"data.root={tmp_path / 'data'}", "--workers", str(workers), *SMALL]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def done():
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("points/*/point.json")}

    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while len(done()) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    before = done()
    assert process.returncode == -signal.SIGKILL and 2 <= len(before) < 4
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout)
    assert (result["kept"], result["ran"], result["failed"]) == (len(before), 4 - len(before), {})
    assert before.items() <= done().items()
    figures = {found["point"]: found["figures"] for found in (json.loads(path.read_text()) for path in done())}
    table = pd.read_csv(result["leaderboard"])
    order = ranked([figures[name] for name in sorted(figures)])
    assert table["point"].tolist() == [sorted(figures)[n] for n, _ in order] and result["winner"] == table["point"][0]
    assert (table["validation"] > 0).all() and (table["runtime_s"] > 0).all()
    assert verify_run(tmp_path / "out" / "manifest_ablate.json") == []


def test_the_leaderboard_ranks_the_points_and_the_bundle_holds_the_winner(grid, monkeypatch):
    monkeypatch.setattr(ablation, "run_point", invent_figures)
    result, out = ablate(grid, log=str), grid.parent / "out"
    assert result["winner"] == "training.batch_size=16 model.operator=rgcn"
    table = pd.read_csv(out / "leaderboard.csv")
    # by hand: weights without public 25/60, 10/60, 15/60, 10/60; all gaps and violations alike
    assert table["composite"].tolist() == pytest.approx([1.0, 45 / 60, 35 / 60, 20 / 60])
    assert "No public score" in (out / "leaderboard.md").read_text() and "No public score" in (out / "leaderboard.html").read_text()
    with zipfile.ZipFile(result["bundle"]) as bundle:
        assert {"weights.safetensors", "manifest_train.json", "leaderboard.csv", "ablation.yaml"} <= set(bundle.namelist())


def test_a_grid_that_the_package_brings_is_run_by_its_name_outside_a_checkout(grid, monkeypatch, tmp_path):
    monkeypatch.setattr(ablation, "run_point", invent_figures)
    monkeypatch.chdir(tmp_path)
    result = ablate(Path("configs/ablation.yaml"), [f"data.root={tmp_path / 'data'}"], log=str)
    with zipfile.ZipFile(result["bundle"]) as bundle:
        assert bundle.read("ablation.yaml") == (ROOT / "configs" / "ablation.yaml").read_bytes()
    assert verify_run(tmp_path / "outputs" / "ablation" / "manifest_ablate.json") == []


def test_with_truth_the_points_are_compared_with_the_first_on_the_same_planets(grid, monkeypatch):
    truth = grid.parent / "test.csv"
    truth.write_text("planet_id,wl_1,wl_2\n7,0.01,0.01\n")

    broken = ""

    def run(point, train=None):
        if point.name == broken:
            raise ValueError("no")
        invent_figures(point)
        found = json.loads((point.folder / ablation.RESULT).read_text())
        extra = 0.02 if point.config.model.operator == "gatv2" else 0.0
        found["figures"]["shares"] = {str(n): 0.5 + 0.1 * n + extra * (1 + (-1) ** n * 0.5) for n in range(4)}
        (point.folder / ablation.RESULT).write_text(json.dumps(found))

    monkeypatch.setattr(ablation, "run_point", run)
    out = grid.parent / "out"
    ablate(grid, truth=truth, log=str)
    table = pd.read_csv(out / "leaderboard.csv").set_index("point")
    same, better = (table.loc[f"training.batch_size=8 model.operator={name}"] for name in ("rgcn", "gatv2"))
    assert (same["test"], same["difference"], same["difference_error"]) == pytest.approx((0.65, 0.0, 0.0))
    # differences 0.03, 0.01, 0.03, 0.01: their mean has the standard error 0.01 / √4, whatever the planets' own spread of 0.11
    assert (better["test"], better["difference"]) == pytest.approx((0.67, 0.02))
    assert better["difference_error"] == pytest.approx(0.005, rel=0.1)
    rows = (out / "differences.md").read_text().splitlines()[2:]
    assert rows[0] == "| training.batch_size=8 model.operator=rgcn | 0.6500 |  |" and "| 0.6700 | +0.0200 ± 0.00" in rows[1]
    truth.write_text("planet_id,wl_1,wl_2\n7,0.02,0.01\n")
    broken = "training.batch_size=8 model.operator=rgcn"  # without the first point there is nothing to compare with
    assert ablate(grid, truth=truth, log=str)["ran"] == 4  # another truth
    table, text = pd.read_csv(out / "leaderboard.csv"), (out / "differences.md").read_text()
    assert len(table) == 3 and table[["difference", "difference_error"]].isna().all(axis=None)
    assert text.startswith(f"The first point, {broken}, failed (ValueError: no)") and "±" not in text


def test_a_test_planet_that_one_point_lacks_is_left_out_for_every_point_and_named(grid, monkeypatch):
    """Its share would move the score of the others by 0.2; the reason comes from the fits of the point that lacks it."""
    truth = grid.parent / "test.csv"
    truth.write_text("planet_id,wl_1,wl_2\n7,0.01,0.01\n")
    fit, lines = PlanetFit(None, None, (), "light curves"), []

    def fits(dataset, config, workers):
        planets = ["7", "8"] if config.calibration.airs_samples == 80 else ["7"]
        return PlanetFits(dict.fromkeys(planets, fit), {planet: "no transit" for planet in ("8",) if planet not in planets})

    def run(point, train=None):
        invent_figures(point)
        found = json.loads((point.folder / ablation.RESULT).read_text())
        first = point.name == "calibration.airs_samples=80"
        found["figures"]["shares"] = {"8": 0.5, "7": 0.1} if first else {"7": 0.3}
        (point.folder / ablation.RESULT).write_text(json.dumps(found))

    monkeypatch.setattr(ablation, "_fit", fits)
    monkeypatch.setattr(ablation, "run_point", run)
    grid.write_text(f"out: {grid.parent / 'out'}\nbase: [data.root={grid.parent / 'data'}]\ngrid: {{calibration.airs_samples: [80, 40]}}")
    result, out = ablate(grid, truth=truth, log=lines.append), grid.parent / "out"
    assert result["left_out"] == {"8": "no transit"} == json.loads((out / "manifest_ablate.json").read_text())["remarks"]
    assert "test planet 8 left out for every point: no transit" in lines
    assert (out / "differences.md").read_text().endswith("\n\nLeft out for every point: 8: no transit\n")
    table = pd.read_csv(out / "leaderboard.csv").set_index("point")
    assert table["test"].to_dict() == pytest.approx({"calibration.airs_samples=80": 0.1, "calibration.airs_samples=40": 0.3})
    assert table["difference"].to_dict() == pytest.approx({"calibration.airs_samples=80": 0.0, "calibration.airs_samples=40": 0.2})


def test_without_a_test_planet_to_judge_by_nothing_is_trained(grid, monkeypatch):
    monkeypatch.setattr(ablation, "run_point", lambda *arguments, **settings: pytest.fail("trained"))
    monkeypatch.setattr(ablation, "_fit", lambda *arguments: PlanetFits({}, {"7": "no transit"}))
    truth = grid.parent / "test.csv"
    truth.write_text("planet_id,wl_1,wl_2\n7,0.01,0.01\n")
    with pytest.raises(ConfigError, match="a test planet that every point can predict, found none of 1; such as 7: no transit"):
        ablate(grid, truth=truth, log=str)


def test_a_doubtful_fit_is_no_fit_of_a_point(monkeypatch):
    fit = PlanetFit(None, None, (), "")
    monkeypatch.setattr(ablation, "fit_planets", lambda *arguments, **settings: PlanetFits({"7": fit, "8": fit}, {}))
    monkeypatch.setattr(PlanetFits, "accepted", lambda fits: PlanetFits({"7": fits.fits["7"]}, {"8": "no transit"}))
    assert list(ablation._fit(None, load_config(None), 1).fits) == ["7"]


def test_a_truth_without_a_test_planet_raises_before_anything_is_fitted(grid, monkeypatch):
    monkeypatch.setattr(ablation, "_fit", lambda *arguments: pytest.fail("fitted"))
    truth = grid.parent / "test.csv"
    truth.write_text("planet_id,wl_1,wl_2\n8,0.01,0.01\n")
    with pytest.raises(ArchiveError, match=r"expected the 1 planets of .*, found none of 1, such as 7"):
        ablate(grid, truth=truth, log=str)


@pytest.mark.slow
def test_the_planets_shares_average_to_the_score(tmp_path, monkeypatch):
    from ariel_lib.simulator import dataset
    data = tmp_path / "data"
    dataset.simulate_dataset(data, n_planets=9, n_test=2, seed=5, size="toy", level="lightcurves")
    (tmp_path / "grid.yaml").write_text(f"out: {tmp_path / 'out'}\ngrid: {{model.ssm_depth: [1]}}")
    ablate(tmp_path / "grid.yaml", [f"data.root={data}", "calibration.workers=1", *SMALL], truth=data / "test.csv", log=str)
    table = pd.read_csv(tmp_path / "out" / "leaderboard.csv")
    weights = next((tmp_path / "out").glob("points/*/weights.safetensors"))
    predict(Dataset(data), weights=weights, out=tmp_path / "submission.csv")
    found = evaluate_submission(tmp_path / "submission.csv", data / "test.csv", train_labels=data / "train.csv")
    assert table["test"][0] == pytest.approx(found["score"], abs=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: {training.batchsize: [1]}", "Did you mean training.batch_size"),
        ("grid: {training.batch_size: 1}", "expected a list"),
        ("gird: {}", "expected the keys"),
        ("grid: {training.batch_size: [1]}\npublic: {nobody: 0.5}", "no such point"),
    ],
)
def test_a_malformed_grid_raises_before_anything_runs(tmp_path, text, message):
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_grid(tmp_path / "grid.yaml")
