"""The organisers' recipe, plainly: whole cubes in float64, masked arrays, one polynomial object a pixel.

The order is that of their published calibration notebook (converter, hot and dead pixels, linearity, dark, double
sampling, flat; spectra cropped to the columns of the labels), without its binning; sums over rows are their light curves.
Written anew here to compare with, in speed and in value; nothing else uses it.
"""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from ariel_lib.instrument import AIRS, FGS1_INTEGRATION_TIMES, Instrument
from ariel_lib.io.archive import Archive

HOT_SIGMA, HOT_ROUNDS = 5, 5


def organisers_light_curve(archive: Archive, split: str, planet: str, visit: int, instrument: Instrument) -> np.ndarray:
    """Sum over rows of every sample, (time, column) ascending with the detector's columns; FGS1: (time,), over all pixels."""
    signal = calibrate(archive, split, planet, visit, instrument)
    return signal.sum(axis=(1, 2)) if instrument.crop is None else signal.sum(axis=1)


def calibrate(archive: Archive, split: str, planet: str, visit: int, instrument: Instrument) -> np.ma.MaskedArray:
    """Calibrated samples, electrons: (time, row, column)."""
    folder = archive.root / split / planet
    converter = archive.converter(split, planet, instrument)
    counts = pd.read_parquet(folder / f"{instrument.name}_signal_{visit}.parquet").to_numpy()
    maps = read_maps(folder / f"{instrument.name}_calibration_{visit}", instrument)
    crop = slice(*(instrument.crop or (0, instrument.columns)))
    signal = counts.astype(np.float64).reshape(-1, instrument.rows, instrument.columns)[:, :, crop]
    dark, dead, flat, linearity = (maps[name][..., crop] for name in ("dark", "dead", "flat", "linear_corr"))
    signal = signal / converter.gain + converter.offset
    signal = mask_hot_and_dead(signal, dead, dark)
    signal = linearise(signal, linearity)
    signal = subtract_dark(signal, dead, dark, integration_times(archive, instrument, len(signal)))
    signal = signal[1::2] - signal[::2]
    return divide_flat(signal, dead, flat)


def read_maps(folder: Path, instrument: Instrument) -> dict[str, np.ndarray]:
    maps = {name: pd.read_parquet(folder / f"{name}.parquet").to_numpy() for name in ("dark", "dead", "flat", "linear_corr")}
    maps["linear_corr"] = maps["linear_corr"].astype(np.float64).reshape(6, instrument.rows, instrument.columns)
    return maps


def integration_times(archive: Archive, instrument: Instrument, reads: int) -> np.ndarray:
    if instrument is AIRS:
        return pd.read_parquet(archive.root / "axis_info.parquet")["AIRS-CH0-integration_time"].dropna().to_numpy()[:reads]
    return np.resize(FGS1_INTEGRATION_TIMES, reads)


def hot_pixels(dark: np.ndarray) -> np.ndarray:
    """Further than five standard deviations from the median of the others, found in five rounds: bool (row, column)."""
    hot = np.zeros(dark.shape, bool)
    for _ in range(HOT_ROUNDS):
        hot = np.abs(dark - np.median(dark[~hot])) > HOT_SIGMA * np.std(dark[~hot])
    return hot


def mask_hot_and_dead(signal: np.ndarray, dead: np.ndarray, dark: np.ndarray) -> np.ma.MaskedArray:
    signal = np.ma.masked_where(np.tile(dead, (len(signal), 1, 1)), signal)
    return np.ma.masked_where(np.tile(hot_pixels(dark), (len(signal), 1, 1)), signal)


def linearise(signal: np.ma.MaskedArray, coefficients: np.ndarray) -> np.ma.MaskedArray:
    """One polynomial a pixel, highest power first as np.poly1d wants it."""
    coefficients = np.flip(coefficients, axis=0)
    for row, column in itertools.product(range(signal.shape[1]), range(signal.shape[2])):
        polynomial = np.poly1d(coefficients[:, row, column])
        signal[:, row, column] = polynomial(signal[:, row, column])
    return signal


def subtract_dark(signal: np.ma.MaskedArray, dead: np.ndarray, dark: np.ndarray, times: np.ndarray) -> np.ma.MaskedArray:
    dark = np.tile(np.ma.masked_where(dead, dark), (len(signal), 1, 1))
    return signal - dark * times[:, None, None]


def divide_flat(signal: np.ma.MaskedArray, dead: np.ndarray, flat: np.ndarray) -> np.ma.MaskedArray:
    return signal / np.tile(np.ma.masked_where(dead, flat), (len(signal), 1, 1))
