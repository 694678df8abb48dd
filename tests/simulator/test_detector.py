"""Detector model: charge, non-linearity, read noise and counts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ariel_lib.instrument import ADC_GAIN, ADC_OFFSET, AIRS, FGS1, FULL_SCALE
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import Converter
from ariel_lib.simulator.detector import (
    DEAD_PIXELS,
    accumulate,
    charge_rate,
    detect,
    digitise,
    draw_calibration_maps,
    read_out,
)

REAL = Path(__file__).parents[2] / "../shared/data/adc2025"
CONVERTER = Converter(ADC_GAIN, ADC_OFFSET)


def true_charge(detected, linearity):
    return sum(coefficient * detected**power for power, coefficient in enumerate(linearity))


@pytest.mark.parametrize("instrument", [FGS1, AIRS], ids=lambda i: i.name)
def test_detect_is_the_inverse_of_the_linearity_polynomial(instrument):
    rng = np.random.default_rng(0)
    maps = draw_calibration_maps(rng, instrument)
    charge = rng.uniform(0, 140e3, (4, instrument.rows, instrument.columns))
    np.testing.assert_allclose(
        true_charge(detect(charge, maps.linearity), maps.linearity), charge, rtol=1e-12, atol=1e-9
    )


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data/adc2025")
@pytest.mark.parametrize("instrument", [FGS1, AIRS], ids=lambda i: i.name)
def test_detect_inverts_real_linearity_maps(instrument):
    linearity = Archive(REAL).calibration_maps("train", "342072318", 0, instrument).linearity
    charge = np.linspace(0, 90e3, 30)[:, None, None] * np.ones(linearity.shape[1:])
    np.testing.assert_allclose(true_charge(detect(charge, linearity), linearity), charge, rtol=1e-9, atol=1e-6)


def test_drawn_calibration_maps_have_the_statistics_of_the_real_ones():
    maps = draw_calibration_maps(np.random.default_rng(1), AIRS)
    assert maps.dead.sum() == DEAD_PIXELS[AIRS.name]
    assert np.median(maps.flat) == pytest.approx(1.014, abs=0.002)
    assert np.median(maps.read_noise) == pytest.approx(13.0, abs=0.3)
    assert np.median(maps.dark) == pytest.approx(0.0063, abs=5e-4) and 1 < maps.dark.max() <= 12
    assert np.abs(maps.flat[maps.dead & (maps.flat < 0.5)]).max() < 0.1


def test_charge_rate_of_a_blind_pixel_is_its_dark_current():
    maps = draw_calibration_maps(np.random.default_rng(1), FGS1)
    maps = replace(maps, flat=np.full_like(maps.flat, -0.01))
    np.testing.assert_allclose(charge_rate(np.full((1, 32, 32), 1e5), maps)[0], np.maximum(maps.dark, 0))


def test_the_second_read_contains_the_charge_of_the_first():
    charge = accumulate(np.full((50, 32, 32), 1000.0), (0.1, 0.2), np.random.default_rng(2))
    first, second = charge[:, 0], charge[:, 1]
    assert (second >= first).all()
    samples = first.size
    for values, mean in ((first, 100.0), (second - first, 100.0), (second, 200.0)):  # Poisson: variance = mean
        assert values.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / samples))
        assert values.var() == pytest.approx(mean, rel=5 * np.sqrt(2 / samples))
    assert np.cov(first.ravel(), second.ravel())[0, 1] == pytest.approx(100.0, rel=0.05)


def test_accumulate_without_a_generator_gives_expected_values():
    charge = accumulate(np.full((1, 1, 1), 10.0), (0.1, 4.5), None)
    np.testing.assert_allclose(charge.ravel(), [1.0, 45.0])


def test_read_out_scatters_by_the_read_noise():
    noise = np.array([[13.0, 30.0]])
    electrons = read_out(np.zeros((20000, 1, 2)), noise, np.random.default_rng(3))
    np.testing.assert_allclose(electrons.std(axis=0), noise, rtol=0.03)


def test_digitise_rounds_down_and_clips_to_16_bits():
    electrons = np.array([-1e6, ADC_OFFSET, 0.0, 1e6])
    assert digitise(electrons, CONVERTER).tolist() == [0, 0, 436, FULL_SCALE]
    counts = digitise(np.linspace(0, 1e5, 1000), CONVERTER)
    back = counts / ADC_GAIN + ADC_OFFSET
    assert (np.linspace(0, 1e5, 1000) - back >= -1e-9).all() and (np.linspace(0, 1e5, 1000) - back < 1 / ADC_GAIN).all()
