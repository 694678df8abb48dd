"""prediction.predict: what is wrong with one planet is said in result, manifest and report, and changes no other planet's row."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.commands import run_prediction
from ariel_lib.config import load_config, to_dict
from ariel_lib.diagnostics.report import report_from_artifacts
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import light_curves_path
from ariel_lib.io.light_curves import save_light_curves
from ariel_lib.io.submission import read_submission
from ariel_lib.io.writer import write_stars, write_wavelengths

PLANETS = ("7", "12", "13")


@pytest.fixture(scope="module")
def data(scene, tmp_path_factory):
    """Light curves of three planets, the second with two visits."""
    root, rng = tmp_path_factory.mktemp("predict") / "data", np.random.default_rng(4)
    root.mkdir()
    for planet, visit in (("7", 0), ("12", 0), ("12", 1), ("13", 0)):
        curves = replace(scene.observe(rng, visit=visit), planet_id=planet)
        save_light_curves(light_curves_path(root / "lightcurves", "test", planet, visit), curves)
    write_stars(root, "test", [replace(scene.star, planet_id=planet) for planet in PLANETS])
    write_wavelengths(root, scene.wavelength)
    return root


@pytest.fixture(scope="module")
def weights(make_checkpoint, tmp_path_factory):
    config = to_dict(load_config(overrides=["training.threads=1"]))
    return replace(make_checkpoint()[0], config=config).save(tmp_path_factory.mktemp("weights") / "weights.safetensors")


@pytest.fixture(scope="module")
def whole(data, weights, tmp_path_factory):
    """The submission from whole files."""
    out = tmp_path_factory.mktemp("whole") / "submission.csv"
    result = run(data, weights, out)
    assert not result["fallbacks"] and not result["notes"]
    return out


def run(data, weights, out):
    return run_prediction(Dataset(data, "test", planets=PLANETS), weights=weights, out=out)


def rows(path):
    """Planet → its line in a submission."""
    return dict(line.split(",", 1) for line in path.read_text().splitlines())


def copy_of(data, folder):
    """The data set under another name, with the fits that are at hand beside the submission to come."""
    return shutil.copytree(data, folder / "data")


def damage(root, planet, visit):
    path = light_curves_path(root / "lightcurves", "test", planet, visit)
    path.write_bytes(path.read_bytes()[:-20])


def test_a_damaged_second_visit_is_named_in_result_manifest_and_report_and_the_planet_is_answered(data, weights, whole, tmp_path):
    root = copy_of(data, tmp_path)
    damage(root, "12", 1)
    out = tmp_path / "run" / "submission.csv"
    result = run(root, weights, out)
    assert not result["fallbacks"] and list(result["notes"]) == ["12"] and "visit 1 is left out" in result["notes"]["12"]
    before, after = rows(whole), rows(out)
    assert {planet for planet in before if before[planet] != after[planet]} == {"12"}
    manifest = json.loads((out.parent / "manifest_predict.json").read_text())
    assert manifest["remarks"] == result["notes"]
    page = report_from_artifacts(out, tmp_path / "report.html").read_text()
    assert "Remarks on 1 of 3 planets" in page and "visit 1 is left out" in page
    assert "Remarks" not in report_from_artifacts(whole, tmp_path / "other.html").read_text()


def test_a_planet_without_light_curves_has_the_training_mean_and_the_others_their_rows(data, weights, whole, tmp_path):
    root = copy_of(data, tmp_path)
    damage(root, "13", 0)
    out = tmp_path / "run" / "submission.csv"
    result = run(root, weights, out)
    assert list(result["fallbacks"]) == ["13"]
    before, after = rows(whole), rows(out)
    assert {planet for planet in before if before[planet] != after[planet]} == {"13"}
    assert json.loads((out.parent / "manifest_predict.json").read_text())["remarks"]["13"].startswith("training mean: visit 0 is left out")


def test_the_submission_has_planets_and_columns_in_the_order_of_the_sample(data, weights, whole, tmp_path):
    root = copy_of(data, tmp_path)
    names = [f"{kind}_{n}" for n in range(1, len(rows(whole)["planet_id"].split(",")) // 2 + 1) for kind in ("wl", "sigma")]
    blanks = "," * len(names)
    (root / "sample_submission.csv").write_text(f"Unnamed: 0,planet_id,{','.join(names)}\n0,12{blanks}\n{blanks},\n1,7{blanks}\n")
    out = tmp_path / "submission.csv"
    run_prediction(Dataset(root, "test"), weights=weights, out=out)
    assert list(rows(out)) == ["planet_id", "12", "7"] and rows(out)["planet_id"] == ",".join(names)
    (before, mean, sigma), (after, new_mean, new_sigma) = read_submission(whole), read_submission(out)
    order = [before.index(planet) for planet in after]
    assert (new_mean == mean[order]).all() and (new_sigma == sigma[order]).all()
