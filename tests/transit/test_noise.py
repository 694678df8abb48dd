"""Noise common to all channels: white and red components are recovered; modes absorbed by the fit are corrected for."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from ariel_lib.transit.noise import SURE, CommonNoise, absorbed, fit_common_noise, reweight, white_light
from ariel_lib.transit.segments import make_segments, merge_channels

DURATION = 3.0  # h, of the scene's transit


@pytest.fixture
def segment(scene):
    """AIRS of one visit, each channel's flux known to a few hundred ppm."""
    return make_segments([scene.observe(np.random.default_rng(0))], scene.wavelength)[1]


def residuals(segment, rng, common=0.0):
    """Noise with the component removed that a fit would absorb."""
    noise = common + rng.standard_normal(segment.flux.shape) / np.sqrt(segment.weight)
    white, variance = white_light(segment, noise)
    basis = absorbed(segment, variance, boxcar(segment))
    return noise - np.sqrt(variance) * (basis.T @ (basis @ (white / np.sqrt(variance))))


def boxcar(segment):
    """A response like that of a depth: mean out of transit minus mean in transit."""
    inside = np.abs(segment.time - segment.time.mean()) < DURATION / 2
    return np.tile(np.where(inside, -1 / inside.sum(), 1 / (~inside).sum()), (len(segment.channels), 1))


def red_noise(rng, n, correlation_time, sigma):
    decay = np.exp(-1 / correlation_time)
    return lfilter([np.sqrt(1 - decay**2)], [1, -decay], sigma * rng.standard_normal(n + 200))[200:]


def test_white_noise_is_classified_as_white_with_its_propagated_variance(segment):
    rng = np.random.default_rng(1)
    found = [fit_common_noise(segment, residuals(segment, rng), boxcar(segment), DURATION) for _ in range(200)]
    assert sum(noise.red_noise_probability > SURE for noise in found) <= 8
    assert np.mean([noise.white + noise.red_noise[0] for noise in found]) == pytest.approx(1, abs=0.03)
    assert np.mean([noise.red_noise[0] for noise in found]) < 0.02


def test_white_noise_common_to_all_channels_is_measured_in_white_light(segment):
    rng = np.random.default_rng(2)
    _, variance = white_light(segment, residuals(segment, rng))
    common = np.sqrt(0.5 * np.median(variance))
    found = [
        fit_common_noise(segment, residuals(segment, rng, common * rng.standard_normal(len(variance))), boxcar(segment), DURATION)
        for _ in range(30)
    ]  # fmt: skip
    assert np.mean([noise.white for noise in found]) == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize("correlation_time", [8, 16])
def test_red_noise_is_detected_with_its_variance_and_correlation_time(segment, correlation_time):
    rng = np.random.default_rng(3)
    _, variance = white_light(segment, residuals(segment, rng))
    sigma = np.sqrt(2 * np.median(variance))
    found = [
        fit_common_noise(
            segment, residuals(segment, rng, red_noise(rng, len(variance), correlation_time, sigma)), boxcar(segment), DURATION
        )
        for _ in range(30)
    ]  # fmt: skip
    assert sum(noise.red_noise_probability > SURE for noise in found) > 27
    autocovariance = np.mean([noise.red_noise for noise in found], axis=0)
    # the tail of the spectrum constrains variance / correlation time; a larger value of both is not excluded
    assert 1.4 < autocovariance[0] < 4
    assert 0.3 < autocovariance[correlation_time] / autocovariance[0] < 0.65


def test_the_covariance_is_that_of_white_plus_red_noise():
    variance = np.full(40, 4.0)
    autocovariance = 2.0 * np.exp(-np.arange(40) / 5)
    covariance = CommonNoise(1.5, autocovariance, 1.0).covariance(variance)
    assert np.diag(covariance) == pytest.approx(4 * (0.5 + 2.0))
    assert covariance[0, 5] == pytest.approx(4 * 2.0 / np.e)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert not CommonNoise(0.8, 0 * autocovariance, 0.0).covariance(variance).any()  # never below the propagated noise


def test_level_drift_and_depth_response_lie_in_the_absorbed_subspace(segment):
    _, variance = white_light(segment, segment.flux)
    basis = absorbed(segment, variance, boxcar(segment))
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-10)
    root = np.sqrt(variance)
    for direction in (1 / root, segment.trend[:, 1] / root, boxcar(segment)[0] * root):
        assert np.linalg.norm(basis @ direction) == pytest.approx(np.linalg.norm(direction), rel=1e-6)


def test_outliers_get_zero_weight_and_excess_variance_divides_the_weights(segment):
    rng = np.random.default_rng(4)
    residual = 2 * residuals(segment, rng)
    residual[3, 17] = 1.0
    after = reweight(segment, residual)
    assert after.weight[3, 17] == 0 and (after.weight == 0).sum() == (segment.weight == 0).sum() + 1
    assert np.median(after.weight / segment.weight) == pytest.approx(1 / 4, rel=0.05)


def test_white_light_is_zero_where_all_channels_are_masked(segment):
    weight = segment.weight.copy()
    weight[:, 5] = 0
    white, variance = white_light(replace(segment, weight=weight), segment.flux)
    assert white[5] == 0 and variance[5] == 0 and (np.delete(variance, 5) > 0).all()
    assert white_light(merge_channels(segment, 1), merge_channels(segment, 1).flux)[0] == pytest.approx(
        white_light(segment, segment.flux)[0]
    )
