"""Images on the detectors, their response to pointing jitter, and the jitter.

An image is represented with its derivatives by the pointing, so that a jittered sample is a short matrix product. Widths and
positions were measured on planet 342072318 of the 2025 data.
"""

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr

from ariel_lib.instrument import AIRS, FGS1, Instrument, airs_wavelengths

AIRS_TRACE_ROW = 15.6
FGS1_CENTRE = (15.1, 15.7)  # row, column of the core
# Two Gaussians and a halo, (weight, sigma in pixels): the first two widths are proportional to wavelength (diffraction).
_AIRS_CORE, _AIRS_WING, _AIRS_HALO = 0.354, 1.085, (0.03, 8.0)  # pixel/micron, pixel/micron, (weight, pixel)
# (weight, row and column offset from the core, row and column sigma): an aberrated spot with faint wings.
_FGS1_SPOTS = ((0.52, 0.0, 0.0, 0.70, 1.03), (0.38, 1.1, 0.0, 1.70, 1.20), (0.10, 1.0, -2.0, 4.0, 4.0))

JITTER_RMS = {FGS1.name: 0.11, AIRS.name: 0.013}  # pixel, each axis
# Relative flux per pixel of motion along rows and columns, in addition to the image's derivatives (intra-pixel response);
# slopes of flux on centroid in the 25 FGS1 samples of that planet.
JITTER_RESPONSE = {FGS1.name: (0.006, 0.026), AIRS.name: (0.0, 0.0)}
# Relative scatter of the gain between reads, common to all pixels: excess of the same samples over photon noise after
# a fit of the centroid (FGS1 3470 ppm against 2130, AIRS 269 against 238).
GAIN_NOISE = {FGS1.name: 1.2e-3, AIRS.name: 1.0e-4}
_CORRELATED, _AUTOCORRELATION = 0.6, 0.6  # fraction of the jitter's variance that is correlated; its correlation at lag one

DERIVATIVES = 6  # image, d/drow, d/dcol, d²/drow², d²/drow dcol, d²/dcol²


def image_derivatives(instrument: Instrument, rates: np.ndarray) -> np.ndarray:
    """Image of the star and its derivatives by the pointing, (6, row, column), electrons/s per pixel.

    rates: electrons/s, of each column (column,) for AIRS, of the star (1,) for FGS1.
    """
    return _airs_image(rates) if instrument.crop else _fgs1_image(float(rates[0]))


def jitter_basis(pointing: np.ndarray, response: tuple[float, float]) -> np.ndarray:
    """Weights of image and derivatives in each sample, (time, 6).

    pointing (time, 2) in pixels along rows and columns; response: relative flux per pixel of motion along each axis.
    """
    row, column = pointing.T
    taylor = np.stack([np.ones_like(row), row, column, row**2 / 2, row * column, column**2 / 2], axis=1)
    return taylor * (1.0 + pointing @ np.array(response))[:, None]


def draw_pointing(rng: np.random.Generator, n_fgs1: int, n_airs: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the pointing of each sample, FGS1 (time, 2) and AIRS (time, 2), in pixels of each instrument.

    The sum of a white and a first-order autoregressive process, common to both instruments: the pointing of AIRS is the mean
    over the FGS1 samples within its exposure.
    """
    noise = rng.standard_normal((2, max(n_fgs1, n_airs), 2))
    start = rng.standard_normal((1, 2)) * (_AUTOCORRELATION / np.sqrt(1 - _AUTOCORRELATION**2))  # stationary from the first sample on
    correlated, _ = lfilter([1.0], [1.0, -_AUTOCORRELATION], noise[1], axis=0, zi=start)
    pointing = np.sqrt(1 - _CORRELATED) * noise[0] + np.sqrt(_CORRELATED * (1 - _AUTOCORRELATION**2)) * correlated
    shared = max(1, n_fgs1 // n_airs)
    mean = np.resize(pointing, (n_airs * shared, 2)).reshape(n_airs, shared, 2).mean(axis=1)
    return JITTER_RMS[FGS1.name] * pointing[:n_fgs1], JITTER_RMS[AIRS.name] / _averaged_rms(shared) * mean


def _averaged_rms(n: int) -> float:
    """Rms of the mean of n samples of the jitter process with unit variance."""
    lag = np.arange(1, n)
    return float(np.sqrt((1 + 2 * np.sum((1 - lag / n) * _CORRELATED * _AUTOCORRELATION**lag)) / n))


# Motion of the image on AIRS over that on FGS1, pixel / pixel: AIRS's jitter over the mean of FGS1's within an exposure of AIRS.
AIRS_OVER_FGS1_MOTION = JITTER_RMS[AIRS.name] / (_averaged_rms(12) * JITTER_RMS[FGS1.name])


def _airs_image(rates: np.ndarray) -> np.ndarray:
    wavelength = airs_wavelengths(len(rates))
    wing = 0.21 + 0.07 * (3.9 - wavelength)
    halo, halo_sigma = _AIRS_HALO
    weights = (1 - wing - halo, wing, np.full_like(wing, halo))
    widths = (_AIRS_CORE * wavelength, _AIRS_WING * wavelength, np.full_like(wing, halo_sigma))
    profile = sum(w * _pixel_gaussian(AIRS.rows, AIRS_TRACE_ROW, s) for w, s in zip(weights, widths, strict=True))
    image, by_row, by_row_twice = profile * rates  # each (row, column)
    along = [-np.gradient(x, axis=1) for x in (image, by_row)]  # the spectrum shifts over fixed columns
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
    """Unit Gaussian integrated over pixels and its first two derivatives by the centre, (3, pixel, column). sigma (column,)."""
    x = (np.arange(n + 1)[:, None] - 0.5 - centre) / sigma
    density = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) / sigma
    return np.stack([np.diff(ndtr(x), axis=0), -np.diff(density, axis=0), -np.diff(density * x / sigma, axis=0)])
