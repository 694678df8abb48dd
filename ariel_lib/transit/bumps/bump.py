"""A short brightening in the light curves: lensing by a compact body, or a star spot crossed by the planet?

Lensing is achromatic (Agol 2003, astro-ph/0303457), a spot's contrast falls to the infrared. Gaussian
bumps are scanned over centre and width in the residuals of a transit fit; whatever the fit follows is marginalised, and so is
noise that the bands share, whose strength and memory are measured with the bump taken out. A bump exists where Δχ² > 25.
A(λ) = A₀ (λ/2.4 µm)^−β against β = 0 tells the colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ariel_lib.transit.bumps.search import Band, Noise, Trials, Visit, make_visit

EXISTS = 25.0  # fall of χ² that a bump must bring
ECHO = 10.0  # by how much a dip must bring more for a bump to be its echo
COLOURED = 6.6  # fall of χ² that a colour must bring
PIVOT = 2.4  # micron
WIDTHS = (0.03, 0.06, 0.12, 0.24)  # standard deviations of trial bumps, in transit durations
STEPS_A_WIDTH = 2
FINER = (0.7, 0.84, 1.0, 1.2, 1.4)  # widths tried around the best
SLOPES = (0.0, 0.5, 1.0, 2.0)  # β of the scan
ALL_SLOPES = np.linspace(-2.0, 4.0, 61)  # β of the colour test


@dataclass(frozen=True)
class Bump:
    """The most significant brightening of a visit: time and width h, amplitude at 2.4 micron, slope β.

    by_band      amplitude in each band, free of any colour law
    gain         fall of χ² that the bump brings, less what noise with a memory explains as well
    dip          the same for the best dip: beside a dip, and near mid-transit, the fit leaves an echo that looks like a bump
    colour_gain  fall of χ² for its colour
    """

    time: float
    width: float
    amplitude: float
    slope: float
    gain: float
    dip: float
    colour_gain: float
    by_band: tuple[float, ...]

    @property
    def exists(self) -> bool:
        return self.gain > EXISTS and self.dip - self.gain < ECHO

    @property
    def achromatic(self) -> bool:
        return self.exists and self.colour_gain < COLOURED

    @property
    def chromatic(self) -> bool:
        return self.exists and not self.achromatic


@dataclass(frozen=True)
class _Found:
    """A bump as it is before shared noise is followed, its slope, the noise, and its gain."""

    bump: Trials
    slope: float
    noise: Noise | None
    gain: float


def find_bump(bands: Sequence[Band], precision: np.ndarray, duration: float) -> Bump | None:
    """Scan the bands of one visit together; what the bands' designs hold is followed (a level at least).

    precision (parameter,) of the priors of what is followed; duration of the transit, h. None where no template is
    left to try.
    """
    visit = make_visit(bands, precision, duration, duration * min(WIDTHS) * min(FINER))
    colours = np.array([band.wavelength / PIVOT for band in bands])
    found = _search(visit, colours, 1)
    if found is None:
        return None
    dip = _search(visit, colours, -1) if found.gain > EXISTS else None
    judged = found.bump if found.noise is None else found.bump.conditioned_on(found.noise)
    gains = [judged.gain(colours**-s)[0][0] for s in ALL_SLOPES]
    flat = judged.gain(np.ones(len(colours)))[0][0]
    return Bump(
        float(found.bump.centres[0]), float(found.bump.width), float(judged.gain(colours**-found.slope)[1][0]),
        float(ALL_SLOPES[np.argmax(gains)]), found.gain, dip.gain if dip else 0.0, float(max(gains) - flat),
        tuple(np.linalg.solve(judged.power[0], judged.overlap[0]).tolist()),
    )  # fmt: skip


def _search(visit: Visit, colours: np.ndarray, sign: int) -> _Found | None:
    """The best bump (sign 1) or dip (−1); without one that white noise makes unlikely, shared noise is not looked at."""
    first, last = max(b.time[0] for b in visit.bands), min(b.time[-1] for b in visit.bands)
    grid = [(np.arange(first, last, w / STEPS_A_WIDTH), w) for w in visit.duration * np.array(WIDTHS)]
    best = _strongest([visit.trials(*row, shared=False) for row in grid], colours, sign)
    if best is None:
        return None
    gain, bump, slope = best
    if gain <= EXISTS:
        return _Found(bump, slope, None, float(gain))
    noise = visit.noise(_strongest(_around(visit, bump), colours, sign)[1])
    _, bump, _ = _strongest([visit.trials(*row) for row in grid], colours, sign, noise)
    _, bump, slope = _strongest(_around(visit, bump), colours, sign, noise)
    return _Found(bump, slope, noise, visit.evidence(bump, colours**-slope))


def _strongest(
    scan: Sequence[Trials], colours: np.ndarray, sign: int, noise: Noise | None = None
) -> tuple[float, Trials, float] | None:
    """What the best bump of that sign brings under shared noise, the bump (as it is without that noise), and its slope."""
    best = None
    for trials in scan:
        judged = trials if noise is None else trials.conditioned_on(noise)
        for slope in SLOPES if len(trials.centres) else ():
            gain, amplitude = judged.gain(colours**-slope)
            gain = np.where(sign * amplitude > 0, gain, 0.0)
            place = int(np.argmax(gain))
            if best is None or gain[place] > best[0]:
                best = gain[place], trials.at(place), slope
    return best


def _around(visit: Visit, bump: Trials) -> list[Trials]:
    """Bumps about one of the scan, in finer steps of centre and width."""
    steps = bump.width / STEPS_A_WIDTH * np.linspace(-0.75, 0.75, 7)
    return [visit.trials(bump.centres[0] + steps, bump.width * finer) for finer in FINER]


def bump_shape(bump: Bump, time: np.ndarray) -> np.ndarray:
    """A bump of height one, (time,)."""
    return np.exp(-0.5 * ((time - bump.time) / bump.width) ** 2)
