"""Input features of V50 from transit fits and light curves, with fixed scalings independent of the training set. No labels."""

import numpy as np
import torch

from ariel_lib.config import PRIORS
from ariel_lib.instrument import FGS1
from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurves
from ariel_lib.models.inputs import Inputs
from ariel_lib.priors.scale_height import scale_height_depth
from ariel_lib.transit.result import DepthEstimate

FGS1_CHANNELS = (
    "residual in sigma",
    "log relative sigma",
    "centroid row",
    "centroid column",
    "phase in transit durations",
)
NODE_FEATURES = 7
STAR_FEATURES = 12
DEPTH_SCALE = 1e-4  # 100 ppm, twice the median spread of a spectrum
CENTROID_SCALE = 0.1  # pixel, the pointing jitter of FGS1
TYPICAL_AMPLITUDE = 6e-5  # median amplitude of the features of the challenge's labels
FLAT_SIGMA = 2e-4  # sigma of a spectrum about its white depth, between median and rms of the labels


def make_initial_estimate(
    initial_estimate: str, depth: np.ndarray, estimate: DepthEstimate, conditioned_prior
) -> tuple[np.ndarray, np.ndarray, float]:
    """Initial estimate that the network corrects: mean and sigma (wavelength,), and expected amplitude of the planet's features.

    initial_estimate   a name of config.PRIORS: posterior under that prior; "fit": transit fit alone; "white": white depth, flat
    depth              (wavelength,)  measured depths, from estimate or a noise realisation of it
    conditioned_prior  the prior's conditioned_on(...) with the covariance of depth, see priors.registry; not used by fit and white
    """
    if initial_estimate in PRIORS:
        mean, sigma, weights = (x[0] for x in conditioned_prior.moments(depth[None]))
        return mean, sigma, float(weights @ conditioned_prior.amplitudes)
    if initial_estimate == "fit":
        return depth, estimate.sigma, TYPICAL_AMPLITUDE
    white = np.average(depth, weights=estimate.sigma_uncorrelated**-2)
    return np.full_like(depth, white), np.full_like(depth, FLAT_SIGMA), TYPICAL_AMPLITUDE


def fgs1_channels(estimate: DepthEstimate, visits: list[LightCurves]) -> tuple[np.ndarray, np.ndarray]:
    """FGS1 light curves of all visits at native cadence, concatenated: channels (time, channel), mask (time,) True where unusable.

    The channels are FGS1_CHANNELS; without FGS1 data a single masked sample is returned.
    """
    channels, masks = [np.zeros((0, len(FGS1_CHANNELS)))], [np.zeros(0, bool)]
    fitted = {curve.visit: curve for curve in estimate.white if curve.instrument == FGS1.name}
    for curves in visits:
        curve, fit = curves.fgs1, fitted.get(curves.visit)
        if fit is None:
            continue
        flux, variance = curve.flux.ravel().astype(float), curve.variance.ravel().astype(float)
        mask = curve.mask.ravel() | ~(variance > 0) | ~np.isfinite(flux) | ~np.isfinite(curve.centroid).all(axis=1)
        expected = np.median(flux[~mask]) * np.interp(curve.time, fit.time, fit.transit_model)
        sigma = np.sqrt(np.where(mask, 1.0, variance))
        columns = [
            np.clip((flux - expected) / sigma, -8, 8),
            np.log10(sigma / np.abs(expected)) + 2.5,
            *(np.clip(curve.centroid.T / CENTROID_SCALE, -8, 8)),
            np.clip((curve.time - fit.t0) / max(fit.duration, 1e-3), -3, 3),
        ]
        channels.append(np.where(mask[:, None], 0.0, np.stack(columns, axis=1)))
        masks.append(mask)
    if len(masks) == 1:  # no FGS1 at all: one masked sample
        return np.zeros((1, len(FGS1_CHANNELS))), np.ones(1, bool)
    return np.concatenate(channels), np.concatenate(masks)


def node_features(depth: np.ndarray, estimate: DepthEstimate, mean: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Node features of one planet, (wavelength, feature): measured depth and its noise, initial estimate and stellar signal.

    depth, mean, sigma (wavelength,): measured depths, and mean and sigma of the initial estimate.
    """
    white = mean[1:].mean()
    level = np.where(estimate.level > 0, estimate.level, np.nan)
    brightness = np.log10(level / np.nanmedian(level))
    slope = np.concatenate([[0.0], np.gradient(mean[1:])])
    return np.stack(
        [
            np.clip((depth - mean) / estimate.sigma_uncorrelated, -5, 5),
            np.arcsinh((depth - white) / DEPTH_SCALE),
            np.arcsinh((mean - white) / DEPTH_SCALE),
            np.arcsinh(slope / (0.1 * DEPTH_SCALE)),
            np.log10(sigma / DEPTH_SCALE),
            np.log10(estimate.sigma_uncorrelated / DEPTH_SCALE),
            np.where(np.isfinite(brightness), brightness, -2.0),
        ],
        axis=-1,
    )


def star_features(star: Star | None, estimate: DepthEstimate, amplitude: float) -> np.ndarray:
    """Features of star and planet, (star_feature,).

    Stellar parameters with a flag (all 0 without a star, each 0 where the table lacks it), white depth, expected amplitude, impact
    parameter, noise, excess noise
    and depth of one scale height.
    """
    scale = scale_of(star, estimate)
    catalogue = np.zeros(6)
    if star is not None:
        mass = np.maximum(star.Mp, 1e-3)  # keeps NaN
        known = [(star.Ts - 5500) / 700, np.log(star.Rs), np.log10(star.P / 4.5), np.log(star.sma / 10), np.log10(mass), 1.0]
        catalogue = np.nan_to_num(known)  # 0, near a median star, where the table has no value
    fit = [
        np.log10(_white_depth(estimate) / 0.0147),
        np.log10(amplitude / TYPICAL_AMPLITUDE),
        estimate.orbit[1],
        np.log10(np.median(estimate.sigma_uncorrelated) / DEPTH_SCALE),
    ]
    height = np.log10(scale / DEPTH_SCALE) if np.isfinite(scale) else 0.0
    return np.concatenate([catalogue, fit, [np.log10(np.median(estimate.excess)), height]])


def scale_of(star: Star | None, estimate: DepthEstimate) -> float:
    """Depth that one scale height adds to a fitted planet; NaN where the star table lacks the values."""
    return scale_height_depth(star, _white_depth(estimate))


def _white_depth(estimate: DepthEstimate) -> float:
    """Weighted mean depth over all wavelengths, at least 10 ppm."""
    return max(float(np.average(estimate.depth, weights=estimate.sigma_uncorrelated**-2)), 1e-5)


def make_inputs(
    fgs1: np.ndarray, fgs1_mask: np.ndarray, mean: np.ndarray, sigma: np.ndarray, nodes: np.ndarray, star: np.ndarray
) -> Inputs:
    """Arrays of one planet as Inputs, float32, with a leading planet axis of length one."""
    tensors = [torch.from_numpy(np.asarray(x, dtype=np.float32))[None] for x in (fgs1, mean, sigma, nodes, star)]
    return Inputs(tensors[0], torch.from_numpy(fgs1_mask)[None], *tensors[1:])
