"""Detector model: photon rates to counts. Reads come in pairs on one ramp; charge of the first read is part of the second.

The inverse of calibration, step by step: flat, dark, charge, non-linearity, read noise, converter. Source of the numbers:
calibration files of planet 342072318 of the 2025 data.
"""

import numpy as np

from ariel_lib.execution.compilation import compiled
from ariel_lib.instrument import AIRS, FGS1, FULL_SCALE, READ_NOISE, Instrument
from ariel_lib.io.layout import CalibrationMaps, Converter

# linear_corr averaged over pixels: detected electrons → true electrons, ascending powers.
LINEARITY = {
    AIRS.name: np.array([0.157, 0.99988, -1.5e-10, 1.17e-11, -6.0e-17, 1.35e-22]),
    FGS1.name: np.array([0.367, 0.99988, 3.1e-10, 8.5e-12, -3.7e-17, 6.8e-23]),
}
FLAT = {AIRS.name: (1.014, 0.012), FGS1.name: (1.0075, 0.013)}  # mean and scatter
DEAD_PIXELS = {AIRS.name: 12, FGS1.name: 3}
DARK_RATE = (6.3e-3, 1.5e-3)  # electrons/s: mean and scatter
HOT_PIXELS, HOTTEST = 0.005, 12.0  # fraction of the pixels; largest dark rate, electrons/s
NOISY_PIXELS = 0.06  # fraction of the pixels with enhanced read noise
_NEWTON_STEPS = 6


def draw_calibration_maps(rng: np.random.Generator, instrument: Instrument) -> CalibrationMaps:
    """Draw calibration maps of one visit with the statistics of the real ones."""
    shape = (instrument.rows, instrument.columns)
    hot = rng.random(shape) < HOT_PIXELS
    dark = np.where(hot, HOTTEST ** rng.uniform(-1, 1, shape), rng.normal(*DARK_RATE, shape))
    read_noise = READ_NOISE * np.exp(rng.normal(0, 0.035, shape))
    read_noise *= np.where(rng.random(shape) < NOISY_PIXELS, 1 + rng.exponential(0.5, shape), 1.0)
    flat = rng.normal(*FLAT[instrument.name], shape)
    dead = np.zeros(shape, bool)
    dead.flat[rng.choice(dead.size, DEAD_PIXELS[instrument.name], replace=False)] = True
    blind = dead & (rng.random(shape) < 0.6)  # the other dead pixels have a normal flat
    flat = np.where(blind, rng.normal(0, 0.01, shape), flat)
    return CalibrationMaps(
        dark, flat, np.where(blind, 3 * read_noise, read_noise), dead, _draw_linearity(rng, instrument)
    )


def _draw_linearity(rng: np.random.Generator, instrument: Instrument) -> np.ndarray:
    """Linearity coefficients (6, row, column). Orders above the first share one factor per pixel, to stay monotonic."""
    shape = (instrument.rows, instrument.columns)
    mean = LINEARITY[instrument.name][:, None, None] * np.ones(shape)
    factor = 1 + rng.normal(0, 0.1, shape)
    return np.concatenate([
        mean[:1] * (1 + rng.normal(0, 0.4, shape)), mean[1:2] + rng.normal(0, 0.005, shape), mean[2:] * factor,
    ])  # fmt: skip


def charge_rate(photon_rate: np.ndarray, maps: CalibrationMaps) -> np.ndarray:
    """Charge rate of each pixel, (time, row, column) electrons/s: flat-fielded light (0 where the flat is negative) plus dark current.

    photon_rate  (time, row, column)  electrons/s before the flat
    """
    return photon_rate * np.maximum(maps.flat, 0.0) + np.maximum(maps.dark, 0.0)


def accumulate(rate: np.ndarray, integration_times: tuple[float, float], rng: np.random.Generator | None) -> np.ndarray:
    """Charge at the two reads of each ramp, (time, 2, row, column), electrons.

    rate               (time, row, column)  electrons/s, constant over the ramp
    integration_times  s of charge in the first and the second read
    rng                for the Poisson noise of each interval; None: expected values
    """
    first, second = integration_times
    charge = np.empty((len(rate), 2, *rate.shape[1:]))
    for read, interval in enumerate((first, second - first)):
        charge[:, read] = rate * interval if rng is None else rng.poisson(rate * interval)
    charge[:, 1] += charge[:, 0]
    return charge


@compiled(nogil=True)
def _newton(
    charge: np.ndarray, coefficients: np.ndarray
) -> np.ndarray:
    """Newton iterations of detect: charge (read, pixel), coefficients (6, pixel)."""
    c = coefficients
    detected = charge.copy()
    for read in range(charge.shape[0]):
        for _ in range(_NEWTON_STEPS):
            for pixel in range(charge.shape[1]):  # innermost and unrolled, so that it is vectorised
                x = detected[read, pixel]
                c0, c1, c2, c3, c4, c5 = c[0, pixel], c[1, pixel], c[2, pixel], c[3, pixel], c[4, pixel], c[5, pixel]
                value = c0 + x * (c1 + x * (c2 + x * (c3 + x * (c4 + x * c5))))
                slope = c1 + x * (2 * c2 + x * (3 * c3 + x * (4 * c4 + x * 5 * c5)))
                detected[read, pixel] = x - (value - charge[read, pixel]) / slope
    return detected


def detect(charge: np.ndarray, linearity: np.ndarray) -> np.ndarray:
    """Apply the non-linearity: detected electrons x, the root of Σ c_p x^p = charge, by Newton's method from x = charge.

    charge     (…, row, column)  true electrons
    linearity  (6, row, column)  coefficients of ascending powers, detected → true electrons
    """
    pixels = linearity[0].size
    flat_charge = np.ascontiguousarray(charge, dtype=float).reshape(-1, pixels)
    return _newton(flat_charge, np.ascontiguousarray(linearity, dtype=float).reshape(len(linearity), pixels)).reshape(
        charge.shape
    )


def read_out(detected: np.ndarray, read_noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add read noise. detected (…, row, column), read_noise (row, column), electrons."""
    return detected + read_noise * rng.standard_normal(detected.shape, dtype=np.float32)


def digitise(electrons: np.ndarray, converter: Converter) -> np.ndarray:
    """Convert electrons to counts, floor((electrons − offset)·gain) clipped to 16 bits, uint16."""
    counts = (electrons - converter.offset) * converter.gain
    np.floor(counts, out=counts)
    return np.clip(counts, 0, FULL_SCALE, out=counts).astype(np.uint16)
