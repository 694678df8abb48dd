"""Images on the detectors, how pointing jitter moves them, and the jitter itself.

An image is given with its derivatives in the pointing, so that a jittered sample is a short matrix product. Widths and
positions: planet 342072318 of the 2025 data. Knows no electronics.
"""

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr

from ariel_lib.instrument import AIRS, FGS1, Instrument, airs_wavelengths

AIRS_TRACE_ROW = 15.6
FGS1_CENTRE = (15.1, 15.7)  # row, column of the core
# Two Gaussians and a halo, (weight, sigma in pixels): the first two widths grow with wavelength like diffraction.
_AIRS_CORE, _AIRS_WING, _AIRS_HALO = 0.354, 1.085, (0.03, 8.0)  # pixel/micron, pixel/micron, (weight, pixel)
# (weight, row and column offset from the core, row and column sigma): an aberrated spot with faint wings.
_FGS1_SPOTS = ((0.52, 0.0, 0.0, 0.70, 1.03), (0.38, 1.1, 0.0, 1.70, 1.20), (0.10, 1.0, -2.0, 4.0, 4.0))

JITTER_RMS = {FGS1.name: 0.11, AIRS.name: 0.013}  # pixel, either axis
# Relative flux per pixel of motion along rows and columns, beyond what the image's own derivatives give (response
# inside the pixels); slopes of flux on centroid in the 25 FGS1 samples of that planet.
JITTER_RESPONSE = {FGS1.name: (0.006, 0.026), AIRS.name: (0.0, 0.0)}
# Relative scatter of the gain from read to read, all pixels together: excess of the same samples over photon noise once
# the centroid is fitted (FGS1 3470 ppm against 2130, AIRS 269 against 238).
GAIN_NOISE = {FGS1.name: 1.2e-3, AIRS.name: 1.0e-4}
_CORRELATED, _MEMORY = 0.6, 0.6  # share of the jitter's variance that remembers, and its memory over one FGS1 sample

DERIVATIVES = 6  # image, d/drow, d/dcol, d²/drow², d²/drow dcol, d²/dcol²


def image_derivatives(instrument: Instrument, rates: np.ndarray) -> np.ndarray:
    """Star's image and its derivatives in the pointing, (6, row, column), electrons/s a pixel.

    rates: electrons/s in each column (column,) for AIRS, of the whole star (1,) for FGS1.
    """
    return _airs_image(rates) if instrument.crop else _fgs1_image(float(rates[0]))


def jitter_basis(pointing: np.ndarray, response: tuple[float, float]) -> np.ndarray:
    """Weights of the six images in each sample, (time, 6). pointing (time, 2) in pixels along rows and columns."""
    row, column = pointing.T
    taylor = np.stack([np.ones_like(row), row, column, row**2 / 2, row * column, column**2 / 2], axis=1)
    return taylor * (1.0 + pointing @ np.array(response))[:, None]


def draw_pointing(rng: np.random.Generator, n_fgs1: int, n_airs: int) -> tuple[np.ndarray, np.ndarray]:
    """Pointing of each sample, FGS1 (time, 2) and AIRS (time, 2), in pixels of either instrument.

    A white part and a first-order autoregressive one. Both instruments see one telescope: AIRS averages the FGS1
    samples that fall into its exposure.
    """
    noise = rng.standard_normal((2, max(n_fgs1, n_airs), 2))
    start = rng.standard_normal((1, 2)) * (_MEMORY / np.sqrt(1 - _MEMORY**2))  # stationary from the first sample on
    memory, _ = lfilter([1.0], [1.0, -_MEMORY], noise[1], axis=0, zi=start)
    pointing = np.sqrt(1 - _CORRELATED) * noise[0] + np.sqrt(_CORRELATED * (1 - _MEMORY**2)) * memory
    shared = max(1, n_fgs1 // n_airs)
    mean = np.resize(pointing, (n_airs * shared, 2)).reshape(n_airs, shared, 2).mean(axis=1)
    return JITTER_RMS[FGS1.name] * pointing[:n_fgs1], JITTER_RMS[AIRS.name] / _averaged_rms(shared) * mean


def _averaged_rms(n: int) -> float:
    """Rms of the mean of n samples of unit variance with the autocorrelation above."""
    lag = np.arange(1, n)
    return float(np.sqrt((1 + 2 * np.sum((1 - lag / n) * _CORRELATED * _MEMORY**lag)) / n))


def _airs_image(rates: np.ndarray) -> np.ndarray:
    wavelength = airs_wavelengths(len(rates))
    wing = 0.21 + 0.07 * (3.9 - wavelength)
    halo, halo_sigma = _AIRS_HALO
    weights = (1 - wing - halo, wing, np.full_like(wing, halo))
    widths = (_AIRS_CORE * wavelength, _AIRS_WING * wavelength, np.full_like(wing, halo_sigma))
    profile = sum(w * _pixel_gaussian(AIRS.rows, AIRS_TRACE_ROW, s) for w, s in zip(weights, widths, strict=True))
    image, by_row, by_row_twice = profile * rates  # each (row, column)
    along = [-np.gradient(x, axis=1) for x in (image, by_row)]  # the spectrum moves with the pointing, the columns stay
    return np.stack([image, by_row, along[0], by_row_twice, along[1], np.gradient(np.gradient(image, axis=1), axis=1)])


def _fgs1_image(rate: float) -> np.ndarray:
    images = np.zeros((DERIVATIVES, FGS1.rows, FGS1.columns))
    for weight, row, column, row_sigma, column_sigma in _FGS1_SPOTS:
        r = _pixel_gaussian(FGS1.rows, FGS1_CENTRE[0] + row, np.array([row_sigma]))
        c = _pixel_gaussian(FGS1.columns, FGS1_CENTRE[1] + column, np.array([column_sigma]))[:, :, 0]
        pairs = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
        images += weight * np.stack([r[i] * c[j] for i, j in pairs])
    return rate * images


def _pixel_gaussian(n: int, centre: float, sigma: np.ndarray) -> np.ndarray:
    """A unit Gaussian over pixels and its two derivatives in the centre, (3, pixel, column). sigma (column,)."""
    x = (np.arange(n + 1)[:, None] - 0.5 - centre) / sigma
    density = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) / sigma
    return np.stack([np.diff(ndtr(x), axis=0), -np.diff(density, axis=0), -np.diff(density * x / sigma, axis=0)])
