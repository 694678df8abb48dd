"""pipeline.planet_fits: a planet is fitted again only when its inputs change; damaged files are reported."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.calibration.visits import CalibrationReport, Failure
from ariel_lib.errors import ArchiveError
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Star, light_curves_path
from ariel_lib.io.light_curves import LightCurve, LightCurves, save_light_curves
from ariel_lib.io.writer import write_stars, write_wavelengths
from ariel_lib.pipeline import planet_fits
from ariel_lib.pipeline.planet_fits import PlanetFit, PlanetFits, Task, fit_planets, fit_task
from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.result import load_estimate

STAR = Star("7", Rs=1.0, Ms=1.0, Ts=5500.0, Mp=1.0, e=0.0, P=3.5, sma=9.0, i=88.0)
WAVELENGTH = (0.7, 2.0, 2.8, 3.6)


def make_visit_curves(visit, *, masked=False, provenance=None):
    """Light curves of FGS1 and three AIRS channels with a box-shaped transit of depth 0.012."""
    rng, time = np.random.default_rng(visit), np.linspace(0, 7, 120)
    level = np.array([1e6, 3e5, 2e5, 1e5])
    flux = level * np.where(np.abs(time - 3.5) < 1.4, 0.988, 1.0)[:, None]
    flux = flux + np.sqrt(flux) * rng.standard_normal(flux.shape)
    centroid = 0.1 * rng.standard_normal((120, 2))

    def instrument(columns):
        values = flux[:, columns]
        return LightCurve(time, values, values, 0 * values, centroid, 0 * time, np.full(values.shape, masked))

    return LightCurves("7", visit, instrument(0), instrument(slice(1, None)), provenance or {})


@pytest.fixture
def task(tmp_path):
    paths = tuple(tmp_path / f"7_{visit}.safetensors" for visit in range(2))
    for visit, path in enumerate(paths):
        save_light_curves(path, make_visit_curves(visit))
    return Task("7", STAR, paths, WAVELENGTH, tmp_path / "estimates" / "7.safetensors")


def same(first, second):
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("depth", "covariance", "orbit", "nuisance"))


def test_the_estimate_from_all_visits_is_stored(task):
    fit_task(task)
    kept = load_estimate(task.kept)
    both = estimate_depths([make_visit_curves(0), make_visit_curves(1)], STAR, np.array(WAVELENGTH))
    np.testing.assert_allclose(kept.depth, both.depth, rtol=1e-9)
    assert {curve.visit for curve in kept.white} == {0, 1} and np.abs(kept.depth - 0.012).max() < 5 * kept.sigma.max()


def test_a_stored_estimate_is_reused_until_an_input_changes(task, monkeypatch):
    fit_task(task)
    fitted = []

    def count(visits, star, wavelength):
        fitted.append(star)
        return estimate_depths(visits, star, wavelength)

    monkeypatch.setattr(planet_fits, "estimate_depths", count)
    fit_task(task)
    assert fitted == []
    for changed in (replace(task, star=replace(STAR, sma=9.3)), replace(task, star=None), replace(task, wavelength=(0.7, 2.0, 2.8, 3.7))):
        fitted.clear()
        fit_task(changed)
        assert fitted == [changed.star]


def test_another_depth_in_a_file_of_the_same_name_size_and_provenance_is_fitted_anew(task):
    """A simulator writes no more into the provenance than its name."""
    first = fit_task(task)
    curves = make_visit_curves(1, provenance=None)
    sizes = [path.stat().st_size for path in task.paths]
    shallow = curves.airs.flux * np.where(np.abs(curves.airs.time - 3.5) < 1.4, 0.994 / 0.988, 1.0)[:, None]
    save_light_curves(task.paths[1], replace(curves, airs=replace(curves.airs, flux=shallow)))
    assert [path.stat().st_size for path in task.paths] == sizes
    second = fit_task(task)
    assert second.source != first.source and not same(second.estimate, first.estimate)
    assert same(load_estimate(task.kept), second.estimate)


def test_an_estimate_that_cannot_be_stored_is_used_and_noted(task, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(planet_fits, "save_estimate", full)
    folder = tmp_path / "lightcurves" / "test"
    folder.mkdir(parents=True)
    for path in task.paths:
        path.rename(folder / path.name)
    (tmp_path / "wavelengths.csv").write_text("wl_1,wl_2,wl_3,wl_4\n" + ",".join(map(str, WAVELENGTH)) + "\n")
    found = fit_planets(Dataset(tmp_path, "test", planets=["7"], scratch=tmp_path / "scratch"))
    assert not found.failures and np.abs(found.fits["7"].estimate.depth - 0.012).max() < 1e-3
    assert "could not be stored" in found.notes["7"] and "No space left" in found.notes["7"]


@pytest.fixture
def dataset(tmp_path):
    """Planets 7, 8 and 9 with two visits each, and a function that cuts the end off a visit's file."""
    root, planets = tmp_path / "data", ("7", "8", "9")
    root.mkdir()
    write_wavelengths(root, np.array(WAVELENGTH))
    write_stars(root, "test", [replace(STAR, planet_id=planet) for planet in planets])
    for n, planet in enumerate(planets):
        for visit in range(2):
            curves = replace(make_visit_curves(10 * n + visit), planet_id=planet, visit=visit)
            save_light_curves(light_curves_path(root / "lightcurves", "test", planet, visit), curves)
    return Dataset(root, planets=planets, scratch=tmp_path / "scratch")


def cut(dataset, planet, visit):
    path = dataset.light_curve_path(planet, visit)
    path.write_bytes(path.read_bytes()[:-50])
    return path


def visits_of(planet_fit):
    return {curve.visit for curve in planet_fit.estimate.white}


@pytest.mark.parametrize("damaged", [0, 1])
@pytest.mark.parametrize("most_visits", [None, 1])
def test_a_damaged_visit_is_left_out_with_a_note_and_the_other_planets_stay_the_same(dataset, tmp_path, damaged, most_visits):
    whole = fit_planets(dataset, most_visits=most_visits)
    path = cut(dataset, "8", damaged)
    found = fit_planets(dataset.with_scratch(tmp_path / "again"), most_visits=most_visits)
    assert list(found.fits) == ["7", "8", "9"] and not found.failures
    assert visits_of(found.fits["8"]) == {1 - damaged} == {curves.visit for curves in found.fits["8"].visits()}
    assert list(found.notes) == ["8"] and f"visit {damaged} is left out: {path}" in found.notes["8"]
    for planet in ("7", "9"):
        assert same(found.fits[planet].estimate, whole.fits[planet].estimate)
        assert (tmp_path / "again" / "estimates" / "test" / f"{planet}.safetensors").read_bytes() == dataset.fit_path(planet).read_bytes()


def test_a_mended_visit_is_fitted_again(dataset):
    path = dataset.light_curve_path("8", 1)
    whole = path.read_bytes()
    cut(dataset, "8", 1)
    assert visits_of(fit_planets(dataset).fits["8"]) == {0}
    assert fit_planets(dataset).notes  # also where the stored fit is used again
    path.write_bytes(whole)
    mended = fit_planets(dataset)
    assert visits_of(mended.fits["8"]) == {0, 1} and not mended.notes


def test_the_reason_names_every_damaged_file(dataset):
    paths = [cut(dataset, "8", visit) for visit in range(2)]
    found = fit_planets(dataset)
    assert list(found.fits) == ["7", "9"] and list(found.failures) == ["8"] and not found.tracebacks
    assert all(f"{path}: expected a safetensors file, found a damaged one" in found.failures["8"] for path in paths)


def test_a_damaged_stored_estimate_is_made_again(dataset):
    whole = fit_planets(dataset)
    kept = dataset.fit_path("8")
    content = kept.read_bytes()
    kept.write_bytes(content[:-50])
    again = fit_planets(dataset)
    assert not again.failures and same(again.fits["8"].estimate, whole.fits["8"].estimate) and kept.read_bytes() == content


@pytest.mark.parametrize("lacking", ["row", "Mp", "P"])
def test_what_the_star_table_lacks_of_one_planet_is_noted_and_the_other_planets_stay_the_same(dataset, tmp_path, lacking):
    whole = fit_planets(dataset)
    star = replace(STAR, planet_id="8", **({} if lacking == "row" else {lacking: np.nan}))
    write_stars(dataset.root, "test", [replace(STAR, planet_id="7"), *([] if lacking == "row" else [star]), replace(STAR, planet_id="9")])
    found = fit_planets(Dataset(dataset.root, planets=dataset.planets, scratch=tmp_path / "again"))
    assert list(found.fits) == ["7", "8", "9"] and list(found.notes) == ["8"] and not found.failures
    if lacking == "row":
        assert found.fits["8"].star is None and "found 0 rows" in found.notes["8"]
    else:
        assert found.fits["8"].star.missing == (lacking,) and found.notes["8"] == f"the star table has no usable {lacking}"
    assert same(found.fits["8"].estimate, whole.fits["8"].estimate) is (lacking == "Mp")
    assert all(same(found.fits[planet].estimate, whole.fits[planet].estimate) for planet in ("7", "9"))


def test_the_failures_of_calibration_are_reported_with_every_visit_and_traceback(dataset, monkeypatch):
    failed = (Failure("8", 0, "no dark", "Traceback A"), Failure("8", 1, "no flat"), Failure("9", 1, "no gain"))
    report = CalibrationReport("test", (("9", 0),), (), failed)
    monkeypatch.setattr(planet_fits, "_calibrate_outdated", lambda *arguments: report)
    found = fit_planets(dataset)
    assert found.failures == {"8": "no dark; no flat"} and found.notes == {"9": "no gain"} and found.tracebacks == {"8": "Traceback A"}
    assert visits_of(found.fits["9"]) == {0}  # its second visit's file is of an earlier calibration


def test_accepted_leaves_out_fits_that_fail_the_checks(dataset):
    found = fit_planets(dataset)
    broken = replace(found.fits["8"].estimate, depth=found.fits["8"].estimate.depth * np.nan)
    fits = replace(found, fits=found.fits | {"8": replace(found.fits["8"], estimate=broken)}, notes={"8": "a note", "9": "other"})
    accepted = fits.accepted()
    assert list(accepted.fits) == ["7", "9"] and accepted.notes == {"9": "other"}
    assert list(accepted.failures) == ["8"] and "not finite" in accepted.failures["8"] and "a note" in accepted.failures["8"]


def test_fully_masked_light_curves_raise_and_store_nothing(task):
    for visit, path in enumerate(task.paths):
        save_light_curves(path, make_visit_curves(visit, masked=True))
    with pytest.raises(ArchiveError, match="usable samples"):
        fit_task(task)
    assert not task.kept.exists()


def test_conditioned_on_changes_every_estimate_and_nothing_else(task):
    fit_task(task)
    estimate = load_estimate(task.kept)
    fits = PlanetFits({name: PlanetFit(estimate, STAR, task.paths) for name in "ab"}, {"c": "why"}, {"a": "note"})

    class Halved:
        def condition(self, estimate):
            return replace(estimate, depth=estimate.depth / 2)

    found = fits.conditioned_on(Halved())
    assert list(found.fits) == ["a", "b"] and (found.failures, found.notes) == ({"c": "why"}, {"a": "note"})
    for planet_fit in found.fits.values():
        assert np.array_equal(planet_fit.estimate.depth, estimate.depth / 2) and planet_fit.star is STAR and planet_fit.paths == task.paths
        assert same(replace(planet_fit.estimate, depth=estimate.depth), estimate)
    assert same(fits.fits["a"].estimate, estimate)
    assert [curves.visit for curves in found.fits["a"].visits()] == [0, 1]
