"""ariel_lib.server: what is answered is what the library's writers put on disk."""

import json
import os
import shutil
import time
from urllib.parse import quote

import numpy as np
import pytest

from .site import PLANETS, SPIKE, STEPS, WAVELENGTH, WIDTH, served

from ariel_lib.prediction.predict import EXTRAS  # isort: skip (site skips this file where the extra is missing)
from ariel_lib.provenance.progress import RUNNING, publish_progress  # isort: skip
from ariel_lib.server.planet import OTHER_ANSWERS  # isort: skip
from ariel_lib.training import loop  # isort: skip
from ariel_lib.training.run_state import RunState  # isort: skip


def test_runs_are_found_by_their_manifests_sorted_and_filtered(site):
    found = site.json("/api/runs?sort=score&order=desc")
    assert [(run["command"], run["score"]) for run in found["runs"]] == [("diagnose", 0.6), ("predict", 0.5), ("check", None)]
    assert found["commands"] == ["check", "diagnose", "predict"]
    assert site.json("/api/runs?command=check")["total"] == 1 and site.json("/api/runs?q=V50")["runs"][0]["folder"] == "v50"
    assert site.json("/api/runs?limit=1&offset=2&sort=command&order=asc")["runs"][0]["command"] == "predict"


def test_one_run_and_two_side_by_side(site):
    detail = site.json(f"/api/run?run={site.run()}")
    assert detail["metrics"] == {"planets": 3, "v50.score": 0.5} and detail["settings"] == {"split": "test"}
    assert detail["artifacts"][0]["name"] == "submission.csv" and len(detail["artifacts"][0]["sha256"]) == 64
    assert detail["run"]["started"] and detail["run"]["seconds"] is not None and detail["inputs"]["data"] == "../data"
    both = site.json(f"/api/compare?a={site.run()}&b={site.run('diagnose')}")
    assert {"name": "score", "a": None, "b": 0.6} in both["metrics"] and both["settings"] == [{"name": "split", "a": "test", "b": None}]


def test_planets_are_listed_with_their_figures(site, folder):
    answer = folder[1]["answers"]["42"]
    found = site.json(f"/api/planets?run={site.run()}")
    by_name = {planet["planet"]: planet for planet in found["planets"]}
    assert set(by_name) == set(PLANETS) and found["problems"] == [] and set(found["skipped"]) == {"ensemble members"}
    error = 1e6 * np.abs(answer.mean - folder[1]["truth"][1]).mean()
    assert np.isclose(by_name["42"]["error_ppm"], error) and by_name[PLANETS[2]]["error_ppm"] is None
    assert by_name["42"]["violations"] > 0 and by_name["1103775"]["violations"] == 0
    assert by_name["42"]["flags"] == ["red_noise"] and not by_name[PLANETS[2]]["answered"]
    assert np.isclose(by_name["42"]["depth_ppm"], 1e6 * answer.mean.mean())
    assert [p["planet"] for p in site.json(f"/api/planets?run={site.run()}&q=red")["planets"]] == ["42"]


def test_a_planet_is_shown_to_the_last_bit(site, folder):
    answer, arrays = folder[1]["answers"]["1103775"], folder[1]["arrays"]
    detail = site.json(f"/api/planet?run={site.run()}&planet=1103775")
    assert detail["problems"] == [] and detail["missing"] == {}
    assert detail["mean"] == answer.mean.tolist() and detail["sigma"] == answer.sigma.tolist()
    assert detail["truth"] == folder[1]["truth"][0].tolist() and detail["wavelength"] == WAVELENGTH.tolist()
    assert detail["gates"]["star"] == arrays["gates"][0, :, 1].tolist()
    assert detail["attributions"][5]["shap"] == arrays["shap"][0, 5].tolist()
    assert detail["attributions"][2]["ig_error"] == arrays["ig_error"][0, 2]
    share, kind = arrays["edge_share"][0].mean(axis=0), arrays["relations"].index("neighbour")
    expected = [share[(arrays["edge_index"][1] == n) & (arrays["edge_type"] == kind)].sum() for n in range(WIDTH)]
    assert np.allclose(detail["relation_shares"]["neighbour"], expected)
    assert detail["edges"][0]["share"] == pytest.approx(share.max())
    assert detail["star"]["Rs"] == "1.1" and detail["star"]["Ts"] == "5800.0" and detail["violated_rules"] == []


def test_the_other_answers_have_the_fields_names(site, folder):
    answer = folder[1]["answers"]["1103775"]
    assert site.json(f"/api/planet?run={site.run()}&planet=1103775")["other_answers"] == {
        "initial estimate": [answer.initial_mean.tolist(), answer.initial_sigma.tolist()],
        "Gaussian posterior": [answer.gaussian_mean.tolist(), answer.gaussian_sigma.tolist()],
        "transit fit": [answer.depth.tolist(), answer.depth_sigma.tolist()],
    }
    assert sorted(name for pair in OTHER_ANSWERS.values() for name in pair) == sorted(EXTRAS)


def test_the_fit_is_shown_with_its_noise(site):
    curve = site.json(f"/api/planet?run={site.run()}&planet=1103775")["fitted_curves"][0]
    assert len(curve["flux"]) == len(curve["model"]) == STEPS // 3
    numbers = {"sigma": 1e-4, "t0": 3.7, "duration": 2.5, "chi2": 1.01, "red_noise": 0.02, "red_noise_probability": 0.1}
    assert curve["name"] == "FGS1, visit 0" and {name: curve[name] for name in numbers} == numbers


def test_violations_and_reasons_are_the_planets_own(site):
    detail = site.json(f"/api/planet?run={site.run()}&planet=42")
    worst = max(detail["violations"], key=lambda found: abs(found["sigmas"]))
    assert worst["bin"] == SPIKE + 1 and worst["wavelength"] == round(WAVELENGTH[SPIKE], 5) and worst["ppm"] > 100
    assert {found["rule"] for found in detail["violations"]} == set(detail["violated_rules"]) and "H2O" in detail["molecule_shares"]
    assert detail["flags"] == ["red_noise"] and "attributions" in detail["missing"] and "transit fit" in detail["missing"]
    fallback = site.json(f"/api/planet?run={site.run()}&planet={quote(PLANETS[2])}")
    assert fallback["note"].endswith("the mean of the training spectra is given instead: no light")
    assert {"truth", "star"} <= set(fallback["missing"])


def test_light_curves_are_means_over_equal_stretches(site):
    found = site.json(f"/api/light-curves?run={site.run()}&planet=1103775")
    assert [curve["name"] for curve in found["curves"]] == ["FGS1, visit 0", "AIRS, visit 0"] and found["problems"] == []
    assert len(found["curves"][1]["flux"]) == STEPS // 3 and abs(np.mean(found["curves"][1]["flux"]) - 1) < 1e-4
    assert abs(found["curves"][0]["masked_fraction"] - 0.1) < 0.05
    assert abs(found["curves"][1]["electrons_per_sample"] / (1000.5 * (WIDTH - 1)) - 1) < 1e-3


def test_tables_and_pages_are_listed(site):
    board = site.json("/api/leaderboards")[0]
    table = site.json(f"/api/leaderboard?board={board['id']}")
    assert table["columns"] == ["rank", "composite", "point"] and table["rows"][0] == ["1", "0.9", "a=1 b=[1, 2]"]
    page = site.json("/api/pages")[0]
    response, body = site.ask(f"/pages/{page['id']}")
    assert body == b"<script>alert(document.domain)</script>"
    assert response.headers["content-security-policy"].startswith("sandbox allow-scripts") and "self" not in response.headers[
        "content-security-policy"
    ].replace("frame-ancestors 'self'", "")


def keep_state(folder, member, scores):
    """What training leaves of one network while it runs."""
    network = loop.torch.nn.Linear(1, 1)
    state = RunState(loop._state_path(folder, member), "configuration", network, loop.torch.optim.SGD(network.parameters()), 0.9)
    for n, score in enumerate(scores):
        state.note(0.5 if n else None, score)


def test_a_training_is_shown_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("ariel_lib.provenance.progress.EVERY", 0.0)
    folder = tmp_path / "v50"
    folder.mkdir()
    earlier = {"history": [{"member": 0, "epoch": 0, "loss": None, "score": 0.9}]}
    (folder / "metrics.json").write_text(json.dumps(earlier))  # must not pass for this run's
    with publish_progress("train", folder) as (progress, log), served(tmp_path) as site:
        progress(3, 10)
        log("epoch 1")
        keep_state(folder, 0, [0.3, 0.4])
        keep_state(folder, 1, [0.2])
        os.utime(folder / RUNNING, (time.time() - 100, time.time() - 100))
        found = site.json("/api/running")[0]
    assert (found["command"], found["done"], found["total"], found["log"]) == ("train", 3, 10, ["epoch 1"])
    assert 99 < found["seconds_since_update"] < 110
    assert [(e["member"], e["epoch"], e["loss"], e["score"]) for e in found["history"]] == [
        (0, 0, None, 0.3), (0, 1, 0.5, 0.4), (1, 0, None, 0.2)
    ]  # fmt: skip
    with served(tmp_path) as site:
        assert site.json("/api/running") == []


def test_a_data_set_elsewhere_is_read_only_where_that_was_asked_for(folder, tmp_path):
    data, root = folder[0] / "data", tmp_path / "outputs"
    shutil.copytree(folder[0] / "v50", root / "v50")
    manifest = root / "v50" / "manifest_predict.json"
    manifest.write_text(manifest.read_text().replace('"../data"', json.dumps(str(data))))
    with served(root) as site:
        detail = site.json(f"/api/planet?run={site.run()}&planet=42")
        assert detail["truth"] is None and "is not served" in detail["missing"]["data set"]
        assert site.json(f"/api/light-curves?run={site.run()}&planet=1103775")["curves"] == []
    with served(root, also=[data]) as site:
        assert site.json(f"/api/planet?run={site.run()}&planet=42")["truth"] is not None
        assert len(site.json(f"/api/light-curves?run={site.run()}&planet=1103775")["curves"]) == 2
