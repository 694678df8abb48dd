"""The transit fit: unbiased depths, a covariance equal to the scatter of repeated visits, and flags for unusual planets."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from ariel_lib.errors import ArchiveError
from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.result import load_estimate, save_estimate


def z_scores(estimate, depth):
    return (estimate.depth - depth) / estimate.sigma


def white_light(estimate, depth):
    """Error of the mean AIRS depth and its standard deviation from the covariance."""
    share = estimate.sigma_uncorrelated[1:] ** -2 / np.sum(estimate.sigma_uncorrelated[1:] ** -2)
    return share @ (estimate.depth - depth)[1:], np.sqrt(share @ estimate.covariance[1:, 1:] @ share)


def test_depths_are_unbiased_and_their_covariance_matches_the_scatter_of_repeats(scene):
    rng = np.random.default_rng(0)
    estimates = [scene.fit(rng) for _ in range(40)]
    z = np.array([z_scores(e, scene.depth) for e in estimates])
    assert 0.85 < np.sqrt(np.mean(z**2)) < 1.15
    assert np.abs(z.mean(axis=0)).max() < 4 / np.sqrt(40)
    mahalanobis = [(e.depth - scene.depth) @ np.linalg.solve(e.covariance, e.depth - scene.depth) for e in estimates]
    expected = len(scene.depth)
    assert abs(np.mean(mahalanobis) - expected) < 4 * np.sqrt(2 * expected / 40)
    assert not any(e.flags for e in estimates)


def test_errors_of_different_bins_are_partly_correlated(scene):
    estimate = scene.fit(np.random.default_rng(1))
    correlation = estimate.covariance / np.outer(estimate.sigma, estimate.sigma)
    off = correlation[1:, 1:][~np.eye(12, dtype=bool)]
    assert 0 < off.mean() < 1
    assert np.linalg.eigvalsh(estimate.covariance).min() > 0


def test_a_second_visit_reduces_sigma(scene):
    rng = np.random.default_rng(2)
    visits = [scene.observe(rng), scene.observe(rng, t0=3.2, visit=1)]
    one, two = estimate_depths(visits[:1], scene.star, scene.wavelength), estimate_depths(visits, scene.star, scene.wavelength)
    ratio = two.sigma / one.sigma
    assert 0.55 < np.median(ratio) < 0.85
    assert np.abs(z_scores(two, scene.depth)).max() < 4.5
    assert len({w.t0 for w in two.white}) == 4


def test_noise_above_the_propagated_variance_increases_sigma(scene):
    quiet = scene.fit(np.random.default_rng(3))
    loud = scene.fit(np.random.default_rng(3), noise=3.0)
    assert np.median(loud.sigma / quiet.sigma) == pytest.approx(3.0, rel=0.2)
    assert "excess_noise" in loud.flags


def test_outliers_and_masked_samples_do_not_shift_the_depths(scene):
    curves = scene.observe(np.random.default_rng(4))
    flux, mask = curves.airs.flux.copy(), curves.airs.mask.copy()
    flux[50, 3] *= 1.5
    flux[100:110, 5] = np.nan
    mask[100:110, 5] = True
    damaged = replace(curves, airs=replace(curves.airs, flux=flux, mask=mask))
    a, b = (estimate_depths([c], scene.star, scene.wavelength) for c in (curves, damaged))
    assert np.abs((a.depth - b.depth) / a.sigma).max() < 0.5


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"t0": 30.0}, "no_transit"),
        ({"t0": 0.3}, "partial_transit"),
        ({"inclination": 83.5}, "grazing"),
    ],
)
def test_unusual_transits_are_flagged_and_their_depths_lie_within_the_errors(scene, change, flag):
    star = replace(scene.star, i=change.get("inclination", scene.star.i))
    estimate = scene.fit(np.random.default_rng(5), star=star, **change)
    assert flag in estimate.flags
    assert np.isfinite(estimate.depth).all()
    truth = np.zeros_like(scene.depth) if flag == "no_transit" else scene.depth
    assert np.abs(z_scores(estimate, truth)[1:]).max() < 5


def flare(time, wavelength):
    return 1 + 0.004 / np.sqrt(wavelength) * np.where(time > 4.2, np.exp(-np.maximum(time - 4.2, 0) / 0.3), 0)


def step(time, wavelength):
    return 1 + 0.003 * (time > 3.5) * np.ones_like(wavelength)


def spot(time, wavelength):
    return 1 + 0.003 / wavelength * np.exp(-0.5 * ((time - 3.9) / 0.12) ** 2)


@pytest.mark.parametrize(("event", "flag"), [(flare, "flare"), (step, "step"), (spot, "spot_crossing")])
def test_events_are_flagged_and_the_depths_lie_within_the_errors(scene, event, flag):
    rng = np.random.default_rng(10)
    estimates = [scene.fit(rng, extra=event) for _ in range(8)]
    assert sum(flag in e.flags for e in estimates) >= 6
    z = np.array([z_scores(e, scene.depth) for e in estimates])
    assert np.sqrt(np.mean(z**2)) < 1.4 and np.abs(z).max() < 5


@pytest.mark.parametrize("size", [0.01, 8.0])
def test_very_shallow_and_very_deep_transits_are_measured(scene, size):
    rng = np.random.default_rng(11)
    estimates = [scene.fit(rng, depth=size * scene.depth) for _ in range(4)]
    assert np.abs([z_scores(e, size * scene.depth) for e in estimates]).max() < 4.5


def test_red_noise_is_flagged_and_included_in_the_covariance(scene):
    rng = np.random.default_rng(12)
    correlation_time, sigma, estimates = 12, 6e-4, []
    decay = np.exp(-1 / correlation_time)
    for _ in range(24):
        common = lfilter([np.sqrt(1 - np.exp(-2 / correlation_time))], [1, -decay], sigma * rng.standard_normal(300))
        estimates.append(scene.fit(rng, common=common[60:]))
    white, stated = zip(*(white_light(e, scene.depth) for e in estimates))
    assert sum("red_noise" in e.flags for e in estimates) > 16
    assert np.std(white) > 1.5 * white_light(scene.fit(rng), scene.depth)[1]  # the red noise dominates
    assert 0.7 < np.sqrt(np.mean((np.array(white) / stated) ** 2)) < 1.5


def test_the_mean_weighted_by_the_covariance_is_unbiased(scene):
    """Peelle's puzzle: linearised at the noisy depths, the mean is 0.4 sigma low."""
    wavelength = np.concatenate([[0.7], np.linspace(1.95, 3.9, 120)])
    level = np.concatenate([[2e5], np.geomspace(3e4, 1e3, 120)])
    rng, pulls = np.random.default_rng(13), []
    for _ in range(8):
        estimate = scene.fit(rng, level=level, depth=np.full(121, 0.012), wavelength=wavelength, n=120)
        inverse = np.linalg.inv(estimate.covariance)
        by_covariance = np.sum(inverse @ estimate.depth) / inverse.sum()
        by_own_noise = np.average(estimate.depth, weights=estimate.sigma_uncorrelated**-2)
        pulls.append((by_covariance - by_own_noise) * np.sqrt(inverse.sum()))
    assert abs(np.mean(pulls)) < 0.1


def test_a_fully_masked_channel_has_a_large_sigma_and_a_flag(scene):
    curves = scene.observe(np.random.default_rng(6))
    mask = curves.airs.mask.copy()
    mask[:, 4] = True
    estimate = estimate_depths([replace(curves, airs=replace(curves.airs, mask=mask))], scene.star, scene.wavelength)
    assert "missing_channels" in estimate.flags
    assert estimate.sigma[5] > 0.04 and estimate.level[5] == 0
    assert np.abs(np.delete(z_scores(estimate, scene.depth), 5)).max() < 4.5


def test_a_planet_without_stellar_parameters_is_fitted_from_its_light_curves(scene):
    estimate = estimate_depths([scene.observe(np.random.default_rng(7))], None, scene.wavelength)
    assert np.abs(z_scores(estimate, scene.depth)).max() < 5


def test_inputs_are_unchanged_and_a_saved_estimate_reads_back_identically(scene, tmp_path):
    curves = scene.observe(np.random.default_rng(8))
    before = curves.airs.flux.copy()
    estimate = estimate_depths([curves], scene.star, scene.wavelength)
    np.testing.assert_array_equal(curves.airs.flux, before)
    save_estimate(tmp_path / "e.safetensors", estimate, "source")
    again = load_estimate(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(again.covariance, estimate.covariance)
    np.testing.assert_array_equal(again.white[1].model, estimate.white[1].model)
    assert (again.flags, again.white[0].t0) == (estimate.flags, estimate.white[0].t0)


def test_a_visit_without_usable_samples_raises_an_archive_error(scene):
    curves = scene.observe(np.random.default_rng(9))
    blank = {n: replace(c, mask=np.ones_like(c.mask)) for n, c in (("fgs1", curves.fgs1), ("airs", curves.airs))}
    with pytest.raises(ArchiveError, match="planet 1: expected usable samples"):
        estimate_depths([replace(curves, **blank)], scene.star, scene.wavelength)
