"""ariel_lib.transit.physical_priors, and what a fit makes of them: the posterior of the shared parameters, fixed ones, flags."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.limb_darkening import limb_darkening_prior
from ariel_lib.transit.orbit import orbit_prior
from ariel_lib.transit.physical_priors import (
    FIXED,
    LARGEST_CIRCULAR,
    UNKNOWN_ORBIT,
    UNKNOWN_TEMPERATURE,
    catalogue_priors,
)
from ariel_lib.transit.result import NOT_KNOWN, Flag, load_estimate, save_estimate
from ariel_lib.transit.search import STRETCHES, allowed_stretches
from ariel_lib.transit.tangent import B_SQUARED, LOG_A, N_PHYSICAL

T0 = 3.7


@pytest.fixture(scope="module")
def repeats(scene):
    """Fits of one transit under catalogues whose a/Rs errs as its prior says."""
    rng, found = np.random.default_rng(20), []
    for _ in range(40):
        listed = replace(scene.star, sma=scene.star.sma * np.exp(0.1 * rng.standard_normal()))
        found.append(estimate_depths([scene.observe(rng, t0=T0)], listed, scene.wavelength))
    return found


def test_the_star_table_gives_the_priors_and_no_star_gives_wide_ones(scene):
    known, unknown = catalogue_priors(scene.star), catalogue_priors(None)
    assert known.orbit == orbit_prior(scene.star.P, scene.star.sma, scene.star.i) and known.is_catalogue
    np.testing.assert_array_equal(known.limb_darkening, limb_darkening_prior(scene.star.Ts))
    assert unknown.orbit == UNKNOWN_ORBIT and not unknown.is_catalogue


def test_what_the_star_table_lacks_is_unknown_and_the_rest_is_used(scene):
    star, known = scene.star, catalogue_priors(scene.star)
    for name in ("e", "Mp", "Ms", "Rs"):
        assert catalogue_priors(replace(star, **{name: np.nan})).orbit == known.orbit
    assert catalogue_priors(replace(star, e=np.nan)).is_catalogue
    np.testing.assert_array_equal(catalogue_priors(replace(star, Ts=np.nan)).limb_darkening, limb_darkening_prior(UNKNOWN_TEMPERATURE))
    without = {name: catalogue_priors(replace(star, **{name: np.nan})) for name in ("P", "sma", "i")}
    assert without["P"].orbit == replace(UNKNOWN_ORBIT, b_squared=known.orbit.b_squared)
    assert without["sma"].orbit == replace(UNKNOWN_ORBIT, period=known.orbit.period)
    assert without["i"].orbit == replace(known.orbit, b_squared=UNKNOWN_ORBIT.b_squared)
    assert not any(priors.is_catalogue for priors in without.values())


@pytest.mark.parametrize("impact", [0.97, 1.05, 1.1, 1.15, 2.0, 5.0])
def test_a_catalogue_orbit_that_hardly_or_never_transits_still_gives_the_depth(scene, impact):
    """The planet's own impact parameter is 0.31."""
    star = replace(scene.star, i=float(np.degrees(np.arccos(impact / scene.star.sma))))
    estimate = estimate_depths([scene.observe(np.random.default_rng(1))], star, scene.wavelength)
    miss = np.average(estimate.depth - scene.depth, weights=estimate.sigma_uncorrelated**-2)
    assert abs(miss) < 3 * np.sqrt(estimate.covariance.mean()) and estimate.covariance.mean() < 4e-4**2
    assert estimate.flags == ((Flag.ORBIT_UNKNOWN,) if impact > 1.12 else ())


def test_shared_parameters_scatter_as_their_covariance_says(scene, repeats):
    log_a = np.array([(e.orbit[LOG_A] - np.log(scene.star.sma)) / np.sqrt(e.physical_covariance[LOG_A, LOG_A]) for e in repeats])
    t0 = np.array([[(w.t0 - T0) / np.sqrt(e.physical_covariance[n, n]) for n, w in enumerate(e.white, N_PHYSICAL)] for e in repeats])
    assert 0.5 < np.sqrt(np.mean(log_a**2)) < 1.3  # the catalogue's inclination is right, and limb darkening is within half its prior
    assert 0.75 < np.sqrt(np.mean(t0**2)) < 1.3


@pytest.mark.parametrize(("name", "index"), [("log_a", LOG_A), ("b_squared", B_SQUARED)])
def test_what_is_fixed_moves_the_rest_as_the_joint_covariance_says(scene, name, index):
    """Gaussian conditioning: fixing p at p̂ + δ moves depths and the other shared parameters by C V⁻¹ δ, up to noise that the fit finds
    common to all wavelengths."""
    curves, priors = scene.observe(np.random.default_rng(23), level=25 * scene.level), catalogue_priors(scene.star)
    free = estimate_depths([curves], scene.star, scene.wavelength, priors)
    variance = free.physical_covariance[index, index]
    shift = 0.5 * np.sqrt(variance)
    orbit = replace(priors.orbit, **{name: (free.orbit[index] + shift, FIXED)})
    fixed = estimate_depths([curves], scene.star, scene.wavelength, replace(priors, orbit=orbit))
    expected = free.physical_coupling[:, index] * shift / variance
    np.testing.assert_allclose(fixed.depth - free.depth, expected, atol=0.1 * np.abs(expected).max())
    expected = free.physical_covariance[:N_PHYSICAL, index] * shift / variance
    sigma = np.sqrt(np.diag(free.physical_covariance)[:N_PHYSICAL])
    np.testing.assert_allclose((fixed.orbit - free.orbit) / sigma, expected / sigma, atol=0.05)
    assert np.abs(np.delete(expected / sigma, index)).max() > 0.4  # a/Rs and b are tied


def test_joint_covariance_has_no_negative_direction(repeats):
    e = repeats[0]
    joint = np.block([[e.covariance, e.physical_coupling], [e.physical_coupling.T, e.physical_covariance]])
    scale = np.sqrt(np.diag(joint))
    assert len(joint) == len(e.depth) + N_PHYSICAL + len(e.white)
    assert np.linalg.eigvalsh(joint / np.outer(scale, scale)).min() > 0


def test_covariance_of_the_orbit_survives_the_disk_and_not_a_condition(repeats, tmp_path, make_checkpoint):
    save_estimate(tmp_path / "e.safetensors", repeats[0], "source")
    again = load_estimate(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(again.physical_covariance, repeats[0].physical_covariance)
    np.testing.assert_array_equal(again.physical_coupling, repeats[0].physical_coupling)
    corrections = make_checkpoint()[0].corrections
    for correction in (corrections.nuisance_prior, corrections.bias):
        assert correction.condition(repeats[0]).physical_covariance is NOT_KNOWN
        assert correction.condition(repeats[0]).physical_coupling is NOT_KNOWN
    save_estimate(tmp_path / "e.safetensors", corrections.condition(repeats[0]), "source")
    assert load_estimate(tmp_path / "e.safetensors").physical_covariance.size == 0


def test_trial_durations_follow_the_prior():
    assert allowed_stretches(orbit_prior(3.0, 9.0, 88.0).log_a[1]) == STRETCHES
    assert allowed_stretches(UNKNOWN_ORBIT.log_a[1]) == STRETCHES
    assert allowed_stretches(FIXED) == (1.0,)


@pytest.mark.parametrize(("eccentricity", "flagged"), [(0.0, False), (LARGEST_CIRCULAR, False), (0.011, True), (0.4, True)])
def test_an_eccentric_star_is_flagged_and_nothing_else_changes(scene, eccentricity, flagged):
    curves = scene.observe(np.random.default_rng(21))
    circular = estimate_depths([curves], scene.star, scene.wavelength)
    found = estimate_depths([curves], replace(scene.star, e=eccentricity), scene.wavelength)
    assert (Flag.ECCENTRIC in found.flags) == flagged
    np.testing.assert_array_equal(found.covariance, circular.covariance)
    np.testing.assert_array_equal(found.depth, circular.depth)


def test_population_corrections_keep_off_an_orbit_that_was_given(scene):
    curves, catalogue = scene.observe(np.random.default_rng(22)), catalogue_priors(scene.star)
    usual = estimate_depths([curves], scene.star, scene.wavelength, catalogue)
    given = estimate_depths([curves], scene.star, scene.wavelength, replace(catalogue, is_catalogue=False))
    assert len(usual.nuisance) == len(given.nuisance) + 2
    np.testing.assert_array_equal(usual.depth, given.depth)
