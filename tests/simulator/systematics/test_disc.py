"""The star's disc: unocculted spots and limb darkening of a grey atmosphere."""

import numpy as np
import pytest

from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.io.layout import Star
from ariel_lib.simulator.systematics.disc import (
    closest_quadratic,
    contamination,
    darkened_disc,
    draw_disc,
    grey_intensity,
)
from ariel_lib.simulator.systematics.occultation import LimbDarkening
from ariel_lib.transit.limb_darkening import limb_darkening_prior

WAVELENGTH = spectrum_wavelengths()
SUN = Star("1", 1.0, 1.0, 5777.0, 1.0, 0.0, 4.0, 10.0, 88.0)
SPOTS = {"spot_coverage": 0.02, "spot_deficit": 0.25, "facula_coverage": 0.0, "facula_excess": 100.0}
DARK = {"hopf": 0.65, "visible_opacity": 1.0, "infrared_opacity": 0.8}


def test_a_disc_without_its_families_changes_nothing():
    disc = draw_disc(("ramp",), SUN, WAVELENGTH, np.random.default_rng(0))
    assert (disc.depth_factor == 1).all() and disc.limb_darkening is None and disc.parameters == {}


def test_cold_unocculted_spots_deepen_the_transit_most_in_the_visible_and_faculae_the_reverse():
    spots = contamination(WAVELENGTH, 5777.0, SPOTS)
    faculae = contamination(WAVELENGTH, 5777.0, SPOTS | {"spot_coverage": 0.0, "facula_coverage": 0.1})
    assert (spots > 1).all() and (faculae < 1).all()
    assert spots[0] - 1 > 1.5 * (spots[1:] - 1).max() and 1 - faculae[0] > 1.5 * (1 - faculae[1:]).max()
    black = contamination(WAVELENGTH, 5777.0, SPOTS | {"spot_deficit": 0.95})  # dark spots: the depth of a star that is 2 % smaller
    assert black[0] == pytest.approx(1 / 0.98, rel=1e-6)


def test_the_total_intensity_of_a_grey_atmosphere_is_eddingtons():
    """Σ over wavelengths: I(μ) ∝ μ + q, as ∫ (τ + q) e^(−τ/μ) dτ/μ gives."""
    wavelength = np.geomspace(0.05, 300, 6000)
    mu = np.array([0.1, 0.5, 0.8])
    opacity = np.ones(len(wavelength))
    q = 2 / 3
    # intensities relative to the centre, weighted by the centre's energy: B(T) integrates to T⁴
    depth, weight = np.polynomial.laguerre.laggauss(24)
    temperature = 5777.0 * (0.75 * (depth + q)) ** 0.25
    energy = (wavelength[:, None] ** -5 / np.expm1(14387.77 / (wavelength[:, None] * temperature))) @ weight * np.gradient(wavelength)
    relative = energy @ grey_intensity(mu, wavelength, 5777.0, opacity, q) / energy.sum()
    np.testing.assert_allclose(relative, (mu + q) / (1 + q), rtol=2e-3)


@pytest.mark.parametrize("temperature", [4500.0, 5777.0, 6800.0])
@pytest.mark.parametrize("law", [0.5, 1.5])
def test_the_laws_follow_the_atmosphere_and_lie_near_the_fits_tables_without_being_them(temperature, law):
    disc = darkened_disc(WAVELENGTH, temperature, DARK | {"law": law})
    mu = np.linspace(0.1, 1.0, 10)
    expected = grey_intensity(mu, WAVELENGTH[[0]], temperature, np.array([1.0]), 0.65)[0]
    np.testing.assert_allclose(disc.intensity(mu)[0], expected, atol=0.01)
    u = closest_quadratic(disc)
    prior, _ = limb_darkening_prior(temperature)
    fit = 1 - prior[0] * (1 - mu) - prior[1] * (1 - mu) ** 2
    assert 0.005 < np.abs(1 - u[0, 0] * (1 - mu) - u[0, 1] * (1 - mu) ** 2 - fit).max() < 0.12
    airs = disc.intensity(np.array([0.3]))[1:, 0]
    assert (np.diff(airs) > 0).all() and airs[0] > disc.intensity(np.array([0.3]))[0, 0]  # weaker to the infrared


def test_the_closest_quadratic_of_a_quadratic_law_is_itself():
    law = LimbDarkening(np.array([[0.5, 0.7, -0.2]]), np.array([[0.0, 1.0, 2.0]]))
    np.testing.assert_allclose(closest_quadratic(law), [[0.3, 0.2]], atol=1e-12)
