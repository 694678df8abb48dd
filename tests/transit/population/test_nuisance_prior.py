"""The empirical-Bayes nuisance prior: recovered from fits; conditioning on it equals a fit under that prior."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.population import nuisance_prior as module
from ariel_lib.transit.population.nuisance_prior import NuisancePrior, fit_nuisance_prior
from ariel_lib.transit.result import B_SQUARED_KIND, KINDS, LOG_A_KIND, Flag, drift_kinds
from ariel_lib.transit.segments import TREND_ORDER, make_segments, with_cosines
from ariel_lib.transit.tangent import B_SQUARED, DRIFT_PRIOR, LOG_A, N_PHYSICAL

SMA_ERROR = 0.03  # of the catalogue; the fit's own prior has 0.1


def fit_with_a_rough_catalogue(scene, rng):
    listed = replace(scene.star, sma=scene.star.sma * np.exp(SMA_ERROR * rng.standard_normal()))
    return estimate_depths([scene.observe(rng)], listed, scene.wavelength)


@pytest.fixture(scope="module")
def fits(scene):
    rng = np.random.default_rng(0)
    return [fit_with_a_rough_catalogue(scene, rng) for _ in range(40)]


def test_conditioning_equals_a_fit_under_the_prior(scene, problem_of, monkeypatch):
    """Both are linear and Gaussian at the same point, so they agree to rounding."""
    monkeypatch.setattr(module, "SCALE_WEIGHTS", np.array([1.0, *np.full(len(module.SCALES) - 1, 1e-300)]))
    monkeypatch.setattr(module, "UNCONSTRAINED", 1.0)
    estimate = scene.fit(np.random.default_rng(1))
    problem, point = problem_of(np.random.default_rng(1))
    covariance, coupling, shared = point.covariances()
    step_depth, step_shared = point.step()
    part = np.r_[N_PHYSICAL + len(problem.segments) : len(problem.prior_mean), LOG_A, B_SQUARED]
    unit, kinds = problem.prior_sigma[part], np.concatenate([*map(drift_kinds, problem.segments), [LOG_A_KIND, B_SQUARED_KIND]])
    estimate = replace(
        estimate, depth=point.depth + step_depth, covariance=covariance, nuisance_kind=kinds,
        nuisance=(point.shared + step_shared - problem.prior_mean)[part] / unit,
        nuisance_covariance=shared[np.ix_(part, part)] / np.outer(unit, unit), nuisance_coupling=coupling[:, part] / unit,
    )  # fmt: skip
    root = np.tril(np.random.default_rng(2).normal(0, 0.1, (KINDS, KINDS)), -1) + np.diag(np.linspace(0.03, 0.9, KINDS))
    root[LOG_A_KIND:, :LOG_A_KIND] = 0
    prior = root @ root.T
    conditioned = NuisancePrior(prior).condition(estimate)
    weaker = np.diag(1 / problem.prior_sigma**2)
    stronger = weaker.copy()
    stronger[np.ix_(part, part)] = np.linalg.inv(prior[np.ix_(kinds, kinds)] * np.outer(unit, unit))
    direct = replace(
        point, shared_precision=point.shared_precision + stronger - weaker,
        shared_rhs=point.shared_rhs + (stronger - weaker) @ (problem.prior_mean - point.shared),
    )  # fmt: skip
    np.testing.assert_allclose(conditioned.covariance, direct.covariances()[0], rtol=1e-5, atol=1e-15)
    np.testing.assert_allclose(conditioned.depth, point.depth + direct.step()[0], rtol=1e-6)


def test_the_covariance_of_the_population_is_recovered(fits):
    prior = fit_nuisance_prior(fits).covariance
    found = np.sqrt(np.diag(prior))
    # the simulated drift is 1e-3 in each power of time: 2/3 of it in the second Legendre polynomial, 2/5 in the third
    grey = DRIFT_PRIOR[[1, 2, 1, 2]] * found[[1, 2, TREND_ORDER + 4, TREND_ORDER + 8]]
    assert grey == pytest.approx(1e-3 * np.array([2 / 3, 2 / 5, 2 / 3, 2 / 5]), rel=0.35)
    assert (found[TREND_ORDER + 1 : TREND_ORDER + 4] < 0.3 * found[TREND_ORDER]).all()  # the drift is achromatic
    assert found[LOG_A_KIND] == pytest.approx(SMA_ERROR / 0.1, rel=0.4)
    assert found[B_SQUARED_KIND] < 0.5  # the listed inclination is exact, which these fits constrain weakly


def test_a_population_of_cubics_has_no_cosines(fits):
    function, cubic = module.FUNCTION, fit_nuisance_prior(fits, functions=3).covariance
    assert not cubic[function >= 3].any() and (np.diag(cubic)[function < 3] > 0).all()
    conditioned = [[prior.condition(fit) for fit in fits] for prior in (NuisancePrior(cubic), fit_nuisance_prior(fits))]
    free, held = (np.array([fit.depth[1:].mean() for fit in fits]) for fits in conditioned)  # their drifts are cubics
    assert np.std(free - held) < 0.5 * np.mean([fit.sigma[1:].mean() for fit in conditioned[0]])


def test_conditioning_reduces_sigma_and_the_errors_stay_calibrated(scene, fits):
    population, rng = fit_nuisance_prior(fits), np.random.default_rng(2)
    free = [fit_with_a_rough_catalogue(scene, rng) for _ in range(30)]
    conditioned = [population.condition(e) for e in free]
    assert all((c.sigma <= f.sigma * (1 + 1e-12)).all() for f, c in zip(free, conditioned))
    z = np.array([(c.depth - scene.depth) / c.sigma for c in conditioned])
    assert 0.8 < np.sqrt(np.mean(z**2)) < 1.15


def drawn_from(estimate, population, rng, size=1.0):
    """The fit with nuisance parameters drawn from a population, drifts times size: the posterior mean of draw and noise."""
    values, vectors = np.linalg.eigh(estimate.nuisance_covariance)
    kept, kind = values < module.UNCONSTRAINED, estimate.nuisance_kind
    values, vectors = values[kept], vectors[:, kept]
    root = np.linalg.cholesky(population[np.ix_(kind, kind)] + 1e-12 * np.eye(len(kind)))
    true = root @ rng.standard_normal(len(kind)) * np.where(kind < LOG_A_KIND, size, 1.0)
    measured = vectors.T @ true + np.sqrt(values / (1 - values)) * rng.standard_normal(len(values))
    return replace(estimate, nuisance=vectors @ ((1 - values) * measured))


def test_drifts_of_the_population_are_flagged_at_most_at_the_stated_rate_and_much_larger_ones_always(fits):
    population, rng = fit_nuisance_prior(fits), np.random.default_rng(6)

    def flagged(size):
        return Flag.UNUSUAL_DRIFT in population.condition(drawn_from(fits[0], population.covariance, rng, size)).flags

    assert sum(flagged(1) for _ in range(100)) <= 1  # expected: less than 0.1
    assert sum(flagged(10) for _ in range(10)) == 10


def test_one_fit_that_is_not_finite_or_an_outlier_hardly_changes_the_prior(fits):
    broken, wild = (replace(fits[0], nuisance=np.full_like(fits[0].nuisance, value)) for value in (np.nan, 40.0))
    among, without = (np.diag(fit_nuisance_prior(some).covariance) for some in ([*fits, broken, wild], fits))
    assert (among < 2 * without + 0.02).all()


def test_an_outlying_parameter_keeps_the_prior_of_the_fit(fits):
    population, estimate = fit_nuisance_prior(fits), fits[0]
    far = estimate.nuisance.copy()
    far[estimate.nuisance_kind == LOG_A_KIND] = 20.0  # a catalogue value wrong by a large factor
    conditioned = population.condition(replace(estimate, nuisance=far))
    other = population.covariance.copy()
    other[LOG_A_KIND, LOG_A_KIND] = 1.0
    free = NuisancePrior(other).condition(replace(estimate, nuisance=far))
    np.testing.assert_array_equal(conditioned.depth, free.depth)


def test_a_planet_without_a_listed_orbit_has_no_orbit_among_its_nuisance_parameters(scene, fits):
    rng = np.random.default_rng(3)
    estimate = estimate_depths([scene.observe(rng)], None, scene.wavelength)
    assert not {LOG_A_KIND, B_SQUARED_KIND} & set(estimate.nuisance_kind.tolist())
    assert np.isfinite(fit_nuisance_prior(fits).condition(estimate).depth).all()


def test_a_small_population_gives_the_prior_of_the_fit(fits):
    estimate = fits[0]
    assert NuisancePrior.unknown().condition(estimate).depth is estimate.depth
    few = fit_nuisance_prior(fits[: module.MIN_FITS - 1])
    assert np.array_equal(few.covariance, np.eye(KINDS)) and np.array_equal(fit_nuisance_prior([]).covariance, np.eye(KINDS))


def test_a_known_population_is_updated_by_new_visits_and_kept_where_they_say_nothing(scene, monkeypatch):
    monkeypatch.setattr(module, "EM_ITERATIONS", 30)
    rng, estimate, linear = np.random.default_rng(7), scene.fit(np.random.default_rng(1)), [0, TREND_ORDER]
    true = np.where(np.arange(KINDS) < LOG_A_KIND, 1e-6, 1e-2)
    true[linear] = 1e-2
    fits = [drawn_from(estimate, np.diag(true), rng) for _ in range(40)]
    small = true.copy()
    small[linear] /= 100
    known = NuisancePrior(np.diag(small))
    assert fit_nuisance_prior(fits[: module.MIN_FITS - 1], known=known) is known
    wild = replace(fits[0], nuisance=np.where(estimate.nuisance_kind < LOG_A_KIND, 1e4, fits[0].nuisance))
    updated, among = (np.diag(fit_nuisance_prior(some, known=known).covariance)[linear] for some in (fits, [*fits, wild]))
    assert (updated > 0.3 * true[linear]).all() and (updated < 1.2 * true[linear]).all()
    np.testing.assert_allclose(among, updated, rtol=0.2)
    blind = replace(estimate, nuisance=0 * estimate.nuisance, nuisance_covariance=np.eye(len(estimate.nuisance)))
    kept = fit_nuisance_prior([blind] * module.MIN_FITS, known=known).covariance[:LOG_A_KIND, :LOG_A_KIND]
    np.testing.assert_allclose(kept, known.covariance[:LOG_A_KIND, :LOG_A_KIND], atol=1e-7)


def test_every_drift_coefficient_has_its_kind(scene):
    fgs1, airs = map(with_cosines, make_segments([scene.observe(np.random.default_rng(3))], scene.wavelength))
    assert drift_kinds(fgs1).tolist() == list(range(TREND_ORDER))
    assert drift_kinds(airs).tolist() == list(range(TREND_ORDER, LOG_A_KIND))
    few = drift_kinds(replace(airs, channels=airs.channels[:1]))  # fewer channels than polynomials
    assert few[:4].tolist() == [TREND_ORDER + n for n in (0, 4, 8, 12)]
