"""pipeline.planet_fits: a planet is fitted again only when its inputs change; damaged files are reported."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurve, LightCurves, save_light_curves
from ariel_lib.io.storage import StorageError
from ariel_lib.pipeline import planet_fits
from ariel_lib.pipeline.planet_fits import PlanetFit, PlanetFits, Task, fit_task
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
    save_light_curves(task.paths[1], make_visit_curves(1, provenance={"config": "another"}))
    fitted.clear()
    fit_task(changed)
    assert len(fitted) == 1


def test_a_damaged_visit_is_left_out_of_the_fit(task):
    whole = task.paths[0].read_bytes()
    task.paths[0].write_bytes(whole[:-50])
    fit_task(task)
    assert {curve.visit for curve in load_estimate(task.kept).white} == {1}
    task.paths[0].write_bytes(whole)
    fit_task(task)
    assert {curve.visit for curve in load_estimate(task.kept).white} == {0, 1}


def test_the_error_names_every_damaged_file(task):
    for path in task.paths:
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(StorageError) as caught:
        fit_task(task)
    assert all(f"{path.name}: expected a safetensors file, found a damaged one" in str(caught.value) for path in task.paths)
    assert not task.kept.exists()


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
