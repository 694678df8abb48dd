"""ariel_lib.server: what is answered is what lies on disk."""

import json
import os
import time
from urllib.parse import quote

import numpy as np

from ariel_lib.provenance.progress import RUNNING

from .site import EDGES, PLANETS, STEPS, served


def test_runs_are_found_by_their_manifests_sorted_and_filtered(site):
    found = site.json("/api/runs?sort=score&order=desc")
    assert [(run["command"], run["score"]) for run in found["runs"]] == [("diagnose", 0.6), ("predict", 0.5), ("check", None)]
    assert found["commands"] == ["check", "diagnose", "predict"]
    assert site.json("/api/runs?command=check")["total"] == 1 and site.json("/api/runs?q=V50")["runs"][0]["folder"] == "v50"
    assert site.json("/api/runs?limit=1&offset=2&sort=command&order=asc")["runs"][0]["command"] == "predict"


def test_a_run_is_told_and_two_are_compared(site):
    told = site.json(f"/api/run?run={site.run()}")
    assert told["metrics"] == {"planets": 3, "v50.score": 0.5} and told["settings"] == {"split": "test"}
    assert told["artifacts"][0]["name"] == "submission.csv" and len(told["artifacts"][0]["sha256"]) == 64
    both = site.json(f"/api/compare?a={site.run()}&b={site.run('diagnose')}")
    assert {"name": "score", "a": None, "b": 0.6} in both["metrics"] and both["settings"] == [{"name": "split", "a": "test", "b": None}]


def test_planets_are_listed_with_their_figures(site, folder):
    arrays = folder[1]
    found = site.json(f"/api/planets?run={site.run()}")
    by_name = {planet["planet"]: planet for planet in found["planets"]}
    assert set(by_name) == set(PLANETS) and found["problems"] == []
    error = 1e6 * np.abs(arrays["mean"][1] - arrays["truth"][1]).mean()
    assert np.isclose(by_name["42"]["error_ppm"], error) and by_name[PLANETS[2]]["error_ppm"] is None
    assert by_name["42"]["violations"] == 1 and by_name["42"]["flags"] == ["red_noise"] and not by_name[PLANETS[2]]["answered"]
    assert np.isclose(by_name["42"]["depth_ppm"], 1e6 * arrays["mean"][1].mean())
    assert [p["planet"] for p in site.json(f"/api/planets?run={site.run()}&q=red")["planets"]] == ["42"]


def test_a_planet_is_told_to_the_last_bit(site, folder):
    arrays = folder[1]
    told = site.json(f"/api/planet?run={site.run()}&planet=1103775")
    assert told["mean"] == arrays["mean"][0].tolist() and told["sigma"] == arrays["sigma"][0].tolist()
    assert told["truth"] == arrays["truth"][0].tolist() and told["wavelength"][0] == 0.7
    assert told["others"]["memory"] == [arrays["kept"][name][0].tolist() for name in ("initial_mean", "initial_sigma")]
    assert told["gates"]["star"] == arrays["arrays"]["gates"][0, :, 1].tolist()
    assert told["attributions"][5]["shap"] == arrays["arrays"]["shap"][0, 5].tolist()
    share = arrays["arrays"]["edge_share"][0].mean(axis=0)
    assert np.allclose(told["relations"]["neighbour"], [share[3], 0, share[1], share[2], 0, 0, 0]) and len(told["edges"]) == EDGES
    assert told["fit"][0]["facts"]["chi2"] == 1.01 and len(told["fit"][0]["flux"]) == STEPS // 3
    assert told["star"] == {"Rs": "1.1", "Ts": "5800"} and told["violated"] == [] and told["problems"] == []


def test_violations_and_reasons_are_the_planets_own(site):
    told = site.json(f"/api/planet?run={site.run()}&planet=42")
    assert told["violations"] == [{"rule": "smoothness", "bin": 3, "wavelength": 2.3, "ppm": 55.0, "sigmas": 4.5}]
    assert told["flags"] == ["red_noise"] and "attributions" in told["missing"] and "transit fit" in told["missing"]
    hostile = site.json(f"/api/planet?run={site.run()}&planet={quote(PLANETS[2])}")
    assert hostile["note"] == "takes the training mean: no light" and "truth" in hostile["missing"]


def test_light_curves_are_means_over_equal_stretches(site):
    found = site.json(f"/api/light-curves?run={site.run()}&planet=1103775")
    assert [segment["name"] for segment in found["segments"]] == ["FGS1, visit 0", "AIRS, visit 0"] and found["problems"] == []
    assert len(found["segments"][1]["flux"]) == STEPS // 3 and abs(np.mean(found["segments"][1]["flux"]) - 1) < 1e-4
    assert abs(found["segments"][0]["facts"]["masked"] - 0.1) < 0.05


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


def test_what_runs_is_told_while_it_runs(tmp_path):
    said = {"command": "train", "started": "2026-01-01T00:00:00+00:00", "done": 3, "total": 10, "lines": ["epoch 1"]}
    with served(tmp_path) as site:
        assert site.json("/api/running") == []
        (tmp_path / "v50").mkdir()
        (tmp_path / "v50" / RUNNING).write_text(json.dumps(said))
        history = [{"epoch": 0, "loss": None, "score": 0.3}, {"epoch": 1, "loss": 0.1, "score": 0.4}]
        (tmp_path / "v50" / "metrics.json").write_text(json.dumps({"history": history}))
        os.utime(tmp_path / "v50" / RUNNING, (time.time() - 100, time.time() - 100))
        time.sleep(2.1)  # a list of files is catalogue_mean for two seconds
        found = site.json("/api/running")[0]
    assert (found["command"], found["done"], found["total"], found["lines"]) == ("train", 3, 10, ["epoch 1"])
    assert 99 < found["silent_s"] < 110 and found["history"] == history


def test_a_data_set_elsewhere_is_read_only_where_that_was_asked_for(folder, tmp_path):
    import shutil

    data, root = folder[0] / "data", tmp_path / "outputs"
    shutil.copytree(folder[0] / "v50", root / "v50")
    manifest = root / "v50" / "manifest_predict.json"
    manifest.write_text(manifest.read_text().replace('"../data"', json.dumps(str(data))))
    with served(root) as site:
        told = site.json(f"/api/planet?run={site.run()}&planet=42")
        assert told["truth"] is None and "is not served" in told["missing"]["data set"]
    with served(root, also=[data]) as site:
        assert site.json(f"/api/planet?run={site.run()}&planet=42")["truth"] is not None
