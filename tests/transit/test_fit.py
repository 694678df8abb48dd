"""The linearised fit: block covariances equal the dense inverse, right-hand sides the objective's gradient, responses a refit."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit.fit import common_response, linearise, solve_channels
from ariel_lib.transit.tangent import B_SQUARED


def dense(point):
    return np.block([[np.diag(point.depth_precision), point.coupling], [point.coupling.T, point.shared_precision]])


def test_the_covariances_are_those_of_the_dense_matrix(problem_of):
    _, point = problem_of(np.random.default_rng(0))
    full = np.linalg.inv(dense(point))
    n = len(point.depth)
    for found, wanted in zip(point.covariances(), (full[:n, :n], full[:n, n:], full[n:, n:])):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9 * np.abs(wanted).max())


def test_the_right_hand_sides_are_the_gradient_of_the_objective(problem_of):
    problem, point = problem_of(np.random.default_rng(1))
    n = len(point.depth)
    slopes = np.concatenate([point.depth_rhs, point.shared_rhs])
    scale = 1e-3 / np.sqrt(np.diag(dense(point)))
    for parameter in range(len(slopes)):
        sides = []
        for sign in (1, -1):
            values = np.concatenate([point.depth, point.shared])
            values[parameter] += sign * scale[parameter]
            sides.append(linearise(problem, values[:n], values[n:]).objective)
        numeric = -0.25 * (sides[0] - sides[1]) / scale[parameter]  # objective = χ²: its gradient is −2 times the right-hand side
        assert numeric == pytest.approx(slopes[parameter], abs=0.02 * np.sqrt(dense(point)[parameter, parameter]), rel=0.02)


def test_the_common_response_equals_the_change_of_a_refit(problem_of):
    problem, point = problem_of(np.random.default_rng(2))
    on_depth, on_shared = common_response(problem, point, 1)
    segment, time = problem.segments[1], 130
    flux = segment.flux.copy()
    flux[:, time] += 1e-5
    moved = linearise(replace(problem, segments=(problem.segments[0], replace(segment, flux=flux))), point.depth, point.shared)
    depth, shared = (1e5 * (after - before) for after, before in zip(moved.step(), point.step()))
    np.testing.assert_allclose(depth, on_depth[:, time], rtol=0.02, atol=0.02 * np.abs(depth).max())
    np.testing.assert_allclose(shared, on_shared[:, time], rtol=0.02, atol=0.02 * np.abs(shared).max())


def test_the_squared_impact_parameter_does_not_become_negative(problem_of, scene):
    problem, point = problem_of(np.random.default_rng(3), star=replace(scene.star, i=90.0), inclination=90.0)
    shared = point.shared.copy()
    shared[B_SQUARED] = 0.0
    _, _, found = solve_channels(problem, point.depth, shared)
    assert found[B_SQUARED] >= 0
