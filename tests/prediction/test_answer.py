"""prediction.answer: one planet from transit fit and initial estimate to V50's spectrum and calibrated sigma."""

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurve, LightCurves, save_light_curves
from ariel_lib.models.ensemble import predict_inputs
from ariel_lib.models.features import scale_of
from ariel_lib.pipeline.planet_fits import PlanetFit
from ariel_lib.prediction.answer import InvalidSpectrumError, answer, initial_answer, planet_inputs
from ariel_lib.transit.result import DepthEstimate, Flag, WhiteCurve
from ariel_lib.uncertainty.conformal import MARGINAL
from ariel_lib.uncertainty.corel import corel_features
from ariel_lib.uncertainty.temperature import Temperature

STAR = Star("1", Rs=1.0, Ms=1.0, Ts=5500.0, Mp=1.0, e=0.0, P=3.5, sma=9.0, i=88.0)
UNIT_TEMPERATURE = Temperature()


@pytest.fixture
def planet_fit(tmp_path):
    """A fit of thirteen wavelengths with a flag, and its light-curve file."""
    rng, n = np.random.default_rng(5), 13
    time = np.linspace(0, 7, 60)
    model = np.where(np.abs(time - 3.5) < 1, 0.988, 1.0)
    white = WhiteCurve("FGS1", 0, time, model, model, model, 1e-3, 1e6, 3.5, 2.0, 1.0, 0.0, 0.0)
    shape = np.sin(3 * np.concatenate([[0.7], np.linspace(1.95, 3.9, n - 1)]))
    root, uncorrelated = 2e-5 * rng.standard_normal((n, n)), np.full(n, 5e-5)
    depth = 0.012 + 2e-4 * shape + uncorrelated * rng.standard_normal(n)
    estimate = DepthEstimate(
        "1", depth, root @ root.T + np.diag(uncorrelated**2), uncorrelated, np.linspace(2e4, 1e4, n), np.ones(n), np.zeros(8), np.zeros(0),
        np.zeros((0, 0)), np.zeros((n, 0)), np.zeros(0, int), (white,), ("flare",),
    )  # fmt: skip
    flux, nothing = 1e6 * model * (1 + 1e-3 * rng.standard_normal(60)), np.zeros(60)
    fgs1 = LightCurve(time, flux, 1e6 + nothing, nothing, np.zeros((60, 2)), nothing, np.zeros(60, bool))
    airs = LightCurve(time, flux[:, None], 1e6 + nothing[:, None], nothing[:, None], np.zeros((60, 2)), nothing, np.zeros((60, 1), bool))
    path = tmp_path / "1_0.safetensors"
    save_light_curves(path, LightCurves("1", 0, fgs1, airs))
    return PlanetFit(estimate, STAR, (path,))


def moments(checkpoint, planet_fit):
    estimate = planet_fit.estimate
    posterior = checkpoint.initial_prior.conditioned_on(estimate.covariance, scale_of(planet_fit.star, estimate))
    return [x[0] for x in posterior.moments(estimate.depth[None])]


def test_an_untrained_network_returns_the_library_posterior(make_checkpoint, planet_fit):
    checkpoint, _ = make_checkpoint()
    found = answer(planet_fit, replace(checkpoint, temperature=UNIT_TEMPERATURE))
    mean, sigma, _ = moments(checkpoint, planet_fit)
    for one, other in ((found.mean, mean), (found.initial_mean, mean), (found.sigma, sigma), (found.initial_sigma, sigma)):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    without = moments(checkpoint, replace(planet_fit, star=None))[1]
    assert np.abs(without / sigma - 1).max() > 1e-3  # the star's scale height is used


def test_answer_also_holds_the_fit_its_gaussian_posterior_and_its_flags(make_checkpoint, planet_fit):
    checkpoint, _ = make_checkpoint()
    found, estimate = answer(planet_fit, checkpoint), planet_fit.estimate
    posterior = checkpoint.prior.posterior(estimate.depth, estimate.covariance)
    for name, expected in (
        ("gaussian_mean", posterior.mean), ("gaussian_sigma", posterior.sigma), ("depth", estimate.depth), ("depth_sigma", estimate.sigma),
    ):  # fmt: skip
        np.testing.assert_array_equal(getattr(found, name), expected)
    assert found.flags == ("flare",) and found.note == ""


def test_a_spectrum_unlike_the_training_spectra_is_flagged_in_one_sentence_and_its_numbers_stay(make_checkpoint, planet_fit):
    checkpoint, _ = make_checkpoint()
    estimate = planet_fit.estimate
    wild = np.random.default_rng(8).standard_normal(13) * 20 * checkpoint.prior.amplitudes[-1]
    unlike = replace(planet_fit, estimate=replace(estimate, depth=estimate.depth + wild))
    for found in (answer(unlike, checkpoint), initial_answer(unlike, checkpoint)):
        assert found.flags == ("flare", Flag.UNUSUAL_SPECTRUM)
        assert "unlike the training spectra" in found.note and "sigmas may be too small" in found.note
    sigma = moments(checkpoint, unlike)[1]
    np.testing.assert_array_equal(initial_answer(unlike, checkpoint).initial_sigma, sigma)


@pytest.mark.parametrize(
    ("setting", "name"),
    [("library", "library_posterior"), ("mixture", "mixture_posterior"), ("fit", "gls_fit"), ("white", "white_depth")],
)
def test_the_initial_estimate_is_named_after_what_it_is(make_checkpoint, planet_fit, setting, name):
    checkpoint, _ = make_checkpoint(settings={"initial_estimate": setting})
    assert answer(planet_fit, checkpoint).initial_estimate == name


def test_the_temperature_scales_sigma_and_nothing_else(make_checkpoint, planet_fit):
    checkpoint, _ = make_checkpoint()
    plain = answer(planet_fit, replace(checkpoint, temperature=UNIT_TEMPERATURE))
    warm = answer(planet_fit, replace(checkpoint, temperature=Temperature((1.5, 2.0))))
    np.testing.assert_allclose(warm.sigma, plain.sigma * np.array([1.5] + [2.0] * 12))
    for name in ("mean", "initial_mean", "initial_sigma", "gaussian_mean", "gaussian_sigma", "depth", "depth_sigma"):
        np.testing.assert_array_equal(getattr(warm, name), getattr(plain, name))


def test_corel_sigmas_replace_the_networks_before_the_temperature(make_checkpoint, planet_fit):
    checkpoint, _ = make_checkpoint(corel=True)
    mean, sigma = predict_inputs(checkpoint.network, planet_inputs(planet_fit, checkpoint))
    estimate = planet_fit.estimate
    features = corel_features(mean, sigma, estimate.depth[None], estimate.sigma[None], estimate.sigma_uncorrelated[None])
    interval = checkpoint.corel.intervals(features, mean, sigma, MARGINAL)
    width = (interval.upper - interval.lower)[0] / (2 * 1.6448536)  # of a Gaussian's central 90 %
    found = answer(planet_fit, replace(checkpoint, temperature=Temperature((1.5, 2.0))))
    np.testing.assert_allclose(found.sigma, width * np.array([1.5] + [2.0] * 12), rtol=1e-6)
    assert np.abs(width / sigma[0] - 1).max() > 0.1


def test_an_invalid_spectrum_of_the_network_is_an_error_that_names_planet_and_fault(make_checkpoint, planet_fit):
    checkpoint, _ = make_checkpoint(members=1)
    nn.init.constant_(checkpoint.network.members[0].decoder.delta.weight, float("nan"))
    with pytest.raises(InvalidSpectrumError, match="planet 1: the network's spectrum is invalid: 13 means are not finite"):
        answer(planet_fit, checkpoint)


def test_the_initial_answer_is_the_initial_estimate_without_network_and_light_curves(make_checkpoint, planet_fit):
    checkpoint = replace(make_checkpoint()[0], temperature=Temperature((1.5, 2.0)))
    shifted = replace(planet_fit, estimate=replace(planet_fit.estimate, depth=planet_fit.estimate.depth - 0.0119))
    for fit in (planet_fit, shifted):
        mean, sigma, _ = moments(checkpoint, fit)
        found = initial_answer(replace(fit, paths=(fit.paths[0].with_name("gone"),)), replace(checkpoint, network=None))
        np.testing.assert_array_equal(found.mean, np.maximum(mean, 0))
        np.testing.assert_array_equal(found.sigma, sigma * np.array([1.5] + [2.0] * 12))
        np.testing.assert_array_equal(found.initial_mean, mean)
    broken = replace(planet_fit, estimate=replace(planet_fit.estimate, depth=np.full(13, np.nan)))
    with pytest.raises(InvalidSpectrumError, match="the initial estimate is invalid"):
        initial_answer(broken, checkpoint)


def test_a_network_that_fails_on_its_device_gives_the_same_answer_from_the_cpu_with_a_note(make_checkpoint, planet_fit, monkeypatch):
    checkpoint, _ = make_checkpoint(corel=True)
    monkeypatch.setattr("torch.cuda._lazy_init", no_gpu)
    expected, found = answer(planet_fit, checkpoint), answer(planet_fit, replace(checkpoint, device="cuda"))
    np.testing.assert_array_equal(found.mean, expected.mean)
    np.testing.assert_array_equal(found.sigma, expected.sigma)
    assert expected.note == "" and found.note == "predicted on the CPU, since the network failed on cuda: RuntimeError: no kernel image"


def test_an_invalid_spectrum_on_a_device_is_predicted_again_on_the_cpu(make_checkpoint, planet_fit):
    checkpoint, _ = make_checkpoint(members=1)
    expected, device = answer(planet_fit, checkpoint), replace(checkpoint, device="cpu:0")  # another name than "cpu": a copy
    nn.init.constant_(device.network_on_device.members[0].decoder.delta.weight, float("nan"))
    found = answer(planet_fit, device)
    np.testing.assert_array_equal(found.mean, expected.mean)
    assert "failed on cpu:0: planet 1: the network's spectrum is invalid" in found.note


def no_gpu():
    raise RuntimeError("no kernel image")


def test_inputs_depend_on_light_curve_star_and_fit(make_checkpoint, planet_fit):
    checkpoint, _ = make_checkpoint()
    inputs = planet_inputs(planet_fit, checkpoint)
    mean, sigma, _ = moments(checkpoint, planet_fit)
    np.testing.assert_allclose(inputs.mean[0], mean, rtol=1e-6)
    np.testing.assert_allclose(inputs.sigma[0], sigma, rtol=1e-6)
    assert inputs.fgs1.shape[1] == 60 and not inputs.fgs1_mask.any() and inputs.fgs1[0, :, 0].std() > 0.5
    other = planet_inputs(replace(planet_fit, star=replace(STAR, Ts=6500.0)), checkpoint)
    assert not np.array_equal(other.star, inputs.star) and np.array_equal(other.fgs1, inputs.fgs1)
