"""Frames small enough for a test: reads made here by the inverse of every calibration step, for tests of several packages."""

from dataclasses import dataclass

import numpy as np
import pytest

from ariel_lib.calibration.linearity import evaluate
from ariel_lib.calibration.plan import Detector
from ariel_lib.instrument import AIRS, FGS1, INSTRUMENTS, Instrument, airs_wavelengths
from ariel_lib.io.layout import CalibrationMaps, Converter
from ariel_lib.io.writer import write_axis, write_calibration_maps, write_converters, write_signal


@dataclass(frozen=True)
class Visit:
    """Reads of one visit, what reduces them, and the light (time, column) that the trace received between them."""

    counts: np.ndarray
    detector: Detector
    light: np.ndarray


def draw_maps(rng: np.random.Generator, instrument: Instrument) -> CalibrationMaps:
    shape = (instrument.rows, instrument.columns)
    linearity = np.zeros((6, *shape))
    linearity[1] = 0.9999
    linearity[2] = rng.normal(0, 1e-8, shape)
    linearity[3] = 1.2e-11 * rng.normal(1, 0.1, shape)
    linearity[4], linearity[5] = -6e-17, 1.35e-22
    return CalibrationMaps(
        rng.uniform(0, 0.02, shape),
        rng.normal(1, 0.02, shape),
        rng.normal(13, 0.3, shape),
        np.zeros(shape, bool),
        linearity,
    )


def star_image(instrument: Instrument, brightness: float = 60_000.0) -> np.ndarray:
    """Electrons a sample, (row, column): all light inside the aperture."""
    rows = np.arange(instrument.rows) - (instrument.rows - 1) / 2 - 0.1
    inside = np.zeros(instrument.rows)
    inside[slice(*instrument.trace_rows)] = 1
    across = inside * np.exp(-0.5 * (rows / 1.2) ** 2)
    if instrument.crop is None:
        return brightness * np.outer(across, across) / across.sum() ** 2
    return np.outer(across / across.sum(), brightness * np.linspace(0.3, 1, instrument.columns))


def detect(charge: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Newton's inverse of the linearity polynomial."""
    signal = charge.copy()
    for _ in range(20):
        value, slope = evaluate(coefficients, signal)
        signal = signal - (value - charge) / slope
    return signal


@pytest.fixture(scope="session")
def make_visit():
    def make(
        instrument: Instrument,
        n_samples: int,
        rng: np.random.Generator,
        *,
        noise: bool = True,
        curve: np.ndarray | None = None,
        sky: float = 3.0,
        brightness: float = 60_000.0,
        jitter: float = 0.0,
        maps: CalibrationMaps | None = None,
    ) -> Visit:
        maps = maps or draw_maps(rng, instrument)
        converter = Converter(0.4369, -1000.0)
        curve = np.ones(n_samples) if curve is None else curve
        image = star_image(instrument, brightness) * np.ones((n_samples, 1, 1))
        if jitter:
            shift = rng.normal(0, jitter, (n_samples, 1, 1))
            image = np.maximum(image - shift * np.gradient(image, axis=1), 0)
        light = image * curve.reshape(n_samples, 1, -1) if curve.ndim == 2 else image * curve[:, None, None]
        ramp = (light + sky) * maps.flat + maps.dark * instrument.ramp_time
        start = 0.02 * ramp + maps.dark * 0.1
        if noise:
            start, ramp = rng.poisson(start).astype(float), rng.poisson(ramp).astype(float)
        charge = np.stack([start, start + ramp], 1).reshape(2 * n_samples, *ramp.shape[1:])
        signal = detect(charge, maps.linearity)
        if noise:
            signal = signal + rng.normal(0, maps.read_noise, signal.shape)
        counts = (signal - converter.offset) * converter.gain
        if noise:
            counts = np.clip(np.floor(counts), 0, 65535).astype(np.uint16)
        integration = np.tile([0.1, 0.1 + instrument.ramp_time], n_samples)
        # The start read holds 2 % of the ramp: only the dark must match the integration times.
        stamps = np.repeat(np.arange(n_samples) * instrument.sample_time, 2) + np.tile([0.1, 0.2], n_samples)
        detector = Detector(instrument, converter, maps, maps.dead.copy(), stamps / 3600, integration)
        return Visit(counts, detector, light.sum(1))

    return make


@pytest.fixture(scope="session")
def small_frames(tmp_path_factory, make_visit):
    """Three visits of two planets in Kaggle's layout, twelve AIRS and thirty FGS1 samples each."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(5)
    for planet, visit in [("11", 0), ("11", 1), ("23", 0)]:
        for instrument, n in ((AIRS, 12), (FGS1, 30)):
            made = make_visit(instrument, n, rng)
            write_signal(root, "train", planet, visit, instrument, [made.counts])
            write_calibration_maps(root, "train", planet, visit, instrument, made.detector.maps)
    write_axis(root, np.arange(24) / 900, np.tile([0.1, 4.5], 12), np.arange(60) / 9000, airs_wavelengths())
    write_converters(root, {name: made.detector.converter for name in INSTRUMENTS})
    return root
