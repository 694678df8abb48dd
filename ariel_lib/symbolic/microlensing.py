"""A short brightening in the light curves: lensing by a compact body, or a star spot crossed by the planet?

Lensing is achromatic (Agol 2003, astro-ph/0303457), a spot's contrast falls to the infrared. With the transit divided out
and a quadratic baseline projected from each band, Gaussian bumps are scanned over centre and width; A(λ) = A₀ (λ/2.4 µm)^−β
against β = 0 tells the colour. Both thresholds are inflated by the residuals' autocorrelation, seen through the template.
The penalty: a spectrum must not follow the depth that an achromatic bump would feign.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ariel_lib.symbolic.context import Context

REFERENCE = "Agol 2003, ApJ 594, 449 (astro-ph/0303457)"
EXISTS = 25.0  # fall of χ² that a bump must bring
COLOURED = 6.6  # fall of χ² that a colour must bring
PIVOT = 2.4  # micron
WIDTHS = (0.03, 0.06, 0.12, 0.24)  # standard deviations of trial bumps, in transit durations
STEPS_A_WIDTH = 2
SLOPES = (0.0, 0.5, 1.0, 2.0)  # β of the scan
ALL_SLOPES = np.linspace(-2.0, 4.0, 61)  # β of the colour test
LEAST_LEFT = 0.1  # of a template's power once projected: the rest is transit or baseline
NEAR = 3.0  # widths around a bump that say nothing about the noise


@dataclass(frozen=True)
class Band:
    """One band's residual light: wavelength micron; time (time,) h; residual (time,), relative flux with the transit divided
    out; weight (time,) 1 / variance, 0 where unusable; nuisance (column, time): what else the fit follows."""

    wavelength: float
    time: np.ndarray
    residual: np.ndarray
    weight: np.ndarray
    nuisance: np.ndarray


@dataclass(frozen=True)
class Bump:
    """The most significant bump of a planet: time and width h, amplitude at 2.4 micron, slope β.

    gain, colour_gain  falls of χ² for the bump and for its colour; inflation, colour_inflation  of their thresholds
    """

    time: float
    width: float
    amplitude: float
    slope: float
    gain: float
    inflation: float
    colour_gain: float
    colour_inflation: float

    @property
    def exists(self) -> bool:
        return self.gain > EXISTS * self.inflation

    @property
    def achromatic(self) -> bool:
        return self.exists and self.colour_gain < COLOURED * self.colour_inflation

    @property
    def chromatic(self) -> bool:
        return self.exists and not self.achromatic


def find_bump(bands: Sequence[Band], duration: float) -> Bump | None:
    """Scan the bands of one visit; duration of the transit, h. None where no template is left to try."""
    grey = np.array([band.wavelength / PIVOT for band in bands])
    plain = [_project(band) for band in bands]
    best = None
    for width in duration * np.array(WIDTHS):
        centres = np.arange(max(b.time[0] for b in bands), min(b.time[-1] for b in bands), width / STEPS_A_WIDTH)
        overlap, power = _match_all(plain, centres, width)
        for slope in SLOPES:
            gain, amplitude = _gain(overlap, power, grey**-slope)
            place = int(np.argmax(gain)) if gain.size else 0
            if gain.size and gain[place] > 0 and (best is None or gain[place] > best[0]):
                best = (gain[place], amplitude[place], slope, width, centres, place, overlap, power)
    if best is None:
        return None
    gain, amplitude, slope, width, centres, place, overlap, power = best
    here = overlap[:, place : place + 1], power[:, place : place + 1]
    gains = np.array([_gain(*here, grey**-s)[0][0] for s in ALL_SLOPES])
    flat = _gain(*here, np.ones(len(grey)))[0][0]
    # What the bump itself leaves elsewhere through the projections is no noise: take each band's share of it out first.
    cleaned = [_without(one, centres[place], width) for one in plain]
    far = np.abs(centres - centres[place]) > NEAR * width
    inflation, colour_inflation = _inflations(*_match_all(cleaned, centres[far], width))
    return Bump(
        float(centres[place]), float(width), float(amplitude), float(ALL_SLOPES[np.argmax(gains)]),
        float(gain), inflation, float(gains.max() - flat), colour_inflation,
    )  # fmt: skip


def bump_flux(bump: Bump, time: np.ndarray, wavelength: float) -> np.ndarray:
    """Relative flux of a bump, (time,), in a band."""
    return bump.amplitude * (wavelength / PIVOT) ** -bump.slope * np.exp(-0.5 * ((time - bump.time) / bump.width) ** 2)


def deviation(mu: Tensor, context: Context) -> Tensor:
    """The part of mu − reference that follows the bump's shift, (planet, wavelength); zero where there is no bump."""
    weighted = context.shift / context.sigma**2
    power = (weighted * context.shift).sum(dim=1, keepdim=True)
    share = ((mu - context.reference) * weighted).sum(dim=1, keepdim=True) / power.clamp_min(1e-30)
    return share * context.shift


def scale(context: Context) -> Tensor:
    return context.sigma


@dataclass(frozen=True)
class _Projected:
    """A band made white: time h, root (time,) of its weights, basis (direction, time) of what is projected out, data (time,)."""

    time: np.ndarray
    root: np.ndarray
    basis: np.ndarray
    data: np.ndarray

    def templates(self, centres: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Bumps (centre, time) with baseline and nuisance projected out, and how much of each is left."""
        bumps = np.exp(-0.5 * ((self.time - centres[:, None]) / width) ** 2) * self.root
        left = bumps - (bumps @ self.basis.T) @ self.basis
        return left, (left**2).sum(axis=1) / np.maximum((bumps**2).sum(axis=1), 1e-300)


def _project(band: Band) -> _Projected:
    root = np.sqrt(band.weight)
    x = 2 * (band.time - band.time[0]) / (band.time[-1] - band.time[0]) - 1
    columns = np.vstack([np.ones_like(x), x, x**2, band.nuisance]) * root
    length = np.linalg.norm(columns, axis=1, keepdims=True)
    columns = np.divide(columns, length, out=np.zeros_like(columns), where=length > 0)
    _, size, rows = np.linalg.svd(columns, full_matrices=False)
    basis = rows[size > 1e-6 * size[0]]
    data = band.residual * root
    return _Projected(band.time, root, basis, data - basis.T @ (basis @ data))


def _without(band: _Projected, centre: float, width: float) -> _Projected:
    """The band with the best bump of that place and width taken out."""
    (bump,), (left,) = band.templates(np.array([centre]), width)
    if left <= LEAST_LEFT:
        return band
    return replace(band, data=band.data - bump * (bump @ band.data) / (bump @ bump))


def _match_all(bands: list[_Projected], centres: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Overlap with the data and power of each trial bump, (band, centre); zero where the fit would swallow it."""
    overlap, power = np.zeros((2, len(bands), len(centres)))
    for n, band in enumerate(bands):
        bumps, left = band.templates(centres, width)
        seen = left > LEAST_LEFT
        overlap[n, seen], power[n, seen] = bumps[seen] @ band.data, (bumps[seen] ** 2).sum(axis=1)
    return overlap, power


def _gain(overlap: np.ndarray, power: np.ndarray, colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fall of χ² and amplitude for one amplitude in all bands times colour (band,); a dip brings nothing. (centre,)"""
    total, weight = colour @ overlap, colour**2 @ power
    amplitude = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    return np.where(amplitude > 0, amplitude * total, 0.0), amplitude


def _inflations(overlap: np.ndarray, power: np.ndarray) -> tuple[float, float]:
    """How much more the matched filter scatters than white noise would make it: the sum over lags of the residuals'
    autocorrelation times the template's, for grey amplitudes and for differences between bands. At least 1."""
    weight = power.sum(axis=0)
    used = weight > 0
    if not used.any():
        return 1.0, 1.0
    overlap, power, weight = overlap[:, used], power[:, used], weight[used]
    grey = overlap.sum(axis=0)
    differ = np.divide((overlap - power * (grey / weight)) ** 2, power, out=np.zeros_like(power), where=power > 0)
    freedom = max((power > 0).sum() - len(weight), 1)
    return float(max(1.0, np.mean(grey**2 / weight))), float(max(1.0, differ.sum() / freedom))
