"""Light curves simulated without frames agree with those that calibration extracts from simulated frames."""

import numpy as np
import pytest

from ariel_lib.calibration.pipeline import CalibrationSettings, calibrate_visit
from ariel_lib.instrument import ADC_GAIN, ADC_OFFSET, AIRS, FGS1, INSTRUMENTS, spectrum_wavelengths
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import Converter, light_curves_path
from ariel_lib.io.light_curves import load_light_curves
from ariel_lib.simulator.dataset import draw_planets, write_frames, write_light_curves, write_tables
from ariel_lib.simulator.detector import draw_calibration_maps
from ariel_lib.simulator.photometry import observe
from ariel_lib.simulator.planet import draw_planet
from ariel_lib.simulator.visit import draw_scenes

SAMPLES = {FGS1.name: 1200, AIRS.name: 100}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One short visit, as calibrated frames and as light curves simulated directly."""
    out = tmp_path_factory.mktemp("levels")
    planets = draw_planets(3, {"train": 1, "test": 0}, 25, (7.0, 7.1), None)
    planet = planets[0][2]
    write_tables(out, planets, SAMPLES)
    for write in (write_frames, write_light_curves):
        write(out, "train", planet, 0, SAMPLES, None, np.random.default_rng(4))
    frames = calibrate_visit(Archive(out), "train", planet.planet_id, 0, CalibrationSettings())
    return frames, load_light_curves(light_curves_path(out / "lightcurves", "train", planet.planet_id, 0))


def scatter(series):
    """Scatter from differences of neighbouring samples, insensitive to transit and drift."""
    return np.std(np.diff(series.astype(float), axis=0), axis=0) / np.sqrt(2)


@pytest.mark.parametrize("name", ["fgs1", "airs"])
def test_observe_agrees_with_calibrated_frames_in_flux_and_variances(both, name):
    frames, direct = (getattr(curves, name) for curves in both)
    assert frames.flux.shape == direct.flux.shape and frames.flux.dtype == direct.flux.dtype
    np.testing.assert_allclose(frames.time, direct.time, atol=1e-9)
    error = np.sqrt(direct.variance.mean(axis=0) / len(direct.time))
    residual = (frames.flux.astype(float).mean(axis=0) - direct.flux.astype(float).mean(axis=0)) / error
    assert np.sqrt(np.mean(residual**2)) < 3.0  # both are noisy: √2; FGS1 has excess gain noise
    for variance in ("variance_poisson", "variance_read"):
        ratio = getattr(frames, variance).mean(axis=0) / getattr(direct, variance).mean(axis=0)
        np.testing.assert_allclose(np.median(ratio), 1.0, atol=0.01)
        np.testing.assert_allclose(ratio, 1.0, atol=0.15)


@pytest.mark.parametrize("name", ["fgs1", "airs"])
def test_observe_agrees_with_calibrated_frames_in_scatter(both, name):
    frames, direct = (getattr(curves, name) for curves in both)
    assert np.median(scatter(frames.flux) / scatter(direct.flux)) == pytest.approx(
        1.0, abs=0.12 if name == "fgs1" else 0.03
    )
    white = [series.flux.reshape(len(series.time), -1).sum(axis=1) for series in (frames, direct)]
    assert scatter(white[0]) / scatter(white[1]) == pytest.approx(1.0, abs=0.4)  # 100 samples each
    assert scatter(frames.background) / scatter(direct.background) == pytest.approx(1.0, abs=0.4)


@pytest.mark.parametrize("name", ["fgs1", "airs"])
def test_observe_agrees_with_calibrated_frames_in_the_centroid(both, name):
    frames, direct = (getattr(curves, name).centroid for curves in both)
    assert np.corrcoef(frames[:, 0], direct[:, 0])[0, 1] > 0.95  # one scene, two realisations of the noise
    np.testing.assert_allclose(frames.std(axis=0), direct.std(axis=0), rtol=0.3)  # 100 samples each


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_the_scatter_of_observe_equals_its_stated_variance(name, monkeypatch):
    monkeypatch.setattr("ariel_lib.simulator.optics.GAIN_NOISE", dict.fromkeys(INSTRUMENTS, 0.0))
    monkeypatch.setattr("ariel_lib.simulator.optics.JITTER_RMS", dict.fromkeys(INSTRUMENTS, 0.0))
    rng = np.random.default_rng(5)
    planet = draw_planet(rng, "1", spectrum_wavelengths(), 0.3, 25, (9, 9.1))
    scene = draw_scenes(rng, planet, 0, {FGS1.name: 2700, AIRS.name: 225})[name]
    curve = observe(scene, draw_calibration_maps(rng, INSTRUMENTS[name]), Converter(ADC_GAIN, ADC_OFFSET), rng)
    ratio = scatter(curve.flux) ** 2 / curve.variance.mean(axis=0)
    assert np.mean(ratio) == pytest.approx(1.0, abs=5 * np.sqrt(3 / (len(scene.time) * np.size(ratio))) + 0.01)
