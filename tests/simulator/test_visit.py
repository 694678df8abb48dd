"""Simulated visits: scenes and streams of counts; calibration inverts them."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from ariel_lib.calibration.adc import to_electrons
from ariel_lib.calibration.bad_pixels import neutralise, unusable_pixels
from ariel_lib.calibration.cds import difference_reads
from ariel_lib.calibration.dark import subtract_dark
from ariel_lib.calibration.flat import divide_flat
from ariel_lib.calibration.linearity import correct_linearity
from ariel_lib.instrument import ADC_GAIN, ADC_OFFSET, AIRS, FGS1, INSTRUMENTS, spectrum_wavelengths
from ariel_lib.io.layout import Converter
from ariel_lib.simulator import detector
from ariel_lib.simulator.planet import draw_planet
from ariel_lib.simulator.visit import INTEGRATION_TIMES, draw_scenes, read_times, sample_times, stream_counts

CONVERTER = Converter(ADC_GAIN, ADC_OFFSET)


@pytest.fixture(scope="module")
def planet():
    return draw_planet(np.random.default_rng(0), "1", spectrum_wavelengths(), 0.016, 470, (6, 6.1))


@pytest.fixture(scope="module")
def scenes(planet):
    return draw_scenes(np.random.default_rng(1), planet, 0, {FGS1.name: 144, AIRS.name: 12})


def test_read_times_are_those_of_axis_info():
    np.testing.assert_allclose(read_times(AIRS, 4) * 3600, [0.1, 0.2, 4.9, 5.0])
    np.testing.assert_allclose(read_times(FGS1, 4) * 3600, [0.1, 0.2, 0.5, 0.6])
    np.testing.assert_allclose(sample_times(AIRS, 2) * 3600, [2.4, 7.2])


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_calibration_inverts_a_noiseless_scene(scenes, name):
    scene, times = scenes[name], INTEGRATION_TIMES[name]
    maps = detector.draw_calibration_maps(np.random.default_rng(2), scene.instrument)
    light = scene.photon_rate(0, 12)
    charge = detector.accumulate(detector.charge_rate(light, maps), times, None)
    counts = (detector.detect(charge, maps.linearity) - CONVERTER.offset) * CONVERTER.gain  # no floor
    bad = unusable_pixels(maps)
    neutral = neutralise(maps, bad)
    frames = to_electrons(counts.reshape(-1, *bad.shape), CONVERTER, maps.read_noise)
    frames = subtract_dark(
        correct_linearity(frames, neutral.linearity), np.maximum(neutral.dark, 0), np.tile(times, 12)
    )
    frames = divide_flat(difference_reads(frames), neutral.flat, bad)
    expected = light * (times[1] - times[0])
    np.testing.assert_allclose(frames.signal[:, ~bad], expected[:, ~bad], rtol=1e-6)


def test_each_column_has_the_transit_depth_of_its_wavelength(planet):
    flat_star = replace(planet, limb_darkening=np.zeros_like(planet.limb_darkening))
    flat_star = replace(flat_star, orbit=replace(planet.orbit, inclination=90.0), mid_transits=(0.008,))
    no_drift = replace(planet.drifts[0], fgs1=np.zeros(3), airs=np.zeros((3, 3)))
    scenes = draw_scenes(
        np.random.default_rng(1), replace(flat_star, drifts=(no_drift,)), 0, {FGS1.name: 144, AIRS.name: 12}
    )
    first, last = AIRS.crop
    np.testing.assert_allclose(
        1 - scenes[AIRS.name].brightness.min(axis=0)[first:last][::-1], planet.depth[1:], rtol=1e-6
    )
    np.testing.assert_allclose(1 - scenes[FGS1.name].brightness.min(), planet.depth[0], rtol=1e-6)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_counts_have_the_mean_and_variance_of_photon_and_read_noise(scenes, name):
    scene = scenes[name]
    n = len(scene.time)
    constant = replace(scene, brightness=np.ones_like(scene.brightness), basis=np.eye(6)[np.zeros(n, int)])
    maps = detector.draw_calibration_maps(np.random.default_rng(2), scene.instrument)
    counts = np.concatenate(list(stream_counts(constant, maps, CONVERTER, np.random.default_rng(3))))
    assert counts.dtype == np.uint16 and counts.shape == (2 * n, *scene.sky.shape)
    cds = (counts[1::2].astype(float) - counts[::2]) / ADC_GAIN
    rate = detector.charge_rate(constant.photon_rate(0, 1), maps)[0]
    expected = rate * scene.instrument.ramp_time
    dim = expected < 300  # where the detector is linear and gain noise far below photon noise
    assert cds.mean(axis=0)[dim].mean() == pytest.approx(expected[dim].mean(), rel=0.03)
    variance = expected + 2 * (maps.read_noise**2 + ADC_GAIN**-2 / 12)
    ratio = cds.var(axis=0, ddof=1)[dim] / variance[dim]
    assert ratio.mean() == pytest.approx(1.0, abs=0.03)


def test_stream_counts_is_lazy_and_leaves_its_scene_unchanged(scenes):
    scene = scenes[AIRS.name]
    before = scene.images.copy()
    maps = detector.draw_calibration_maps(np.random.default_rng(2), AIRS)
    blocks = list(islice(stream_counts(scene, maps, CONVERTER, np.random.default_rng(3), block=5), 2))
    assert [len(block) for block in blocks] == [10, 10]
    assert (scene.images == before).all()
