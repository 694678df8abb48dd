"""Systematics of simulated data sets: only what is named changes, and the record gives the same light again."""

import json

import numpy as np
import pandas as pd
import pytest

from ariel_lib.instrument import AIRS, FGS1
from ariel_lib.io.light_curves import load_light_curves
from ariel_lib.simulator import dataset
from ariel_lib.simulator.dataset import disturb_planets, draw_planets, simulate_dataset
from ariel_lib.simulator.systematics.mixture import read_recipe
from ariel_lib.simulator.systematics.planets import read_record, record_times, redraw
from ariel_lib.simulator.visit import draw_scenes

N = {FGS1.name: 144, AIRS.name: 12}


@pytest.fixture(autouse=True)
def short_visits(monkeypatch):
    """Visits of 12 AIRS and 144 FGS1 samples."""
    monkeypatch.setattr(dataset, "FULL_SAMPLES", {name: 25 * n for name, n in N.items()})


def simulate(out, systematics="nominal", level="lightcurves", **options):
    simulate_dataset(out, n_planets=2, n_test=1, seed=4, level=level, systematics=systematics, **options)
    return out


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("level", ["frames", "lightcurves"])
def test_the_polynomial_family_is_the_nominal_simulation_to_the_byte(tmp_path, level):
    nominal, polynomial = (contents(simulate(tmp_path / name, name, level)) for name in ("nominal", "polynomial"))
    assert set(polynomial) - set(nominal) == {"systematics.json"}
    assert [name for name in nominal if nominal[name] != polynomial[name]] == []


def test_the_splits_can_have_different_families_and_each_is_that_of_its_own_name(tmp_path):
    names = {"both": "gain/ramp+polynomial", "train": "gain", "test": "ramp+polynomial"}
    both, *alone = (contents(simulate(tmp_path / name, families)) for name, families in names.items())
    for split, other in zip(("train", "test"), alone):
        curves = [name for name in both if f"lightcurves/{split}/" in name]
        assert curves and all(both[name] == other[name] for name in curves)
    chosen = {tuple(planet["families"]) for planet in read_record(tmp_path / "both")["planets"].values()}
    assert chosen == {("gain",), ("polynomial", "ramp")}


def test_one_seed_gives_the_same_bytes(tmp_path):
    assert contents(simulate(tmp_path / "a", "mixed")) == contents(simulate(tmp_path / "b", "mixed"))


def test_the_spectra_are_the_planets_own_whatever_the_star_does(tmp_path):
    nominal, disturbed = (simulate(tmp_path / name, name) for name in ("nominal", "unocculted_spots+limb_darkening+ramp+catalogue"))
    for name in ("train.csv", "test.csv"):
        assert (nominal / name).read_bytes() == (disturbed / name).read_bytes()
    true, wrong = (pd.read_csv(root / "train_star_info.csv").iloc[0] for root in (nominal, disturbed))
    orbit = next(iter(json.loads((disturbed / "truth.json").read_text())["planets"].values()))["orbit"]
    assert pytest.approx(orbit["period"], rel=1e-9) != wrong.P * 24 and pytest.approx(orbit["period"]) == true.P * 24
    assert (wrong.Ts, wrong.Rs) == (true.Ts, true.Rs)


def test_a_simulation_over_another_leaves_no_record_of_it(tmp_path):
    simulate(tmp_path / "x", "ramp")
    simulate(tmp_path / "x")
    assert not (tmp_path / "x" / "systematics.json").exists() and read_record(tmp_path / "x")["planets"] == {}


def scenes(systematics, seed=4):
    """Scenes of a planet with the systematics, and its DisturbedPlanet."""
    planets = draw_planets(seed, {"train": 1, "test": 0}, 25, (6, 6.1), None)
    disturbed = next(iter(disturb_planets(seed, planets, read_recipe(systematics), 25).values()))
    return draw_scenes(np.random.default_rng(1), disturbed.planet, 0, N, disturbed), disturbed


@pytest.mark.parametrize("name", [FGS1.name, AIRS.name])
def test_the_brightness_is_multiplied_by_the_factor_that_the_record_gives_again(tmp_path, name):
    light, planet = scenes("ramp+granulation+rotation")
    calm, _ = scenes("catalogue")
    simulate(tmp_path, "ramp+granulation+rotation")
    record = read_record(tmp_path)
    planet_id = planet.planet.planet_id
    times = {key: scene.time for key, scene in light.items()}
    drawn, _ = redraw(record, planet_id, 0, times)
    ratio = light[name].brightness / calm[name].brightness
    if name == AIRS.name:
        first, last = AIRS.crop
        ratio = ratio[:, first:last][:, ::-1]
    np.testing.assert_allclose(ratio, drawn.factor(name), rtol=1e-12)
    assert np.abs(ratio - 1).max() > 1e-5
    white = record["planets"][planet_id]["visits"][0]["white_ppm"][FGS1.name]
    again, _ = redraw(record, planet_id, 0, {key: record_times(planet.length) / 25 for key in N})
    np.testing.assert_allclose(white, 1e6 * (again.factor(FGS1.name)[:, 0] - 1), atol=0.006)


def test_unocculted_spots_scale_the_transit_and_the_disc_is_drawn_again(tmp_path):
    light, planet = scenes("unocculted_spots")
    calm, _ = scenes("catalogue")
    simulate(tmp_path, "unocculted_spots")
    _, disc = redraw(read_record(tmp_path), planet.planet.planet_id, 0, {name: scene.time for name, scene in light.items()})
    deepest = calm[FGS1.name].brightness.argmin()
    ratio = (1 - light[FGS1.name].brightness[deepest, 0]) / (1 - calm[FGS1.name].brightness[deepest, 0])
    assert ratio == pytest.approx(disc.depth_factor[0], rel=1e-9) and abs(ratio - 1) > 1e-4


def test_pointing_moves_the_centroids_of_light_curves(tmp_path):
    still, moving = (simulate(tmp_path / name, name) for name in ("catalogue", "pointing"))
    planet = next(iter(read_record(moving)["planets"]))
    split = json.loads((moving / "truth.json").read_text())["planets"][planet]["split"]
    curves = [load_light_curves(root / "lightcurves" / split / f"{planet}_0.safetensors").fgs1 for root in (still, moving)]
    drawn, _ = redraw(read_record(moving), planet, 0, {FGS1.name: curves[0].time, AIRS.name: curves[0].time})
    moved = curves[1].centroid - curves[0].centroid
    slope = (moved * drawn.pointing[FGS1.name]).sum() / (drawn.pointing[FGS1.name] ** 2).sum()
    assert slope == pytest.approx(1.0, abs=0.25)
