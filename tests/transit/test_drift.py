"""The drifts of a population: learned from fits, and worth exactly what a fit under that prior would have given."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit import drift
from ariel_lib.transit.drift import KINDS, DriftPrior, drift_kinds, fit_drift_prior
from ariel_lib.transit.fit import N_PHYSICAL, linearise
from ariel_lib.transit.segments import make_segments


@pytest.fixture(scope="module")
def population(scene):
    rng = np.random.default_rng(0)
    return [scene.fit(rng) for _ in range(30)]


def test_conditioning_equals_a_fit_under_the_prior(scene, problem_of):
    """Both are linear and Gaussian at the same point, so they agree to rounding."""
    problem, point = problem_of(np.random.default_rng(1))
    covariance, coupling, shared = point.covariances()
    step_depth, step_shared = point.step()
    part = slice(N_PHYSICAL + len(problem.segments), None)
    variance = np.full(len(problem.prior_mean[part]), 3e-4**2)
    kinds = np.arange(len(variance))
    estimate = replace(
        scene.fit(np.random.default_rng(1)), depth=point.depth + step_depth, covariance=covariance,
        drift=(point.shared + step_shared)[part], drift_covariance=shared[part, part], drift_coupling=coupling[:, part],
        drift_kind=kinds,
    )  # fmt: skip
    given = DriftPrior(variance).condition(estimate)
    tight = problem.prior_sigma.copy()
    tight[part] = np.sqrt(1 / (1 / variance + 1 / problem.prior_sigma[part] ** 2))
    direct = linearise(replace(problem, prior_sigma=tight), point.depth, point.shared)
    np.testing.assert_allclose(given.covariance, direct.covariances()[0], rtol=1e-6, atol=1e-16)
    np.testing.assert_allclose(given.depth, point.depth + direct.step()[0], rtol=1e-7)


def test_the_population_is_recovered(population):
    # the scene's drift is 1e-3 in each power of time: 2/3 of it in the second Legendre polynomial, 2/5 in the third
    found = np.sqrt(fit_drift_prior(population).variance / drift.WIDENED)
    grey = found[[1, 2, 3 + 4, 3 + 8]]
    assert grey == pytest.approx(1e-3 * np.array([2 / 3, 2 / 5, 2 / 3, 2 / 5]), rel=0.35)
    assert (found[[4, 5, 6]] < 0.2 * found[3]).all()  # it has no colour


def test_knowing_drifts_narrows_honestly(scene, population):
    prior, rng = fit_drift_prior(population), np.random.default_rng(2)
    free = [scene.fit(rng) for _ in range(30)]
    given = [prior.condition(e) for e in free]
    assert all((g.sigma <= f.sigma * (1 + 1e-12)).all() for f, g in zip(free, given))
    z = np.array([(g.depth - scene.depth) / g.sigma for g in given])
    assert 0.8 < np.sqrt(np.mean(z**2)) < 1.15


def test_a_small_population_or_an_unknown_one_changes_nothing(population):
    estimate = population[0]
    assert DriftPrior.unknown().condition(estimate) is estimate
    few = fit_drift_prior(population[: drift.MIN_FITS - 1])
    assert np.isinf(few.variance).all() and len(few.variance) == KINDS
    assert np.isinf(fit_drift_prior([]).variance).all()


def test_every_coefficient_has_its_kind(scene):
    fgs1, airs = make_segments([scene.observe(np.random.default_rng(3))], scene.wavelength)
    assert drift_kinds(fgs1, 1).tolist() == [0, 1, 2]
    assert drift_kinds(airs, 4).tolist() == list(range(3, KINDS))
    assert drift_kinds(airs, 2).tolist() == [3, 4, 7, 8, 11, 12]  # few channels follow fewer polynomials
