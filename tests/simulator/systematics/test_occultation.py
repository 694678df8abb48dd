"""Occultation for limb darkening in any powers of μ: batman is the oracle."""

import numpy as np
import pytest

from ariel_lib.simulator.systematics.occultation import LimbDarkening
from ariel_lib.transit.occultation import relative_flux

Z = np.concatenate([[0.0], np.linspace(0.0, 1.35, 400)])[:, None]
K = np.array([0.03, 0.1, 0.2, 0.3])
LAWS = {
    "power2": np.array([[0.7, 0.6], [0.3, 0.4], [0.1, 0.9], [0.5, 0.5]]),
    "nonlinear": np.array([[0.5, 0.1, 0.2, -0.1], [0.6, -0.2, 0.1, 0.0], [0.1, 0.3, 0.0, 0.1], [0.4, 0.2, -0.2, 0.1]]),
}


def test_the_quadratic_law_is_that_of_the_fits_occultation():
    u1, u2 = np.array([0.0, 0.4, 0.1, 0.5]), np.array([0.0, 0.2, 0.3, 0.1])
    law = LimbDarkening(np.stack([1 - u1 - u2, u1 + 2 * u2, -u2], axis=1), np.tile([0.0, 1.0, 2.0], (4, 1)))
    assert np.abs(law.relative_flux(Z, K) - relative_flux(Z, K, u1, u2)).max() < 1e-7


@pytest.mark.parametrize("law", ["power2", "nonlinear"])
def test_the_light_equals_batmans(law):
    batman = pytest.importorskip("batman")
    coefficients = LAWS[law]
    ours = LimbDarkening.power2(*coefficients.T) if law == "power2" else LimbDarkening.four_parameter(coefficients)
    a, period = 10.0, 100.0
    time = period / (2 * np.pi) * np.arcsin(Z[:, 0] / a)
    parameters = batman.TransitParams()
    parameters.t0, parameters.per, parameters.a, parameters.inc = 0.0, period, a, 90.0
    parameters.ecc, parameters.w, parameters.limb_dark = 0.0, 90.0, law
    for k, u, light in zip(K, coefficients, ours.relative_flux(Z, K), strict=True):
        parameters.rp, parameters.u = float(k), list(u)
        expected = batman.TransitModel(parameters, time, max_err=0.005).light_curve(parameters)
        assert expected.min() < 1 - 0.8 * k**2
        np.testing.assert_allclose(light, expected, atol=2e-7)


def test_the_intensity_is_one_at_the_centre_and_the_whole_disc_darkens_the_star_completely():
    law = LimbDarkening.power2(np.array([0.6]), np.array([0.7]))
    assert law.intensity(np.array([1.0]))[0, 0] == pytest.approx(1.0)
    assert law.relative_flux(np.array([[0.0]]), np.array([1.0]))[0, 0] == pytest.approx(0.0, abs=1e-12)
