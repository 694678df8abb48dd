"""Simulated light curves: transit and drift."""

import numpy as np
import pytest

from ariel_lib.simulator.light_curve import Drift, Orbit, airs_drift, draw_drift, fgs1_drift, transit, transit_duration

TIME = np.linspace(0, 7.5, 1500)
NO_DARKENING = np.zeros((1, 2))


def test_transit_depth_of_a_uniform_star_is_the_squared_radius_ratio():
    flux = transit(TIME, 4.4 / 3600, Orbit(100.0, 10.0, 90.0), 3.75, np.array([0.01]), NO_DARKENING)[:, 0]
    assert flux[TIME.searchsorted(3.75)] == pytest.approx(0.99, abs=1e-9)
    assert flux[0] == 1.0


def test_transit_begins_and_ends_at_the_contacts():
    orbit, k = Orbit(100.0, 10.0, 88.0), 0.1
    flux = transit(TIME, 0.001, orbit, 3.75, np.array([k**2]), NO_DARKENING)[:, 0]
    inside = TIME[flux < 1]
    assert inside[-1] - inside[0] == pytest.approx(transit_duration(orbit, k), abs=0.02)


def test_the_flux_is_one_where_the_transit_lies_outside_the_window():
    orbit = Orbit(100.0, 10.0, 90.0)
    assert (transit(TIME, 0.001, orbit, 40.0, np.array([0.01, 0.02]), np.zeros((2, 2))) == 1).all()


def test_the_flux_is_one_where_the_planet_misses_the_disc():
    orbit = Orbit(100.0, 10.0, 80.0)
    assert transit_duration(orbit, 0.1) == 0
    assert (transit(TIME, 0.001, orbit, 3.75, np.array([0.01]), NO_DARKENING) == 1).all()


def test_the_transit_of_a_tiny_planet_has_a_tiny_depth():
    flux = transit(TIME, 0.001, Orbit(100.0, 10.0, 90.0), 3.75, np.array([1e-8]), np.array([[0.3, 0.2]]))
    assert 0 < 1 - flux.min() < 3e-8


def test_transit_averages_over_the_exposure():
    orbit, depth, darkening = Orbit(4.0, 10.0, 89.0), np.array([0.015]), np.array([[0.3, 0.2]])
    time, exposure = np.linspace(0, 0.3, 225), 4.4 / 3600
    fine = np.mean(
        [transit(time + (n - 49.5) / 100 * exposure, 1e-9, orbit, 0.15, depth, darkening) for n in range(100)], axis=0
    )
    np.testing.assert_allclose(transit(time, exposure, orbit, 0.15, depth, darkening), fine, atol=3e-6)


def test_drift_is_one_at_mid_visit_and_cubic_in_time():
    drift = Drift(np.array([1e-3, 2e-3, 3e-3]), np.outer([1e-3, 2e-3, 3e-3], [1.0, 0.0, 0.0]))
    tau, x = np.array([-1.0, 0.0, 1.0]), np.array([-1.0, 1.0])
    np.testing.assert_allclose(fgs1_drift(drift, tau)[:, 0], [0.998, 1.0, 1.006])
    np.testing.assert_allclose(airs_drift(drift, tau, x), np.repeat([[0.998], [1.0], [1.006]], 2, axis=1))


def test_drawn_drifts_are_about_a_tenth_of_a_percent():
    rng, tau = np.random.default_rng(0), np.linspace(-1, 1, 50)
    largest = [np.abs(fgs1_drift(draw_drift(rng), tau) - 1).max() for _ in range(200)]
    assert 5e-4 < np.median(largest) < 2e-3


def light_of_batman(batman, time, exposure, orbit, t0, depth, limb_darkening):
    """What transit returns, from batman (Kreidberg 2015, PASP 127, 1161) at the same points of each exposure."""
    n = max(3, int(np.ceil(1000 * exposure / transit_duration(orbit, np.sqrt(depth.max())))))
    parts = time[:, None] + exposure * ((np.arange(n) + 0.5) / n - 0.5)
    parameters = batman.TransitParams()
    parameters.t0, parameters.per, parameters.a, parameters.inc = t0, orbit.period, orbit.a, orbit.inclination
    parameters.ecc, parameters.w, parameters.limb_dark = 0.0, 90.0, "quadratic"
    flux = []
    for k, u in zip(np.sqrt(depth), limb_darkening, strict=True):
        parameters.rp, parameters.u = float(k), list(u)
        flux.append(batman.TransitModel(parameters, parts.ravel()).light_curve(parameters).reshape(parts.shape).mean(axis=1))
    return np.stack(flux, axis=1)


@pytest.mark.parametrize("impact", [0.0, 0.4, 0.9, 1.05])
def test_the_light_equals_batmans_to_a_tenth_of_a_ppm(impact):
    batman = pytest.importorskip("batman")
    orbit = Orbit(62.0, 12.0, np.degrees(np.arccos(impact / 12.0)))
    time, exposure = np.linspace(0, 7.5, 1200), 4.4 / 3600
    depth, darkening = np.array([0.03, 0.1, 0.2]) ** 2, np.array([[0.0, 0.0], [0.5, 0.2], [0.1, 0.3]])
    expected = light_of_batman(batman, time, exposure, orbit, 3.7, depth, darkening)
    assert expected.min() < 0.999
    assert np.abs(transit(time, exposure, orbit, 3.7, depth, darkening) - expected).max() < 1e-7
