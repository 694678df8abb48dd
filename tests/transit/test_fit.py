"""The linearised fit: its derivatives are the model's, its arrow is the full matrix, its response is that of a refit."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit.fit import B_SQUARED, common_response, linearise, solve_channels


def dense(point):
    return np.block([[np.diag(point.h), point.g], [point.g.T, point.k]])


def test_the_covariances_are_those_of_the_full_matrix(problem_of):
    _, point = problem_of(np.random.default_rng(0))
    full = np.linalg.inv(dense(point))
    n = len(point.h)
    for found, wanted in zip(point.covariances(), (full[:n, :n], full[:n, n:], full[n:, n:])):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9 * np.abs(wanted).max())


def test_the_right_hand_sides_are_the_objectives_slopes(problem_of):
    problem, point = problem_of(np.random.default_rng(1))
    n = len(point.depth)
    slopes = np.concatenate([point.pull_depth, point.pull_shared])
    scale = 1e-3 / np.sqrt(np.diag(dense(point)))
    for parameter in range(len(slopes)):
        sides = []
        for sign in (1, -1):
            values = np.concatenate([point.depth, point.shared])
            values[parameter] += sign * scale[parameter]
            sides.append(linearise(problem, values[:n], values[n:]).objective)
        numeric = -0.25 * (sides[0] - sides[1]) / scale[parameter]  # objective = χ²: its slope is −2 times the pull
        assert numeric == pytest.approx(slopes[parameter], abs=0.02 * np.sqrt(dense(point)[parameter, parameter]), rel=0.02)


def test_common_noise_moves_the_depths_as_a_refit_says(problem_of):
    problem, point = problem_of(np.random.default_rng(2))
    on_depth, on_shared = common_response(problem, point, 1)
    segment, time = problem.segments[1], 130
    flux = segment.flux.copy()
    flux[:, time] += 1e-5
    moved = linearise(replace(problem, segments=(problem.segments[0], replace(segment, flux=flux))), point.depth, point.shared)
    depth, shared = (1e5 * (after - before) for after, before in zip(moved.step(), point.step()))
    np.testing.assert_allclose(depth, on_depth[:, time], rtol=0.02, atol=0.02 * np.abs(depth).max())
    np.testing.assert_allclose(shared, on_shared[:, time], rtol=0.02, atol=0.02 * np.abs(shared).max())


def test_the_impact_parameter_stays_on_the_sky(problem_of, scene):
    problem, point = problem_of(np.random.default_rng(3), star=replace(scene.star, i=90.0), inclination=90.0)
    shared = point.shared.copy()
    shared[B_SQUARED] = 0.0
    _, _, found = solve_channels(problem, point.depth, shared)
    assert found[B_SQUARED] >= 0
