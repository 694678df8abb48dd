"""Simulated planets: drawn parameters are consistent with one another and with the length of a visit."""

import numpy as np
import pytest

from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.io.layout import Star
from ariel_lib.simulator.light_curve import transit_duration
from ariel_lib.simulator.planet import draw_planet

WAVELENGTH = spectrum_wavelengths()


def draw(seed, compression=1, **fixed):
    return draw_planet(np.random.default_rng(seed), "5", WAVELENGTH, 7.5 / compression, compression, (6, 11), **fixed)


@pytest.mark.parametrize("compression", [1, 25])
def test_the_whole_transit_lies_within_the_visit(compression):
    for seed in range(100):
        planet = draw(seed, compression)
        half = 0.5 * transit_duration(planet.orbit, float(np.sqrt(planet.depth.max())))
        for t0 in planet.mid_transits:
            assert half < t0 < 7.5 / compression - half
        assert half <= 0.35 * 7.5 / compression + 1e-9


def test_compression_shortens_the_period_also_in_the_catalogue():
    long, short = draw(3), draw(3, 25)
    assert short.orbit.period == pytest.approx(long.orbit.period / 25)
    np.testing.assert_allclose(24 * short.catalogue.P, short.orbit.period)
    assert short.orbit.a == long.orbit.a


def test_a_label_and_its_star_are_kept():
    depth, star = np.full(len(WAVELENGTH), 0.02), Star("9", 1.2, 1.1, 5800.0, 1.0, 0.0, 4.0, 9.0, 88.0)
    planet = draw(0, depth=depth, star=star)
    assert (planet.depth == depth).all()
    assert planet.orbit.a == 9.0 and planet.orbit.inclination == pytest.approx(88.0)
    assert planet.catalogue.Rs == 1.2 and planet.planet_id == "5"
    assert 0 < abs(planet.catalogue.i - 88.0) <= 0.5


def test_a_grazing_catalogue_orbit_becomes_a_full_transit():
    star = Star("9", 1.2, 1.1, 5800.0, 1.0, 0.0, 4.0, 14.0, 85.5)  # b = 1.1
    assert draw(0, depth=np.full(len(WAVELENGTH), 0.01), star=star).orbit.impact < 0.9


def test_one_planet_in_five_has_a_second_visit():
    visits = np.array([draw(seed).n_visits for seed in range(300)])
    assert set(visits) == {1, 2}
    assert abs((visits == 2).mean() - 0.2) < 4 * np.sqrt(0.16 / 300)
