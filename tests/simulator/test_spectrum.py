"""Simulated transmission spectra: molecules, haze and cloud."""

import numpy as np
import pytest

from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.simulator.spectrum import draw_spectrum, transmission_spectrum
from ariel_lib.simulator.star import draw_star

WAVELENGTH = spectrum_wavelengths()


def test_the_spectrum_of_a_thick_grey_cloud_is_flat():
    depth = transmission_spectrum(WAVELENGTH, 0.1, 0.001, {"H2O": 1e-6}, haze=1.0, cloud=1.0)
    np.testing.assert_allclose(depth, 0.01, rtol=1e-6)


def test_the_rayleigh_slope_is_minus_four_scale_heights_per_ln_wavelength():
    height = 1e-3
    radius = np.sqrt(transmission_spectrum(WAVELENGTH, 0.1, height, {}, haze=1.0, cloud=0.0))
    slope = (radius[-1] - radius[0]) / np.log(WAVELENGTH[-1] / WAVELENGTH[0])
    assert slope == pytest.approx(-4 * height)  # Lecavelier des Etangs et al. 2008, eq. 2


def test_spectral_features_are_proportional_to_the_scale_height():
    def spread(height):
        return np.sqrt(transmission_spectrum(WAVELENGTH, 0.1, height, {"H2O": 1e-4}, 1.0, 1e-26)).std()

    assert spread(2e-3) == pytest.approx(2 * spread(1e-3))


def test_drawn_spectra_have_the_feature_sizes_of_the_labels():
    rng = np.random.default_rng(2)
    depth = np.array([draw_spectrum(rng, WAVELENGTH, draw_star(rng, "1")) for _ in range(300)])
    assert (depth > 0).all()
    spread = np.percentile(depth[:, 1:].std(axis=1) * 1e6, [25, 50, 75])
    assert 3 < spread[0] < 40 and 20 < spread[1] < 110 and 70 < spread[2] < 280  # labels of 2025: 20, 54, 137 ppm
