"""evaluation.physics_check: violations by planet, rule and bin; bump detection on simulated light curves."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.evaluation.physics_check import check_submission, detect_bumps_in_planets, make_rule_context
from ariel_lib.io.archive import Archive
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import light_curves_path, list_light_curves
from ariel_lib.io.light_curves import load_light_curves, save_light_curves
from ariel_lib.io.submission import write_submission
from ariel_lib.io.writer import write_stars, write_wavelengths
from ariel_lib.pipeline.planet_fits import fit_planets
from ariel_lib.symbolic.rules import RULES, find_violations
from ariel_lib.transit.bumps.fit import SAMPLES_A_BIN, coarsen, detect_bumps
from ariel_lib.transit.segments import make_segments


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from ariel_lib.simulator import dataset
    root = tmp_path_factory.mktemp("data")
    dataset.simulate_dataset(root, n_planets=6, n_test=6, seed=3, size="toy", level="lightcurves")
    return root


@pytest.fixture(scope="module")
def submission(data, tmp_path_factory):
    """The true spectra, with a ripple added to the second planet's."""
    archive = Archive(data)
    labels = archive.labels("test")
    mean = labels.depth.copy()
    mean[1, 100:150] += 1e-3 * np.hanning(50) * np.sin(2.2 * np.arange(50))
    path = tmp_path_factory.mktemp("out") / "submission.csv"
    ids = labels.planet_ids
    return write_submission(path, ids, mean, np.full_like(mean, 1e-5), fallback=(mean[0], 0.01), order=ids), ids


def test_check_writes_a_line_for_each_violation_and_a_row_for_each_rule(data, submission, tmp_path):
    path, ids = submission
    summary = check_submission(path, Dataset(data), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "violations.jsonl").read_text().splitlines()]
    ripple = [line for line in lines if line.get("rule") == "resolution"]
    assert {line["planet"] for line in ripple} == {ids[1]}
    assert all(100 < line["bin"] <= 151 and abs(line["sigmas"]) > 5 for line in ripple)
    planets = {line["planet"]: line for line in lines if "rule" not in line}
    assert set(planets) == set(ids) and planets[ids[1]]["violated"] == ["resolution"]
    assert [row["rule"] for row in summary["rules"]] == list(RULES)
    resolution = next(row for row in summary["rules"] if row["rule"] == "resolution")
    assert (resolution["planets"], resolution["bins"], resolution["worst"]) == (1, len(ripple), ids[1])
    assert abs(resolution["ppm"]) == pytest.approx(1000, rel=0.3)
    assert (summary["planets"], summary["with_light_curves"]) == (6, 6)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


def test_an_injected_bump_is_found_at_its_time(data):
    archive = Archive(data)
    planet = next(iter(list_light_curves(data / "lightcurves", "test")))
    curves = load_light_curves(light_curves_path(data / "lightcurves", "test", planet, 0))
    time = curves.airs.time
    centre, width = np.quantile(time, 0.15), 0.04 * (time[-1] - time[0])

    def lensed(curve):
        factor = 1 + 5e-3 * np.exp(-0.5 * ((curve.time - centre) / width) ** 2)
        return replace(curve, flux=curve.flux * factor.reshape(-1, *[1] * (curve.flux.ndim - 1)))

    quiet = detect_bumps([curves], archive.star("test", planet), archive.wavelengths())[0]
    found = detect_bumps(
        [replace(curves, fgs1=lensed(curves.fgs1), airs=lensed(curves.airs))],
        archive.star("test", planet),
        archive.wavelengths(),
    )[0]
    assert not quiet.bump.exists
    assert found.bump.achromatic and found.bump.time == pytest.approx(centre, abs=width)
    assert found.depth_bias.shape == (283,) and np.isfinite(found.depth_bias).all()


def test_lensing_bump_flags_a_spectrum_biased_by_a_bump_and_not_a_clean_one(data):
    archive = Archive(data)
    planet = next(iter(list_light_curves(data / "lightcurves", "test")))
    curves = load_light_curves(light_curves_path(data / "lightcurves", "test", planet, 0))
    centre, width = np.quantile(curves.airs.time, 0.4), 0.03 * np.ptp(curves.airs.time)

    def lensed(curve):
        factor = 1 + 4e-3 * np.exp(-0.5 * ((curve.time - centre) / width) ** 2)
        return replace(curve, flux=curve.flux * factor.reshape(-1, *[1] * (curve.flux.ndim - 1)))

    both = replace(curves, fgs1=lensed(curves.fgs1), airs=lensed(curves.airs))
    detections = detect_bumps([both], archive.star("test", planet), archive.wavelengths())
    clean, shift = detect_bumps([curves], archive.star("test", planet), archive.wavelengths())[0].depth, detections[0].depth_bias
    assert detections[0].bump.achromatic and np.abs(shift).max() > 1e-4
    sigma = np.full(283, 3e-5)
    for mean, biased in ((detections[0].depth, True), (clean, False)):
        mu, context = make_rule_context(mean[None], sigma[None], archive.wavelengths(), [detections])
        assert bool(find_violations(mu, context)["lensing_bump"].flagged.any()) == biased


def test_coarse_segments_keep_the_weighted_mean(data):
    archive = Archive(data)
    planet = next(iter(list_light_curves(data / "lightcurves", "test")))
    curves = load_light_curves(light_curves_path(data / "lightcurves", "test", planet, 0))
    for segment in make_segments([curves], archive.wavelengths()):
        short = coarsen(segment, SAMPLES_A_BIN)
        n = len(short.time) * SAMPLES_A_BIN
        assert short.weight.sum() == pytest.approx(segment.weight[:, :n].sum())
        assert (short.weight * short.flux).sum() == pytest.approx((segment.weight * segment.flux)[:, :n].sum())
        assert coarsen(segment, len(segment.time)) is segment


@pytest.fixture
def few(scene, tmp_path):
    """Planets 1 and 2 at thirteen wavelengths, the second with two visits."""
    root, rng = tmp_path / "few", np.random.default_rng(8)
    root.mkdir()
    for planet, visit in (("1", 0), ("2", 0), ("2", 1)):
        curves = replace(scene.observe(rng, visit=visit, t0=3.7 - 0.2 * visit), planet_id=planet)
        save_light_curves(light_curves_path(root / "lightcurves", "test", planet, visit), curves)
    write_stars(root, "test", [replace(scene.star, planet_id=planet) for planet in ("1", "2")])
    write_wavelengths(root, scene.wavelength)
    return Dataset(root, "test", planets=("1", "2"), scratch=tmp_path)


def signature(detections):
    return [(found.visit, found.depth.tobytes(), found.depth_bias.tobytes()) for found in detections]


def test_bumps_are_searched_in_the_visits_that_can_be_read_and_the_other_planet_stays_the_same(few):
    whole = detect_bumps_in_planets(few)
    path = few.light_curve_path("2", 1)
    path.write_bytes(path.read_bytes()[:-20])
    found = detect_bumps_in_planets(few)
    assert signature(found.detections["1"]) == signature(whole.detections["1"])
    assert [bump.visit for bump in found.detections["2"]] == [0] and list(found.unread) == ["2"]
    few.light_curve_path("2", 0).write_bytes(b"")
    found = detect_bumps_in_planets(few)
    assert list(found.detections) == ["1"] and "visit 0" in found.unread["2"].reason and "visit 1" in found.unread["2"].reason


def test_a_missing_star_row_is_noted_and_the_planet_searched(few, scene):
    write_stars(few.root, "test", [replace(scene.star, planet_id="1")])
    found = detect_bumps_in_planets(Dataset(few.root, "test", planets=few.planets, scratch=few.scratch))
    assert set(found.detections) == {"1", "2"} and list(found.notes) == ["2"] and not found.unread


def test_a_fit_of_the_first_visit_alone_gives_the_place_of_that_visit_only(few):
    fit_planets(few, most_visits=1)
    found = detect_bumps_in_planets(few)
    assert [bump.visit for bump in found.detections["2"]] == [0, 1] and not found.unread
    few.fit_path("2").write_bytes(b"cut")
    assert [bump.visit for bump in detect_bumps_in_planets(few).detections["2"]] == [0, 1]
