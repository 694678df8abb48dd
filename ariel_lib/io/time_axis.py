"""Checks of time axes: of axis_info.parquet, where reads get their times, and of light curves.

Times are hours. The unit is recognised by the instrument's cadence, which seconds, minutes and days miss by factors of 24 and more.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ariel_lib.errors import ArchiveError
from ariel_lib.instrument import AIRS, INSTRUMENTS, Instrument
from ariel_lib.io.light_curves import LightCurve, LightCurves
from ariel_lib.io.tables import as_numbers, present

CADENCE_FACTOR = 5.0  # ratio to the instrument's cadence up to which another one is accepted
CLOCK_TOLERANCE = 0.01  # of a visit's length, by which the clocks of the two instruments may lie apart at either end; 0 in 2025
BINNED_FACTOR = 3000.0  # samples of a light curve may hold many pairs of reads
UNITS = {"seconds": 3600.0, "minutes": 60.0, "days": 1 / 24}  # in an hour


def axis_column(table: pd.DataFrame, name: str, path: Path, expected: str) -> np.ndarray:
    """A column of axis_info.parquet up to its last value: columns have different lengths, the shorter end in NaN.

    Raises ArchiveError for a missing column, text, a gap or infinity; `expected` describes the column.
    """
    if name not in table:
        raise ArchiveError(path, f"a column {name} with {expected}", f"columns {', '.join(map(str, table.columns[:8]))}")
    values = as_numbers(table[name])
    rows = np.flatnonzero(present(table[name]))
    values = values[: rows[-1] + 1 if len(rows) else 0]
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        cell = table[name].iloc[row]
        raise ArchiveError(path, f"{name}: {expected}", f"{f'the text {cell!r}' if isinstance(cell, str) else cell} in row {row}")
    return values


def read_start_times(table: pd.DataFrame, path: Path, instrument: Instrument, n_reads: int | None = None) -> np.ndarray:
    """Time stamps of the reads of a visit, h, (time,). Raises ArchiveError unless there are n_reads ascending ones at its cadence.

    n_reads  None: any number of pairs
    """
    name, number = f"{instrument.name}-axis0-h", "" if n_reads is None else f"{n_reads} "
    expected = f"{number}ascending times in hours, one for each read, a pair of reads about every {instrument.sample_time} s"
    times, expected = _times_of_reads(table, name, path, expected, n_reads)
    if fault := order_fault(times):
        raise ArchiveError(path, expected, fault)
    if len(times) > 2:
        pair = 2 * (times[-1] - times[0]) / (len(times) - 1)
        if fault := unit_fault(pair, instrument.sample_time, CADENCE_FACTOR):
            raise ArchiveError(path, expected, f"a pair every {fault}")
    return times


def require_one_clock(table: pd.DataFrame, path: Path) -> None:
    """Raise ArchiveError unless the reads of both instruments begin together and their pairs keep the ratio of the cadences.

    That is, where one clock is shifted or stretched; instruments that cover unequal parts of a visit are no fault of a clock.
    """
    columns = {name: axis_column(table, f"{name}-axis0-h", path, "ascending times in hours") for name in INSTRUMENTS}
    ends = np.array([times[[0, -1]] for times in columns.values() if len(times)])
    found = ", ".join(f"{name} from {first:.6g} to {last:.6g} h" for name, (first, last) in zip(columns, ends))
    if np.ptp(ends[:, 0]) > CLOCK_TOLERANCE * np.ptp(ends, axis=1).max():
        raise ArchiveError(path, "times of both instruments on one clock, whose reads begin together", found)
    pairs = {name: 3600 * float(np.diff(times[::2]).mean()) for name, times in columns.items() if len(times) > 2}
    paces = [pair / INSTRUMENTS[name].sample_time for name, pair in pairs.items()]
    if len(paces) == 2 and np.ptp(paces) > CLOCK_TOLERANCE * min(paces):
        cadences = " and ".join(f"{INSTRUMENTS[name].sample_time} s ({name})" for name in pairs)
        found = " and ".join(f"{pair:.5g} s" for pair in pairs.values()) + f" ({found})"
        raise ArchiveError(path, f"times of both instruments on one clock, pairs of reads every {cadences} or in that ratio", found)


def read_integration_times(table: pd.DataFrame, path: Path, instrument: Instrument, n_reads: int) -> np.ndarray:
    """Time of each read since the reset, s, (time,). Raises ArchiveError unless a pair encloses a ramp of about the instrument's."""
    name = f"{instrument.name}-integration_time"
    expected = f"{n_reads} times since the reset in seconds, start and end of each ramp, about {instrument.ramp_time} s apart"
    times, expected = _times_of_reads(table, name, path, expected, n_reads)
    pairs = n_reads // 2 * 2
    ramps = times[1:pairs:2] - times[:pairs:2]
    wrong = (times[:pairs:2] < 0) | (ramps > CADENCE_FACTOR * instrument.ramp_time) | (ramps < instrument.ramp_time / CADENCE_FACTOR)
    if wrong.any():
        row = 2 * int(np.flatnonzero(wrong)[0])
        raise ArchiveError(path, expected, f"{times[row]:g} and {times[row + 1]:g} in rows {row} and {row + 1}")
    return times


def _times_of_reads(table: pd.DataFrame, name: str, path: Path, expected: str, n_reads: int | None) -> tuple[np.ndarray, str]:
    """A column with a time for each read, (time,), and what is expected of it, with its name. Raises ArchiveError for another length."""
    times, expected = axis_column(table, name, path, expected), f"{name}: {expected}"
    if len(times) != n_reads and (n_reads is not None or len(times) < 2):
        raise ArchiveError(path, expected, f"{len(times)} times", "The file has to be that of this visit's data set.")
    return times, expected


def order_fault(times: np.ndarray) -> str | None:
    """Where times do not ascend, in words, or None."""
    if not (np.diff(times) > 0).all():
        row = 1 + int(np.flatnonzero(~(np.diff(times) > 0))[0])
        return f"{times[row]} in row {row} after {times[row - 1]}"
    return None


def require_hours(times: np.ndarray, instrument: Instrument, where: str) -> None:
    """Raise ArchiveError unless the times of a light curve, which may be binned, ascend in hours. where: for the message."""
    step = float(np.median(np.diff(times))) if len(times) > 1 else instrument.sample_time / 3600
    fault = order_fault(times) or unit_fault(step, instrument.sample_time, BINNED_FACTOR)
    if not fault and 3600 * step < instrument.sample_time / 2:
        fault = f"a sample every {step:.4g} h, shorter than that of the detector"
    if fault:
        raise ArchiveError(where, f"ascending times in hours, a sample every {instrument.sample_time} s or more", fault)


def clock_remark(curves: LightCurves) -> str | None:
    """What is odd where the light curves of both instruments do not cover the same time, in words, or None."""
    spans = np.array([_span(curves.fgs1), _span(curves.airs)]).round(4) + 0.0  # no -0
    if (np.ptp(spans, axis=0) <= CLOCK_TOLERANCE * np.ptp(spans, axis=1).max()).all():
        return None
    where = " and ".join(f"{name} from {first:.2f} to {last:.2f} h" for name, (first, last) in zip(("FGS1", "AIRS-CH0"), spans))
    return f"visit {curves.visit}: the light curves do not cover the same time, {where}; are both times of one clock?"


def _span(curve: LightCurve) -> tuple[float, float]:
    """Begin and end of a light curve, h: half a sample before the first mid-time and after the last."""
    half = float(np.median(np.diff(curve.time))) / 2 if len(curve.time) > 1 else 0.0
    return float(curve.time[0]) - half, float(curve.time[-1]) + half


def unit_fault(interval: float, cadence: float, factor: float) -> str | None:
    """How an interval in hours differs from a cadence in seconds by more than a factor, in words with the unit that fits; or None."""
    ratio = 3600 * interval / cadence
    if 1 / factor <= ratio <= factor:
        return None
    unit = next((f"; that would fit {name}" for name, each in UNITS.items() if 1 / factor <= ratio / each <= factor), "")
    return f"{interval:.4g} h, {ratio:.4g} times as long{unit}"


def require_columns(columns: np.ndarray, wavelengths: np.ndarray, path: Path) -> None:
    """Raise ArchiveError where the detector columns that are extracted have other wavelengths than wl_2 … of wavelengths.csv.

    columns      (column,) of the detector, in its order, from the axes at path
    wavelengths  (wavelength,) of a spectrum
    """
    first, last = AIRS.crop
    found, wanted = columns[first:last][::-1], wavelengths[1:]
    if len(found) != len(wanted) or np.abs(found - wanted).max() > np.diff(wanted).min() / 2:
        expected = f"AIRS-CH0-axis2-um: wl_{len(wanted) + 1} … wl_2 of wavelengths.csv, micron, in rows {first} to {last - 1}"
        ends = f", from {found[-1]:.5g} to {found[0]:.5g}" if len(found) else ""
        raise ArchiveError(path, expected, f"{len(found)} wavelengths there{ends}")
