"""ariel_lib.models.features: every feature follows what its name says, and follows nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ariel_lib.instrument import AIRS, FGS1
from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurve, LightCurves
from ariel_lib.models.features import (
    CENTROID_SCALE,
    DEPTH_SCALE,
    FGS1_CHANNELS,
    FLAT_SIGMA,
    NODE_FEATURES,
    STAR_FEATURES,
    TYPICAL_AMPLITUDE,
    fgs1_channels,
    make_initial_estimate,
    make_inputs,
    node_features,
    scale_of,
    star_features,
)
from ariel_lib.priors.spectral_library import fit_spectral_library
from ariel_lib.transit.result import DepthEstimate, WhiteCurve

RESIDUAL, DEPTH, MEAN, SLOPE, SIGMA, NOISE, BRIGHTNESS = range(NODE_FEATURES)
TS, RS, P, SMA, MP, LISTED, WHITE, AMPLITUDE, B_SQUARED, OWN_NOISE, EXCESS, HEIGHT = range(STAR_FEATURES)
STAR = Star("1", Rs=1.1, Ms=1.0, Ts=5800.0, Mp=1.2, e=0.0, P=4.0, sma=11.0, i=88.0)
N = 8
SPECTRUM = 0.0147 + 1e-4 * np.sin(np.arange(N))
OWN = 1e-4 * np.linspace(1, 2, N)
T0, DURATION, LEVEL, NOISE_SIGMA = 3.5, 2.0, 4e5, 700.0  # h, h, electrons, electrons


def make_estimate(**changes):
    plain = DepthEstimate(
        "1", SPECTRUM, np.diag((1.5 * OWN) ** 2), OWN, np.linspace(1e4, 2e4, N), np.ones(N), np.array([2.4, 0.3, 0, 0, 0, 0, 0, 0]),
        np.zeros(0), np.zeros((0, 0)), np.zeros((N, 0)), np.zeros(0, int), (), (),
    )  # fmt: skip
    return replace(plain, **changes)


def changed(before, after):
    """Which (wavelength, feature) or which feature differs."""
    return {tuple(map(int, place)) for place in np.argwhere(~np.isclose(before, after, rtol=1e-9, atol=1e-12))}


def at(wavelengths, *features):
    return {(wavelength, feature) for wavelength in wavelengths for feature in features}


def nodes_of(depth=SPECTRUM, estimate=None, mean=SPECTRUM, sigma=OWN):
    return node_features(depth, estimate or make_estimate(), mean, sigma)


def test_a_depth_above_the_posterior_is_seen_in_its_own_noise_and_nowhere_else():
    above = SPECTRUM.copy()
    above[3] += 2.5 * OWN[3]
    before, after = nodes_of(), nodes_of(above)
    assert before.shape == (N, NODE_FEATURES)
    assert np.all(before[:, RESIDUAL] == 0) and after[3, RESIDUAL] == pytest.approx(2.5)
    assert after[3, DEPTH] > before[3, DEPTH]
    assert changed(before, after) == at([3], RESIDUAL, DEPTH)
    assert nodes_of(SPECTRUM - 1.0)[:, RESIDUAL].tolist() == [-5.0] * N  # an outlier is bounded


def test_depth_and_posterior_stand_against_the_posteriors_white_light_over_airs():
    found = nodes_of(SPECTRUM + OWN)
    white = SPECTRUM[1:].mean()
    np.testing.assert_allclose(DEPTH_SCALE * np.sinh(found[:, DEPTH]), SPECTRUM + OWN - white, rtol=1e-9)
    np.testing.assert_allclose(DEPTH_SCALE * np.sinh(found[:, MEAN]), SPECTRUM - white, rtol=1e-9)


def test_the_same_depth_added_everywhere_changes_no_node():
    assert changed(nodes_of(SPECTRUM + OWN), nodes_of(SPECTRUM + OWN + 0.01, mean=SPECTRUM + 0.01)) == set()


@pytest.mark.parametrize("tilt", [-3e-5, 3e-5])
def test_a_tilted_posterior_has_a_slope_of_its_sign_in_airs(tilt):
    found = nodes_of(mean=SPECTRUM[0] + tilt * np.arange(N))[:, SLOPE]
    assert found[0] == 0  # FGS1 has no neighbour
    np.testing.assert_allclose(0.1 * DEPTH_SCALE * np.sinh(found[1:]), tilt)


def test_sigmas_are_logarithms_and_each_stands_for_itself():
    before = nodes_of(SPECTRUM + OWN)
    wider, louder = nodes_of(SPECTRUM + OWN, sigma=10 * OWN), nodes_of(SPECTRUM + OWN, make_estimate(sigma_uncorrelated=10 * OWN))
    np.testing.assert_allclose(wider[:, SIGMA], before[:, SIGMA] + 1)
    assert changed(before, wider) == at(range(N), SIGMA)
    np.testing.assert_allclose(louder[:, NOISE], before[:, NOISE] + 1)
    np.testing.assert_allclose(louder[:, RESIDUAL], before[:, RESIDUAL] / 10)
    assert changed(before, louder) == at(range(N), NOISE, RESIDUAL)
    assert nodes_of(sigma=np.full(N, DEPTH_SCALE))[:, SIGMA].tolist() == [0] * N


def test_brightness_is_relative_and_a_dark_wavelength_is_far_below():
    level = make_estimate().level
    bright, dark = level.copy(), level.copy()
    bright[-1], dark[2] = 10 * level[-1], 0.0
    before = nodes_of()
    assert changed(before, nodes_of(estimate=make_estimate(level=7 * level))) == set()
    assert nodes_of(estimate=make_estimate(level=bright))[-1, BRIGHTNESS] == pytest.approx(before[-1, BRIGHTNESS] + 1)
    found = nodes_of(estimate=make_estimate(level=dark))[:, BRIGHTNESS]
    assert found[2] == -2.0 and np.abs(np.delete(found, 2)).max() < 1 and found[-1] > found[0]
    assert np.median(before[:, BRIGHTNESS]) == pytest.approx(0, abs=0.01)


def features_of(star=STAR, amplitude=TYPICAL_AMPLITUDE, **changes):
    return star_features(star, make_estimate(**changes), amplitude)


def test_star_features_tell_stars_apart_by_the_quantity_that_differs():
    before = features_of()
    assert before.shape == (STAR_FEATURES,)
    for name, feature, moves_height in (("Ts", TS, 1), ("Rs", RS, 1), ("P", P, 0), ("sma", SMA, -1), ("Mp", MP, -1)):
        found = features_of(replace(STAR, **{name: 2 * getattr(STAR, name)}))
        assert found[feature] > before[feature] + 0.1, name
        assert np.sign(round(found[HEIGHT] - before[HEIGHT], 9)) == moves_height, name
        assert changed(before, found) <= {(feature,), (HEIGHT,)}, name


def test_the_scale_height_feature_is_its_logarithm():
    before, estimate = features_of(), make_estimate()
    assert 10 ** before[HEIGHT] * DEPTH_SCALE == pytest.approx(scale_of(STAR, estimate))
    assert features_of(replace(STAR, Mp=0.1 * STAR.Mp))[HEIGHT] == pytest.approx(before[HEIGHT] + 1)
    weightless = features_of(replace(STAR, Mp=0.0))
    assert weightless[HEIGHT] == 0 and np.isfinite(weightless).all()


def test_a_star_without_a_catalogue_is_marked_so():
    known, unknown = features_of(), features_of(None)
    assert known[LISTED] == 1 and unknown[: LISTED + 1].tolist() == [0] * 6 and unknown[HEIGHT] == 0
    np.testing.assert_array_equal(known[WHITE : EXCESS + 1], unknown[WHITE : EXCESS + 1])


def test_each_number_of_the_fit_has_a_feature():
    before, orbit = features_of(), make_estimate().orbit.copy()
    orbit[1] += 0.2
    estimate = make_estimate()
    for change, feature, by in (
        ({"amplitude": 10 * TYPICAL_AMPLITUDE}, AMPLITUDE, 1.0),
        ({"orbit": orbit}, B_SQUARED, 0.2),
        ({"sigma_uncorrelated": 10 * OWN}, OWN_NOISE, 1.0),
        ({"excess": 10 * estimate.excess}, EXCESS, 1.0),
    ):
        found = features_of(**change)
        assert found[feature] == pytest.approx(before[feature] + by), feature
        assert changed(before, found) == {(feature,)}
    deeper = features_of(depth=4 * SPECTRUM)
    assert deeper[WHITE] == pytest.approx(before[WHITE] + np.log10(4))
    assert changed(before, deeper) == {(WHITE,), (HEIGHT,)}


def test_the_white_depth_is_weighted_by_the_noise_and_stays_positive():
    noisy, wrong = OWN.copy(), SPECTRUM.copy()
    noisy[4], wrong[4] = 1.0, 0.5
    assert features_of(depth=wrong, sigma_uncorrelated=noisy)[WHITE] == pytest.approx(features_of()[WHITE], abs=0.01)
    assert 10 ** features_of(depth=-SPECTRUM)[WHITE] * 0.0147 == pytest.approx(1e-5)


def library_posterior(estimate, rng):
    wavelength = np.concatenate([[0.7], np.linspace(1.95, 3.9, N - 1)])
    size = np.exp(rng.normal(np.log(2e-4), 0.7, 40))
    labels = 0.0147 + 1e-3 * rng.standard_normal((40, 1)) + size[:, None] * np.sin(3 * wavelength + rng.normal(0, 0.3, (40, 1)))
    return fit_spectral_library(labels, wavelength).conditioned_on(estimate.covariance), wavelength


@pytest.mark.parametrize(("name", "index"), [("Ts", 0), ("Rs", 1), ("P", 2), ("sma", 3), ("Mp", 4)])
def test_a_parameter_that_the_star_table_lacks_is_zero_and_the_others_are_as_before(name, index):
    known, lacking = features_of(), features_of(replace(STAR, **{name: np.nan}))
    assert lacking[index] == 0 and np.isfinite(lacking).all()
    rest = np.delete(np.arange(11), index)  # the last one is the scale height, which needs all but the period
    np.testing.assert_array_equal(lacking[rest], known[rest])
    np.testing.assert_array_equal(features_of(replace(STAR, e=np.nan)), known)


def test_the_network_starts_from_the_estimate_that_is_named():
    estimate = make_estimate()
    known, wavelength = library_posterior(estimate, np.random.default_rng(0))
    depth = SPECTRUM + OWN * np.random.default_rng(1).standard_normal(N)
    mean, sigma, amplitude = make_initial_estimate("library", depth, estimate, known)
    expected = known.moments(depth[None])
    np.testing.assert_array_equal(mean, expected[0][0])
    np.testing.assert_array_equal(sigma, expected[1][0])
    assert known.amplitudes.min() < amplitude < known.amplitudes.max()
    larger = make_initial_estimate("library", 0.0147 + 1e-3 * np.sin(3 * wavelength), estimate, known)[2]
    smaller = make_initial_estimate("library", 0.0147 + 0 * wavelength, estimate, known)[2]
    assert larger > 2 * smaller
    mean, sigma, amplitude = make_initial_estimate("fit", depth, estimate, known)
    np.testing.assert_array_equal(mean, depth)
    np.testing.assert_array_equal(sigma, estimate.sigma)
    assert amplitude == TYPICAL_AMPLITUDE
    mean, sigma, amplitude = make_initial_estimate("white", depth, estimate, known)
    assert mean.shape == sigma.shape == (N,)
    assert np.sum((depth - mean) / OWN**2) == pytest.approx(0, abs=1e-6 * np.sum(depth / OWN**2)) and np.ptp(mean) == 0
    assert np.all(sigma == FLAT_SIGMA) and amplitude == TYPICAL_AMPLITUDE


def box(time):
    return np.where(np.abs(time - T0) < DURATION / 2, 0.985, 1.0)


def white_curve(instrument=FGS1.name, visit=0, t0=T0):
    time = np.linspace(0, 7, 200)
    model = box(time - t0 + T0)
    return WhiteCurve(instrument, visit, time, model, model, model, 1e-3, LEVEL, t0, DURATION, 1.0, 0.0, 0.0)


def observe(visit=0, *, n=1000, rng=None, t0=T0, noise=NOISE_SIGMA, centroid=None):
    """FGS1 at five times the cadence of the fit; AIRS of one channel stands by."""
    time = np.linspace(0, 7, n)
    scatter = noise * rng.standard_normal(n) if rng else 0.0
    flux = LEVEL * np.interp(time, np.linspace(0, 7, 200), white_curve(t0=t0).transit_model) + scatter
    centroid = np.zeros((n, 2)) if centroid is None else centroid
    variance = np.full(n, noise**2)
    fgs1 = LightCurve(time, flux, 0.75 * variance, 0.25 * variance, centroid, np.zeros(n), np.zeros(n, bool))
    one = np.ones((n, 1))
    return LightCurves("1", visit, fgs1, LightCurve(time, one, one, one, centroid, np.zeros(n), one > 2))


def see(curves, **changes):
    white = (white_curve(AIRS.name, t0=1.0), white_curve())
    return fgs1_channels(make_estimate(white=white), [replace(curves, fgs1=replace(curves.fgs1, **changes))])


IN_SIGMA, RELATIVE_SIGMA, ROW, COLUMN, PHASE = range(len(FGS1_CHANNELS))


def test_the_residual_is_what_the_transit_leaves_in_sigma():
    curves = observe(rng=np.random.default_rng(2))
    channels, mask = see(curves)
    assert channels.shape == (1000, len(FGS1_CHANNELS)) and not mask.any()
    hidden = np.abs(curves.fgs1.time - T0) < DURATION / 2
    assert channels[:, IN_SIGMA].std() == pytest.approx(1, abs=0.1)
    assert abs(channels[hidden, IN_SIGMA].mean() - channels[~hidden, IN_SIGMA].mean()) < 0.25
    flux = curves.fgs1.flux.copy()
    flux[400] += 3 * NOISE_SIGMA
    raised, _ = see(curves, flux=flux)
    assert raised[400, IN_SIGMA] - channels[400, IN_SIGMA] == pytest.approx(3, abs=0.02)
    flux[400] += 1000 * NOISE_SIGMA
    assert see(curves, flux=flux)[0][400, IN_SIGMA] == 8


def test_the_phase_is_zero_at_mid_transit_and_a_half_at_the_contacts():
    curves = observe()
    channels, _ = see(curves)
    for when, expected in ((T0, 0.0), (T0 - DURATION / 2, -0.5), (T0 + DURATION / 2, 0.5)):
        assert np.interp(when, curves.fgs1.time, channels[:, PHASE]) == pytest.approx(expected, abs=1e-6)
    late, _ = see(observe(), time=curves.fgs1.time + 100)
    assert np.all(late[:, PHASE] == 3)


def test_noise_and_centroids_are_scaled_alone():
    rng = np.random.default_rng(3)
    centroid = CENTROID_SCALE * rng.standard_normal((1000, 2))
    before, after = see(observe())[0], see(observe(noise=10 * NOISE_SIGMA, centroid=centroid))[0]
    np.testing.assert_allclose(after[:, RELATIVE_SIGMA], before[:, RELATIVE_SIGMA] + 1)
    assert before[0, RELATIVE_SIGMA] == pytest.approx(np.log10(NOISE_SIGMA / LEVEL) + 2.5, abs=0.01)
    np.testing.assert_allclose(after[:, [ROW, COLUMN]], centroid / CENTROID_SCALE)


def test_the_unit_of_light_drops_out():
    curves, unit = observe(rng=np.random.default_rng(6)), 1e-4
    variances = {name: unit**2 * getattr(curves.fgs1, name) for name in ("variance_poisson", "variance_read")}
    for one, other in zip(see(curves), see(curves, flux=unit * curves.fgs1.flux, **variances)):
        np.testing.assert_allclose(one, other, atol=1e-9)


@pytest.mark.parametrize("what", ["mask", "flux", "variance", "centroid"])
def test_an_unusable_sample_is_masked_and_zero_and_no_other_notices(what):
    curves = observe(rng=np.random.default_rng(4), centroid=0.1 * np.random.default_rng(5).standard_normal((1000, 2)))
    fgs1, changes = curves.fgs1, {}
    if what == "variance":
        changes = {name: np.where(np.arange(1000) == 7, 0.0, getattr(fgs1, name)) for name in ("variance_poisson", "variance_read")}
    else:
        values = getattr(fgs1, what).copy()
        values[7] = True if what == "mask" else np.nan
        changes = {what: values}
    whole, (found, mask) = see(curves)[0], see(curves, **changes)
    assert np.flatnonzero(mask).tolist() == [7] and not found[7].any()
    np.testing.assert_allclose(np.delete(found, 7, 0), np.delete(whole, 7, 0), atol=0.01)


def test_visits_stand_in_a_row_and_those_without_a_fit_are_left_out():
    white = (white_curve(visit=0), white_curve(visit=2, t0=2.0))
    estimate = make_estimate(white=white)
    visits = [observe(0, n=900), observe(1, n=700), observe(2, n=800, t0=2.0)]
    channels, mask = fgs1_channels(estimate, visits)
    assert len(channels) == len(mask) == 1700 and mask.dtype == bool
    assert np.argmin(np.abs(channels[900:, PHASE])) == np.argmin(np.abs(visits[2].fgs1.time - 2.0))
    assert np.abs(channels[:, IN_SIGMA]).max() < 8  # each against its own transit
    channels, mask = fgs1_channels(make_estimate(white=(white_curve(AIRS.name),)), visits)
    assert mask.tolist() == [True] and not channels.any()


def test_inputs_are_one_planet_each_array_in_its_place():
    fgs1, mask = np.ones((6, 5)), np.array([True] + [False] * 5)
    arrays = {"mean": 2 * np.ones(N), "sigma": 3 * np.ones(N), "nodes": 4 * np.ones((N, 7)), "star": 5 * np.ones(12)}
    inputs = make_inputs(fgs1, mask, **arrays)
    assert len(inputs) == 1 and torch.equal(inputs.fgs1_mask[0], torch.from_numpy(mask))
    for name, array in {"fgs1": fgs1, **arrays}.items():
        assert getattr(inputs, name).dtype == torch.float32
        np.testing.assert_array_equal(getattr(inputs, name)[0], array)
