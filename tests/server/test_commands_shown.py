"""A tiny run by the commands themselves, simulate to corel-train, has no gap on the web page."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from .site import served

from ariel_lib.cli import app  # isort: skip (site skips this file where the extra is missing)
from ariel_lib.training import loop  # isort: skip

pytestmark = pytest.mark.slow
SMALL = ["model.d_model=16", "model.d_state=4", "model.hidden=8", "model.gnn_layers=1", "model.ssm_depth=1", "calibration.workers=1"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A data set of 9 planets, a submission for all of them, and what the other commands make of it."""
    pytest.importorskip("bokeh", reason="the dashboard needs the extra [diagnostics]")
    root = tmp_path_factory.mktemp("shown")
    data, out = root / "data", root / "out"
    weights, submission = out / "v50" / "weights.safetensors", out / "answer" / "submission.csv"
    commands = [
        ["simulate", "--out", data, "--planets", 11, "--test-planets", 2, "--seed", 5, "--size", "toy", "--level", "lightcurves"],
        ["train", f"data.root={data}", f"training.out={out / 'v50'}", "training.epochs=2", "training.folds=2", *SMALL],
        ["predict", "--data", data, "--split", "train", "--weights", weights, "--out", submission],
        ["check", "--data", data, "--split", "train", "--submission", submission, "--outdir", out / "check"],
        ["diagnose", "dashboard", "--split", "train", "--submission", submission, "--weights", weights, "--outdir", out / "diagnostics"],
        ["corel-train", "--weights", weights, "--outdir", out / "corel", "--q", 0.3],
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "DRAWS_AN_EPOCH", 8)
        for command in commands:
            result = CliRunner().invoke(app, [str(word) for word in command])
            assert result.exit_code == 0, (command, result.output, result.exception)
    return data, out


@pytest.fixture(scope="module")
def client(outputs):
    with served(outputs[1], also=[outputs[0]]) as client:
        yield client


def test_every_run_has_its_facts(client):
    runs = {run["command"]: run for run in client.json("/api/runs")["runs"]}
    assert set(runs) == {"train", "predict", "check", "diagnose", "corel-train"}
    for run in runs.values():
        assert run["problem"] is None and run["started"] and run["seconds"] is not None
        detail = client.json(f"/api/run?run={run['id']}")
        assert detail["metrics"] and detail["versions"] and detail["hardware"] and detail["inputs"] and detail["artifacts"]
    assert runs["train"]["score"] is not None and runs["diagnose"]["score"] is not None and runs["train"]["seed"] is not None
    history = client.json(f"/api/run?run={runs['train']['id']}")["history"]
    assert [(epoch["member"], epoch["epoch"]) for epoch in history] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_every_part_of_a_planets_page_is_there(client, outputs):
    run = client.run()
    intervals = {"COREL, marginal coverage", "COREL, joint coverage"}
    held_out = set(pd.read_csv(outputs[1] / "corel" / "intervals.csv", dtype={"planet_id": str}).planet_id)
    assert held_out  # of these alone corel-train gives intervals
    found = client.json(f"/api/planets?run={run}")
    assert found["total"] == 9 and found["problems"] == []
    for planet in found["planets"]:
        assert planet["answered"] and None not in (planet["depth_ppm"], planet["sigma_ppm"], planet["error_ppm"], planet["violations"])
        detail = client.json(f"/api/planet?run={run}&planet={planet['planet']}")
        assert detail["problems"] == [] and detail["missing"] == {}
        empty = [name for name, value in detail.items() if value in (None, [], {}, "")]
        assert set(empty) <= {"flags", "note", "violations", "violated_rules", "missing", "problems", "intervals"}, empty
        assert set(detail["other_answers"]) == {"initial estimate", "Gaussian posterior", "transit fit"}
        assert set(detail["intervals"]) == (intervals if planet["planet"] in held_out else set())
        assert "H2O" in detail["molecule_shares"]
        for curve in detail["fitted_curves"]:
            assert None not in curve.values()
        assert {"spectrum", "star", "fgs1"} == set(detail["gates"]) and "neighbour" in detail["relation_shares"]
        curves = client.json(f"/api/light-curves?run={run}&planet={planet['planet']}")
        assert curves["problems"] == [] and {curve["name"].split(",")[0] for curve in curves["curves"]} == {"FGS1", "AIRS"}


def test_the_dashboard_is_listed(client):
    assert "diagnostics/v50_report_v1.html" in [page["name"] for page in client.json("/api/pages")]
