"""Bump detection: a short brightening of the light curves, achromatic (lensing by a compact body) or chromatic (a star spot).

Lensing is achromatic (Agol 2003, astro-ph/0303457); the contrast of a spot decreases towards the infrared. Gaussian bumps are
scanned over centre and width in the residuals of a transit fit, with the fit's parameters marginalised, and also noise common
to the bands, whose variance and correlation time are estimated with the bump removed. A bump is detected where Δχ² > 25;
A(λ) = A₀ (λ/2.4 µm)^−β is tested against β = 0 for its colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ariel_lib.transit.bumps.search import Band, RedNoise, Trials, Visit, make_visit

EXISTS = 25.0  # decrease in χ² required of a bump
ECHO = 10.0  # a bump is taken for an artefact of a dip whose decrease in χ² is larger by this much
COLOURED = 6.6  # decrease in χ² required for a bump to be chromatic
PIVOT = 2.4  # micron
WIDTHS = (0.03, 0.06, 0.12, 0.24)  # standard deviations of trial bumps, in transit durations
STEPS_PER_WIDTH = 2
FINER = (0.7, 0.84, 1.0, 1.2, 1.4)  # factors on the best width in the refined scan
SLOPES = (0.0, 0.5, 1.0, 2.0)  # β of the scan
ALL_SLOPES = np.linspace(-2.0, 4.0, 61)  # β of the colour test


@dataclass(frozen=True)
class Bump:
    """The most significant brightening of a visit, a Gaussian in time.

    time, width  centre and standard deviation, h
    amplitude    at 2.4 micron, relative flux; slope: the index β of A(λ) ∝ λ^−β
    by_band      amplitude in each band, fitted independently
    gain         decrease in χ² by the bump, red noise marginalised with and without it
    dip          the same for the most significant dip: a transit fit leaves spurious bumps beside dips and near mid-transit
    colour_gain  decrease in χ² by a free slope
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
        """Whether the bump is significant and no artefact of a dip."""
        return self.gain > EXISTS and self.dip - self.gain < ECHO

    @property
    def achromatic(self) -> bool:
        """Whether the bump exists and has no significant colour."""
        return self.exists and self.colour_gain < COLOURED

    @property
    def chromatic(self) -> bool:
        """Whether the bump exists and has a significant colour."""
        return self.exists and not self.achromatic


@dataclass(frozen=True)
class _Found:
    """A trial bump before red noise is marginalised, its slope, the red noise found with it, and its decrease in χ²."""

    bump: Trials
    slope: float
    noise: RedNoise | None
    gain: float


def find_bump(bands: Sequence[Band], precision: np.ndarray, duration: float) -> Bump | None:
    """Scan the bands of one visit together for their most significant brightening.

    bands      light curves near a transit fit; the parameters of their design matrices (at least a level) are marginalised
    precision  (parameter,)  prior precision of those parameters
    duration   of the transit, h

    None if every template is degenerate with the fit.
    """
    visit = make_visit(bands, precision, duration, duration * min(WIDTHS) * min(FINER))
    colours = np.array([band.wavelength / PIVOT for band in bands])
    found = _search(visit, colours, 1)
    if found is None:
        return None
    dip = _search(visit, colours, -1) if found.gain > EXISTS else None
    bump = found.bump if found.noise is None else found.bump.conditioned_on(found.noise)
    gains = [bump.gain(colours**-s)[0][0] for s in ALL_SLOPES]
    flat = bump.gain(np.ones(len(colours)))[0][0]
    return Bump(
        float(found.bump.centres[0]), float(found.bump.width), float(bump.gain(colours**-found.slope)[1][0]),
        float(ALL_SLOPES[np.argmax(gains)]), found.gain, dip.gain if dip else 0.0, float(max(gains) - flat),
        tuple(np.linalg.solve(bump.power[0], bump.overlap[0]).tolist()),
    )  # fmt: skip


def _search(visit: Visit, colours: np.ndarray, sign: int) -> _Found | None:
    """The most significant bump (sign 1) or dip (sign −1). Red noise is fitted only if it is significant against white noise."""
    first, last = max(b.time[0] for b in visit.bands), min(b.time[-1] for b in visit.bands)
    grid = [(np.arange(first, last, w / STEPS_PER_WIDTH), w) for w in visit.duration * np.array(WIDTHS)]
    best = _strongest([visit.trials(*row, with_modes=False) for row in grid], colours, sign)
    if best is None:
        return None
    gain, bump, slope = best
    if gain <= EXISTS:
        return _Found(bump, slope, None, float(gain))
    noise = visit.fit_red_noise(_strongest(_around(visit, bump), colours, sign)[1])
    _, bump, _ = _strongest([visit.trials(*row) for row in grid], colours, sign, noise)
    _, bump, slope = _strongest(_around(visit, bump), colours, sign, noise)
    return _Found(bump, slope, noise, visit.evidence(bump, colours**-slope))


def _strongest(
    scan: Sequence[Trials], colours: np.ndarray, sign: int, noise: RedNoise | None = None
) -> tuple[float, Trials, float] | None:
    """Decrease in χ² of the best bump of that sign with noise marginalised, the bump (before marginalising) and its slope."""
    best = None
    for trials in scan:
        conditioned = trials if noise is None else trials.conditioned_on(noise)
        for slope in SLOPES if len(trials.centres) else ():
            gain, amplitude = conditioned.gain(colours**-slope)
            gain = np.where(sign * amplitude > 0, gain, 0.0)
            place = int(np.argmax(gain))
            if best is None or gain[place] > best[0]:
                best = gain[place], trials.select(place), slope
    return best


def _around(visit: Visit, bump: Trials) -> list[Trials]:
    """Trial bumps around one of the scan, in finer steps of centre and width."""
    steps = bump.width / STEPS_PER_WIDTH * np.linspace(-0.75, 0.75, 7)
    return [visit.trials(bump.centres[0] + steps, bump.width * finer) for finer in FINER]


def bump_shape(bump: Bump, time: np.ndarray) -> np.ndarray:
    """Profile of a bump with unit amplitude at time (time,) h."""
    return np.exp(-0.5 * ((time - bump.time) / bump.width) ** 2)
