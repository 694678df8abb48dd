"""The physical estimate: unbiased, with a covariance that the scatter of repeated visits confirms; odd planets get a flag."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.archive import ArchiveError, Star
from ariel_lib.calibration.light_curves import LightCurve, LightCurves
from ariel_lib.transit.estimate import estimate_depths, load_estimate, save_estimate
from ariel_lib.transit.limb_darkening import airs_coefficients, limb_darkening_prior
from ariel_lib.transit.occultation import transit_flux
from ariel_lib.transit.orbit import separation

WAVELENGTH = np.concatenate([[0.7], np.linspace(1.95, 3.9, 12)])
STAR = Star("1", Rs=1.0, Ms=1.0, Ts=5500.0, Mp=1.0, e=0.0, P=3.5, sma=9.0, i=88.0)
DEPTH = 0.012 + 2e-4 * np.sin(3 * WAVELENGTH)
LEVEL = np.concatenate([[2e6], np.linspace(3e5, 3e4, 12)])  # electrons a sample


def observe(rng, *, t0=3.7, depth=DEPTH, star=STAR, visit=0, n=240, window=7.5, noise=1.0, inclination=88.0):
    """One visit: limb darkening drawn from the prior, orbit of the catalogue, drift, Poisson-like noise."""
    mean, width = limb_darkening_prior(star.Ts)
    u = mean + 0.5 * width * rng.standard_normal(6)
    time = np.linspace(0, window, n)
    b_squared = (star.sma * np.cos(np.radians(inclination))) ** 2
    z, _ = separation(time[:, None], t0, 24 * star.P, np.log(star.sma), b_squared)
    u1, u2, _ = airs_coefficients(u[2:], WAVELENGTH)
    u1[0], u2[0] = u[:2]
    flux = transit_flux(z, np.sqrt(depth), u1, u2)[0].T
    x = 2 * time / window - 1
    drift = 1 + 1e-3 * rng.standard_normal(3) @ np.stack([x, x**2, x**3])
    expected = LEVEL * flux * drift[:, None]
    observed = expected + noise * np.sqrt(expected) * rng.standard_normal(expected.shape)
    centroid = 0.01 * rng.standard_normal((n, 2))

    def curve(columns):
        part = observed[:, columns]
        zeros = np.zeros_like(part)
        return LightCurve(
            time, part, np.maximum(expected[:, columns], 1), zeros, centroid, np.zeros(n), np.zeros(part.shape, bool)
        )

    return LightCurves(star.planet_id, visit, curve(0), curve(slice(1, None)))


def z_scores(estimate, depth=DEPTH):
    return (estimate.depth - depth) / estimate.sigma


def test_depths_are_unbiased_and_their_covariance_is_the_scatter_of_repeats():
    rng = np.random.default_rng(0)
    estimates = [estimate_depths([observe(rng)], STAR, WAVELENGTH) for _ in range(40)]
    z = np.array([z_scores(e) for e in estimates])
    assert 0.85 < np.sqrt(np.mean(z**2)) < 1.15
    assert np.abs(z.mean(axis=0)).max() < 4 / np.sqrt(40)
    mahalanobis = [(e.depth - DEPTH) @ np.linalg.solve(e.covariance, e.depth - DEPTH) for e in estimates]
    expected = len(DEPTH)
    assert abs(np.mean(mahalanobis) - expected) < 4 * np.sqrt(2 * expected / 40)
    assert not any(e.flags for e in estimates)


def test_neighbouring_bins_share_error_but_not_only_error():
    estimate = estimate_depths([observe(np.random.default_rng(1))], STAR, WAVELENGTH)
    correlation = estimate.covariance / np.outer(estimate.sigma, estimate.sigma)
    off = correlation[1:, 1:][~np.eye(12, dtype=bool)]
    assert 0 < off.mean() < 1
    assert np.linalg.eigvalsh(estimate.covariance).min() > 0


def test_a_second_visit_adds_information():
    rng = np.random.default_rng(2)
    visits = [observe(rng), observe(rng, t0=3.2, visit=1)]
    one, two = estimate_depths(visits[:1], STAR, WAVELENGTH), estimate_depths(visits, STAR, WAVELENGTH)
    ratio = two.sigma / one.sigma
    assert 0.55 < np.median(ratio) < 0.85
    assert np.abs(z_scores(two)).max() < 4.5
    assert len({w.t0 for w in two.white}) == 4


def test_noise_beyond_the_propagated_variance_widens_sigma():
    quiet = estimate_depths([observe(np.random.default_rng(3))], STAR, WAVELENGTH)
    loud = estimate_depths([observe(np.random.default_rng(3), noise=3.0)], STAR, WAVELENGTH)
    assert np.median(loud.sigma / quiet.sigma) == pytest.approx(3.0, rel=0.2)
    assert "excess_noise" in loud.flags


def test_outliers_and_masked_samples_move_nothing():
    curves = observe(np.random.default_rng(4))
    flux, mask = curves.airs.flux.copy(), curves.airs.mask.copy()
    flux[50, 3] *= 1.5
    flux[100:110, 5] = np.nan
    mask[100:110, 5] = True
    damaged = replace(curves, airs=replace(curves.airs, flux=flux, mask=mask))
    a, b = (estimate_depths([c], STAR, WAVELENGTH) for c in (curves, damaged))
    assert np.abs((a.depth - b.depth) / a.sigma).max() < 0.5


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"t0": 30.0}, "no_transit"),
        ({"t0": 0.3}, "partial_transit"),
        ({"inclination": 83.5}, "grazing"),
    ],
)
def test_odd_planets_are_flagged_and_covered(change, flag):
    star = replace(STAR, i=change.get("inclination", STAR.i))
    estimate = estimate_depths([observe(np.random.default_rng(5), star=star, **change)], star, WAVELENGTH)
    assert flag in estimate.flags
    assert np.isfinite(estimate.depth).all()
    truth = np.zeros_like(DEPTH) if flag == "no_transit" else DEPTH
    assert np.abs(z_scores(estimate, truth)[1:]).max() < 5


def test_a_dark_channel_has_a_wide_sigma_and_a_flag():
    curves = observe(np.random.default_rng(6))
    mask = curves.airs.mask.copy()
    mask[:, 4] = True
    estimate = estimate_depths([replace(curves, airs=replace(curves.airs, mask=mask))], STAR, WAVELENGTH)
    assert "missing_channels" in estimate.flags
    assert estimate.sigma[5] > 0.04 and estimate.level[5] == 0
    assert np.abs(np.delete(z_scores(estimate), 5)).max() < 4.5


def test_without_a_star_the_light_curve_decides():
    estimate = estimate_depths([observe(np.random.default_rng(7))], None, WAVELENGTH)
    assert np.abs(z_scores(estimate)).max() < 5


def test_inputs_are_unchanged_and_estimates_survive_the_disk(tmp_path):
    curves = observe(np.random.default_rng(8))
    before = curves.airs.flux.copy()
    estimate = estimate_depths([curves], STAR, WAVELENGTH)
    np.testing.assert_array_equal(curves.airs.flux, before)
    save_estimate(tmp_path / "e.safetensors", estimate, "source")
    again = load_estimate(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(again.covariance, estimate.covariance)
    np.testing.assert_array_equal(again.white[1].model, estimate.white[1].model)
    assert (again.flags, again.white[0].t0) == (estimate.flags, estimate.white[0].t0)


def test_nothing_but_masks_is_refused_by_name():
    curves = observe(np.random.default_rng(9))
    blank = {n: replace(c, mask=np.ones_like(c.mask)) for n, c in (("fgs1", curves.fgs1), ("airs", curves.airs))}
    with pytest.raises(ArchiveError, match="planet 1: expected usable samples"):
        estimate_depths([replace(curves, **blank)], STAR, WAVELENGTH)
