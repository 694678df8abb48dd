"""Stationary Gaussian processes with a given power spectrum, drawn on a clock that does not depend on the times asked for.

Random Fourier amplitudes (Timmer & König 1995, A&A 300, 707) over twice the visit, so that its ends are not tied together. The
clock makes one realisation the same for both instruments, for frames and for binned light curves.
"""

from collections.abc import Callable

import numpy as np

CLOCK_STEP = 12 / 3600  # h


def draw_process(rng: np.random.Generator, length: float, power: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Draw a process with the variance that `power` has on the clock's frequencies, (clock,).

    length  h covered
    power   one-sided spectral density by frequency (1/h, positive), variance / (1/h)
    """
    n = 1 << int(np.ceil(np.log2(2 * length / CLOCK_STEP + 2)))
    frequency = np.fft.rfftfreq(n, CLOCK_STEP)
    amplitude = np.zeros(len(frequency))
    amplitude[1:] = np.sqrt(power(frequency[1:]) * frequency[1] / 2)
    modes = amplitude * (rng.standard_normal(len(frequency)) + 1j * rng.standard_normal(len(frequency)))
    return np.fft.irfft(modes, n)[: int(np.ceil(length / CLOCK_STEP)) + 2] * n / np.sqrt(2)


def at(process: np.ndarray, time: np.ndarray) -> np.ndarray:
    """A process at times (time,), h from the start of its clock; linear between its ticks."""
    return np.interp(time / CLOCK_STEP, np.arange(len(process)), process)
