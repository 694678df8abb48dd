"""Circular orbits: symmetry, derivatives, durations."""

import numpy as np
import pytest

from ariel_lib.transit.orbit import orbit_prior, separation, transit_duration


def test_separation_is_smallest_at_t0_and_equals_b():
    time = np.linspace(-2, 2, 401)
    z, _ = separation(time, 0.5, 80.0, np.log(9.0), 0.3**2)
    assert time[np.argmin(z)] == pytest.approx(0.5)
    assert z.min() == pytest.approx(0.3)
    np.testing.assert_allclose(
        separation(0.5 + time, 0.5, 80.0, 2.0, 0.1)[0], separation(0.5 - time, 0.5, 80.0, 2.0, 0.1)[0]
    )


def test_derivatives_equal_finite_differences():
    time, start, step = np.linspace(-3, 3, 61), np.array([np.log(9.0), 0.2, 0.1]), 1e-6

    def z(parameters):
        return separation(time, parameters[2], 80.0, parameters[0], parameters[1])[0]

    _, derivative = separation(time, start[2], 80.0, start[0], start[1])
    for n in range(3):
        shift = step * (np.arange(3) == n)
        np.testing.assert_allclose(
            derivative[:, n], (z(start + shift) - z(start - shift)) / (2 * step), rtol=1e-5, atol=1e-6
        )


def test_the_separation_is_infinite_behind_the_star():
    assert np.isinf(separation(np.array([40.0]), 0.0, 80.0, np.log(9.0), 0.0)[0]).all()


def test_duration_is_from_first_to_fourth_contact_and_zero_without_overlap():
    period, log_a, b_squared, k = 80.0, np.log(9.0), 0.25, 0.1
    half = transit_duration(period, log_a, b_squared, k) / 2
    assert separation(np.array([half]), 0.0, period, log_a, b_squared)[0][0] == pytest.approx(1 + k, rel=1e-3)
    assert transit_duration(period, log_a, (1 + k) ** 2, k) == 0


def test_prior_is_centred_on_the_catalogue_and_loose():
    prior = orbit_prior(3.0, 9.0, 88.0)
    assert np.exp(prior.log_a[0]) == pytest.approx(9.0)
    assert prior.period == 72.0
    b = 9.0 * np.cos(np.radians(88.0))
    half_degree = 9.0 * np.cos(np.radians(87.5))
    assert prior.b_squared[0] == pytest.approx(b**2)
    assert prior.b_squared[1] > 0.8 * (half_degree**2 - b**2)
