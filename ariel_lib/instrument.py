"""The two channels of Ariel in the challenge, FGS1 and AIRS-CH0: detector geometry, cadence and wavelengths.

Only constants of the instrument; the shapes of a data set come from its files. Source unless stated otherwise: the data page
and the files of the NeurIPS Ariel Data Challenge 2025 (axis_info.parquet, adc_info.csv, calibration folders).
"""

from dataclasses import dataclass

import numpy as np

FULL_SCALE = 65535  # counts, maximum of the 16-bit ADC


@dataclass(frozen=True)
class Instrument:
    """One detector as it appears in the challenge's files.

    name                 part of the file names
    rows, columns        detector shape, pixels
    crop                 columns of the spectrum, first and one past the last (None: photometer, all columns)
    ramp_time            s between the two reads of a pair
    sample_time          s between the starts of successive pairs
    trace_rows           rows whose light is extracted, first and one past the last
    background_rows      rows outside the trace, as two (first, one past the last) blocks
    """

    name: str
    rows: int
    columns: int
    crop: tuple[int, int] | None
    ramp_time: float
    sample_time: float
    trace_rows: tuple[int, int]
    background_rows: tuple[tuple[int, int], tuple[int, int]]

    @property
    def pixels(self) -> int:
        """Number of pixels in the files."""
        return self.rows * self.columns

    @property
    def n_wavelengths(self) -> int:
        """Number of wavelengths of the spectrum that this detector measures: 1 for a photometer."""
        return 1 if self.crop is None else self.crop[1] - self.crop[0]


# Columns 39:321 reversed are wl_2..wl_283 of wavelengths.csv to 2e-15. Rows 8:24 hold 98 % of the light of planet 342072318.
AIRS = Instrument("AIRS-CH0", 32, 356, (39, 321), 4.4, 4.8, (8, 24), ((0, 8), (24, 32)))
# 16 x 16 pixels around the centre hold 97 % of the light of planet 342072318.
FGS1 = Instrument("FGS1", 32, 32, None, 0.1, 0.4, (8, 24), ((0, 6), (26, 32)))
INSTRUMENTS = {instrument.name: instrument for instrument in (FGS1, AIRS)}

FGS1_INTEGRATION_TIMES = (0.1, 0.2)  # s, first and second read of a pair; axis_info lists those of AIRS only
FGS1_WAVELENGTH = 0.7  # micron, wavelengths.csv of 2025 (2024: 0.705)
FGS1_WAVELENGTH_WEIGHT = 57.846  # weight of wl_1 in the 2025 score
LINEARITY_ORDERS = 6  # linear_corr.parquet holds six ascending coefficients a pixel

# adc_info.csv of 2025
ADC_GAIN = 0.4369  # counts / electron
ADC_OFFSET = -1000.0  # electrons
READ_NOISE = 13.0  # electrons a read: median of read.parquet, planet 342072318

# Quadratic fitted to AIRS-CH0-axis2-um of axis_info.parquet, pixel 0..355 (residual below 1e-11 micron).
_AIRS_DISPERSION = (4.078463140899, -4.433634065930e-03, -6.913472144802e-06)


def airs_wavelengths(columns: int = AIRS.columns) -> np.ndarray:
    """Wavelength of each AIRS-CH0 column, (column,), micron, descending."""
    pixel = np.arange(columns)
    return _AIRS_DISPERSION[0] + _AIRS_DISPERSION[1] * pixel + _AIRS_DISPERSION[2] * pixel**2


def spectrum_wavelengths() -> np.ndarray:
    """The 283 wavelengths of a spectrum, (wavelength,), micron: FGS1 first, then AIRS ascending."""
    first, last = AIRS.crop
    return np.concatenate([[FGS1_WAVELENGTH], airs_wavelengths()[first:last][::-1]])
