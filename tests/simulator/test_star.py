"""Host stars: photon rates and limb darkening."""

import numpy as np
import pytest

from ariel_lib.instrument import airs_wavelengths, spectrum_wavelengths
from ariel_lib.simulator.star import airs_rates, draw_limb_darkening, draw_star, fgs1_rate


def test_the_rates_of_the_reference_star_are_the_measured_ones():
    wavelength = np.array([3.73, 3.32, 2.92, 2.46, 2.13, 1.95])
    measured = np.array([4.3e3, 6.9e3, 11e3, 20e3, 33e3, 23e3])  # measured on planet 342072318
    np.testing.assert_allclose(airs_rates(wavelength, 4798, 6), measured, rtol=0.04)
    assert fgs1_rate(4798, 6) == pytest.approx(2.2e6)


def test_five_magnitudes_are_a_factor_of_a_hundred():
    bright, faint = (airs_rates(airs_wavelengths(), 5500, magnitude) for magnitude in (6, 11))
    np.testing.assert_allclose(bright / faint, 100)


def test_rates_in_the_k_band_do_not_depend_on_temperature_and_hot_stars_are_bluer():
    band = np.array([2.16])
    np.testing.assert_allclose(airs_rates(band, 6500, 8), airs_rates(band, 4500, 8))
    assert fgs1_rate(6500, 8) > 1.5 * fgs1_rate(4500, 8)


def test_drawn_limb_darkening_is_physical_smooth_and_stronger_in_the_visible():
    rng, wavelength = np.random.default_rng(0), spectrum_wavelengths()
    for temperature in (4000, 5500, 7000):
        u1, u2 = draw_limb_darkening(rng, wavelength, temperature).T
        assert (u1 >= 0).all() and (u1 + u2 <= 1).all() and (u1 + 2 * u2 >= -1e-12).all()
        assert np.abs(np.diff(u1[1:])).max() < 1e-3
        assert u1[0] > u1[1:].mean()


def test_drawn_stars_lie_within_the_ranges_of_the_catalogue():
    rng = np.random.default_rng(1)
    for _ in range(200):
        star = draw_star(rng, "7")
        assert 0.65 <= star.Rs <= 2.89 and 4236 <= star.Ts <= 6979 and 2.8 <= star.P <= 7.6
        assert 4.2 <= star.sma <= 20.9 and 75 < star.i <= 90
