"""Bump detection in bands with a known transit: false alarms, detection and classification by colour."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit.bumps.bump import find_bump
from ariel_lib.transit.bumps.search import Band

TIME = np.arange(0, 7.5, 1 / 20)  # h
WAVELENGTHS = (0.7, 2.1, 2.4, 2.7, 3.0, 3.3, 3.7)
SIGMAS = 1e-6 * np.array([150, 78, 100, 130, 170, 210, 268]) / np.sqrt(3)  # 78–268 ppm a minute
DURATION = 2.5
BASELINE = np.stack([np.ones_like(TIME), TIME / 7.5, (TIME / 7.5) ** 2])
FREE = np.zeros(3 * len(WAVELENGTHS))  # no prior on any band's baseline


def make_bands(rng, *, amplitude=0.0, slope=0.0, red_noise=0.0, width=0.2, excess=1.0, noisy=slice(None)):
    """Seven bands with a bump A (λ/2.4)^−β at a random time, quadratic drift, and red noise with a correlation time of half an
    hour common to the bands `noisy`."""
    centre = rng.uniform(0.5, 7.0)
    steps = rng.standard_normal(len(TIME))
    decay = np.exp(-1 / 10)
    common = np.zeros(len(TIME))
    for n in range(1, len(TIME)):
        common[n] = decay * common[n - 1] + np.sqrt(1 - decay**2) * steps[n]
    amplitudes = np.zeros(len(WAVELENGTHS))
    amplitudes[noisy] = red_noise
    bands = []
    for n, (wavelength, sigma) in enumerate(zip(WAVELENGTHS, SIGMAS)):
        bump = amplitude * (wavelength / 2.4) ** -slope * np.exp(-0.5 * ((TIME - centre) / width) ** 2)
        drift = 1e-3 * rng.standard_normal(3) @ BASELINE
        residual = bump + drift + amplitudes[n] * common + excess * sigma * rng.standard_normal(len(TIME))
        design = np.zeros((len(FREE), len(TIME)))
        design[3 * n : 3 * n + 3] = BASELINE
        # the sampling of FGS1 is offset by one second
        time = TIME + (1 / 3600 if n == 0 else 0)
        bands.append(Band(wavelength, time, residual, np.full(len(TIME), sigma**-2), np.ones(len(TIME)), design))
    return bands, centre


def run(trials, seed, **options):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(trials):
        bands, centre = make_bands(rng, **options)
        found.append((find_bump(bands, FREE, DURATION), centre))
    return found


def test_white_noise_gives_almost_no_false_detections():
    assert sum(bump.exists for bump, _ in run(50, 0)) <= 1
    assert sum(bump.exists for bump, _ in run(25, 1, excess=2.0)) <= 1  # noise twice the propagated sigma


def test_achromatic_bumps_are_detected_at_their_time_and_classified():
    found = run(40, 2, amplitude=1e-4)
    assert np.mean([bump.exists for bump, _ in found]) >= 0.95
    assert np.mean([bump.achromatic for bump, _ in found]) >= 0.9
    assert np.median([abs(bump.time - centre) for bump, centre in found]) < 0.1
    assert np.median([bump.amplitude for bump, _ in found]) == pytest.approx(1e-4, rel=0.15)


def test_spots_are_classified_as_chromatic():
    found = run(40, 3, amplitude=4e-4, slope=0.7)
    assert np.mean([bump.chromatic for bump, _ in found]) >= 0.95


@pytest.mark.parametrize("noisy", [slice(None), slice(0, 1), slice(1, None)], ids=["common", "FGS1", "AIRS"])
def test_red_noise_is_not_detected_as_a_bump(noisy):
    assert sum(bump.exists for bump, _ in run(40, 4, red_noise=1e-4, noisy=noisy)) <= 1


def test_red_noise_lowers_the_significance_of_a_bump():
    without, with_noise = run(30, 7, amplitude=3e-4), run(30, 7, amplitude=3e-4, red_noise=1e-4)
    assert np.median([bump.gain for bump, _ in with_noise]) < 0.5 * np.median([bump.gain for bump, _ in without])


def test_a_spot_is_classified_as_chromatic_in_achromatic_red_noise():
    assert np.mean([bump.chromatic for bump, _ in run(40, 8, amplitude=4e-4, slope=0.7, red_noise=5e-5)]) >= 0.95


def test_a_bump_in_the_design_matrix_is_not_detected():
    bands, _ = make_bands(np.random.default_rng(5))
    shape = np.exp(-0.5 * ((TIME - 4) / 0.2) ** 2)
    with_shape = [replace(b, residual=b.residual + 1e-2 * shape, design=np.vstack([b.design, shape])) for b in bands]
    assert not find_bump(with_shape, np.append(FREE, 0.0), DURATION).exists


def test_a_dip_is_not_detected_as_a_bump():
    assert not any(bump.exists for bump, _ in run(20, 6, amplitude=-1e-4))
    assert not any(bump.exists for bump, _ in run(10, 6, amplitude=-5e-4, slope=1.0))
