"""Light curves without frames: signal and noise that calibration would extract from a scene, in closed form.

The estimators of calibration are linear in the pixels. Applied to the scene's mean image and its derivatives they give the
response of flux, background and centroid to light and pointing; applied to the pixel variances, the noise. The plans of the
calibration package are used, so that both stay consistent.
"""

from dataclasses import dataclass

import numpy as np

from ariel_lib.calibration.background import (
    Background,
    BackgroundPlan,
    plan_background,
    smooth_background,
    subtract_background,
)
from ariel_lib.calibration.bad_pixels import neutralise, unusable_pixels
from ariel_lib.calibration.extraction import ExtractionPlan, plan_extraction
from ariel_lib.calibration.linearity import evaluate
from ariel_lib.io.layout import CalibrationMaps, Converter
from ariel_lib.io.light_curves import LightCurve
from ariel_lib.simulator import detector, optics
from ariel_lib.simulator.visit import INTEGRATION_TIMES, Scene


@dataclass(frozen=True)
class PixelNoise:
    """Variances of one calibrated CDS sample of the star out of transit, (row, column), electrons².

    star  Poisson noise of starlight; dark  of background and dark current; read  read noise of both reads
    """

    star: np.ndarray
    dark: np.ndarray
    read: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Sum of the variances, (row, column)."""
        return self.star + self.dark + self.read


def observe(scene: Scene, maps: CalibrationMaps, converter: Converter, rng: np.random.Generator) -> LightCurve:
    """Light curve of a scene at CDS cadence with noise, background subtracted as in calibration.

    Noise is Gaussian and independent between samples and wavelengths; gain noise is common to all wavelengths.
    """
    bad = unusable_pixels(maps)
    images, sky = scene.images * scene.instrument.ramp_time, scene.sky * scene.instrument.ramp_time
    noise = pixel_noise(scene, neutralise(maps, bad), converter)
    background_plan = plan_background(noise.total, bad, scene.instrument)
    mean = np.tensordot(scene.basis.mean(0), images, 1) * scene.brightness.mean(0) + sky  # including the blur by jitter
    level = np.tensordot(background_plan.weights, mean, 2) @ background_plan.basis
    plan = plan_extraction(mean - level, noise.total, bad, scene.instrument)
    basis = scene.basis * (1 + _gain_scatter(scene.instrument.name, len(scene.time), rng))[:, None]
    centroid, background = _measure_plane(scene, basis, images, sky, noise, plan, background_plan, rng)
    curve = _extract(scene, basis, images, sky, noise, plan, centroid, rng)
    return subtract_background(curve, smooth_background(background), background_plan, plan)


def pixel_noise(scene: Scene, maps: CalibrationMaps, converter: Converter) -> PixelNoise:
    """Variances of one calibrated CDS sample of the star out of transit. maps: neutral values where pixels are bad."""
    light = scene.images[0] + scene.sky
    charge = detector.accumulate(
        detector.charge_rate(light[None], maps), INTEGRATION_TIMES[scene.instrument.name], None
    )[0]
    _, slope = evaluate(maps.linearity, detector.detect(charge, maps.linearity))
    single = maps.read_noise**2 + converter.gain**-2 / 12
    ramp = scene.instrument.ramp_time
    return PixelNoise(
        star=ramp * scene.images[0] / maps.flat,
        dark=ramp * (scene.sky / maps.flat + np.maximum(maps.dark, 0) / maps.flat**2),
        read=single * (slope**2).sum(0) / maps.flat**2,
    )


def _gain_scatter(name: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the relative error of n CDS samples from independent gain errors of their two reads, (time,)."""
    first, second = INTEGRATION_TIMES[name]
    return rng.normal(0, optics.GAIN_NOISE[name] * np.hypot(first, second) / (second - first), n)


def _extract(
    scene: Scene, basis: np.ndarray, images: np.ndarray, sky: np.ndarray, noise: PixelNoise, plan: ExtractionPlan,
    centroid: np.ndarray, rng: np.random.Generator,
) -> LightCurve:  # fmt: skip
    """Extracted light curve before background subtraction; arguments as in observe."""
    photometer = plan.instrument.crop is None
    brightness = scene.brightness if photometer else plan.to_wavelengths(scene.brightness)
    response = plan.to_wavelengths((images * plan.weights).sum(1))  # (6, wavelength)
    square = plan.weights**2
    star, dark, read = (
        plan.to_wavelengths((square * image).sum(0)[None]) for image in (noise.star, noise.dark, noise.read)
    )
    poisson = brightness * star + dark
    flux = brightness * (basis @ response) + plan.to_wavelengths((sky * plan.weights).sum(0)[None])
    flux += np.sqrt(poisson + read) * rng.standard_normal(flux.shape, dtype=np.float32)
    mask = np.zeros(flux.shape, bool) | (False if photometer else ~plan.to_wavelengths(plan.usable))
    columns = [flux, poisson, np.broadcast_to(read, flux.shape), mask]
    flux, poisson, read, mask = (x[:, 0] for x in columns) if photometer else columns
    return LightCurve(scene.time, flux, poisson, read, centroid, np.zeros(len(flux)), mask)


def _measure_plane(
    scene: Scene, basis: np.ndarray, images: np.ndarray, sky: np.ndarray, noise: PixelNoise, plan: ExtractionPlan,
    background_plan: BackgroundPlan, rng: np.random.Generator,
) -> tuple[np.ndarray, Background]:  # fmt: skip
    """Centroid (time, 2) and background, both estimated from the whole detector, with their joint noise."""
    weights = np.concatenate([plan.centroid_weights, background_plan.weights])  # (estimator, row, column)
    response = np.einsum("krc,erc->kce", images, weights, optimize=True)
    if scene.brightness.shape[1] == 1:
        response = response.sum(1, keepdims=True)
    values = np.tensordot(weights, sky, 2) + sum(
        (scene.brightness * weight[:, None]) @ per_column for weight, per_column in zip(basis.T, response, strict=True)
    )
    covariance = np.einsum("erc,rc,frc->ef", weights, noise.total, weights, optimize=True)
    values = values + rng.multivariate_normal(np.zeros(len(weights)), covariance, len(values))
    terms = background_plan.covariance.shape
    background = Background(
        values[:, 3:], np.broadcast_to(background_plan.covariance, (len(values), *terms)), np.zeros(len(values), bool)
    )
    return values[:, 1:3] / values[:, :1], background
