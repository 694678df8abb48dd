"""A short brightening in the light curves: lensing by a compact body, or a star spot crossed by the planet?

Lensing is achromatic (Agol 2003, astro-ph/0303457), a spot's contrast falls to the infrared. Gaussian
bumps are scanned over centre and width in the residuals of a transit fit; whatever the fit follows is marginalised, and so is
noise that the bands share, whose strength and memory are measured with the bump taken out. A bump exists where Δχ² > 25.
A(λ) = A₀ (λ/2.4 µm)^−β against β = 0 tells the colour.
The penalty: a spectrum must not follow the depth that an achromatic bump would feign.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ariel_lib.symbolic.bump_search import Band, Noise, Trials, Visit, make_visit
from ariel_lib.symbolic.context import Context

REFERENCE = "Agol 2003, ApJ 594, 449 (astro-ph/0303457)"
EXISTS = 25.0  # fall of χ² that a bump must bring
COLOURED = 6.6  # fall of χ² that a colour must bring
PIVOT = 2.4  # micron
WIDTHS = (0.03, 0.06, 0.12, 0.24)  # standard deviations of trial bumps, in transit durations
STEPS_A_WIDTH = 2
FINER = (0.7, 0.84, 1.0, 1.2, 1.4)  # widths tried around the best
SLOPES = (0.0, 0.5, 1.0, 2.0)  # β of the scan
ALL_SLOPES = np.linspace(-2.0, 4.0, 61)  # β of the colour test


@dataclass(frozen=True)
class Bump:
    """The most significant bump of a visit: time and width h, amplitude at 2.4 micron, slope β. One of negative amplitude is
    a dip: it does not exist as a bump, and neither do the bumps beside it that it echoes in the baseline.

    by_band            amplitude in each band, free of any colour law
    gain, colour_gain  falls of χ² for the bump and for its colour
    """

    time: float
    width: float
    amplitude: float
    slope: float
    gain: float
    colour_gain: float
    by_band: tuple[float, ...]

    @property
    def exists(self) -> bool:
        return self.amplitude > 0 and self.gain > EXISTS

    @property
    def achromatic(self) -> bool:
        return self.exists and self.colour_gain < COLOURED

    @property
    def chromatic(self) -> bool:
        return self.exists and not self.achromatic


def find_bump(bands: Sequence[Band], precision: np.ndarray, duration: float) -> Bump | None:
    """Scan the bands of one visit together; what the bands' designs hold is followed (a level at least).

    precision (parameter,) of the priors of what is followed; duration of the transit, h. None where no template is
    left to try.
    """
    visit = make_visit(bands, precision, duration, duration * min(WIDTHS))
    first, last = max(b.time[0] for b in bands), min(b.time[-1] for b in bands)
    colours = np.array([band.wavelength / PIVOT for band in bands])
    scan = [visit.trials(np.arange(first, last, w / STEPS_A_WIDTH), w) for w in duration * np.array(WIDTHS)]
    noise = bump = None
    for _ in range(2):
        noise = visit.noise(bump) if bump else None
        best = _strongest(scan, colours, noise)
        if best is None:
            return None
        bump, slope = _strongest(_around(visit, best[0]), colours, noise) or best
    judged = bump.given(noise)
    gains = [float(judged.gain(colours**-s)[0][0]) for s in ALL_SLOPES]
    amplitude, flat = float(judged.gain(colours**-slope)[1][0]), float(judged.gain(np.ones(len(colours)))[0][0])
    return Bump(
        float(bump.centres[0]), float(bump.width), amplitude, float(ALL_SLOPES[np.argmax(gains)]),
        visit.evidence(bump, colours**-slope), max(gains) - flat, tuple(np.linalg.solve(judged.power[0], judged.overlap[0]).tolist()),
    )  # fmt: skip


def _strongest(scan: Sequence[Trials], colours: np.ndarray, noise: Noise | None) -> tuple[Trials, float] | None:
    """The bump that brings most under shared noise, and its slope; what it brings without that noise is kept."""
    best = None
    for trials in scan:
        judged = trials if noise is None else trials.given(noise)
        for slope in SLOPES if len(trials.centres) else ():
            gain = judged.gain(colours**-slope)[0]
            place = int(np.argmax(gain))
            if best is None or gain[place] > best[0]:
                best = gain[place], trials.at(place), slope
    return None if best is None else best[1:]


def _around(visit: Visit, bump: Trials) -> list[Trials]:
    """Bumps about one of the scan, in finer steps of centre and width."""
    steps = bump.width / STEPS_A_WIDTH * np.linspace(-0.75, 0.75, 7)
    return [visit.trials(bump.centres[0] + steps, bump.width * finer) for finer in FINER]


def bump_shape(bump: Bump, time: np.ndarray) -> np.ndarray:
    """A bump of height one, (time,)."""
    return np.exp(-0.5 * ((time - bump.time) / bump.width) ** 2)


def deviation(mu: Tensor, context: Context) -> Tensor:
    """The part of mu − reference that follows the bump's shift, (planet, wavelength); zero where there is no bump."""
    weighted = context.shift / context.sigma**2
    power = (weighted * context.shift).sum(dim=1, keepdim=True)
    share = ((mu - context.reference) * weighted).sum(dim=1, keepdim=True) / power.clamp_min(1e-30)
    return share * context.shift


def scale(context: Context) -> Tensor:
    return context.sigma
