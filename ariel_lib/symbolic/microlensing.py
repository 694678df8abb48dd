"""A short brightening in the light curves: lensing by a compact body, or a star spot crossed by the planet?

Lensing is achromatic (Agol 2003, astro-ph/0303457), a spot's contrast falls to the infrared. Gaussian
bumps are scanned over centre and width in the residuals of a transit fit; whatever the fit follows, and a quadratic baseline
in each band, is marginalised. A(λ) = A₀ (λ/2.4 µm)^−β against β = 0 tells the colour. Both thresholds are inflated by the
residuals' autocorrelation, seen through the template.
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
    """One band's light near a fit: wavelength micron; time (time,) h; residual (time,), relative flux; weight (time,)
    1 / variance, 0 where unusable; flux (time,), the model without bump; design (parameter, time), its derivatives."""

    wavelength: float
    time: np.ndarray
    residual: np.ndarray
    weight: np.ndarray
    flux: np.ndarray
    design: np.ndarray


@dataclass(frozen=True)
class Bump:
    """The most significant bump of a visit: time and width h, amplitude at 2.4 micron, slope β. One of negative amplitude is
    a dip: it does not exist as a bump, and neither do the bumps beside it that it echoes in the baseline.

    by_band            amplitude in each band, free of any colour law
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
    by_band: tuple[float, ...]

    @property
    def exists(self) -> bool:
        return self.amplitude > 0 and self.gain > EXISTS * self.inflation

    @property
    def achromatic(self) -> bool:
        return self.exists and self.colour_gain < COLOURED * self.colour_inflation

    @property
    def chromatic(self) -> bool:
        return self.exists and not self.achromatic


def find_bump(bands: Sequence[Band], precision: np.ndarray, duration: float) -> Bump | None:
    """Scan the bands of one visit together, every parameter of the fit and a quadratic baseline a band following.

    precision (parameter,) of the priors that the fit was made with; duration of the transit, h. None where no template is
    left to try.
    """
    grey = np.array([band.wavelength / PIVOT for band in bands])
    joint, best = _join(bands, precision), None
    for width in duration * np.array(WIDTHS):
        centres = np.arange(max(b.time[0] for b in bands), min(b.time[-1] for b in bands), width / STEPS_A_WIDTH)
        trials = joint.trials(centres, width)
        for slope in SLOPES if len(trials.centres) else ():
            gain, amplitude = trials.gain(grey**-slope)
            place = int(np.argmax(gain))
            if best is None or gain[place] > best[0]:
                best = (gain[place], amplitude[place], slope, width, trials, place)
    if best is None:
        return None
    gain, amplitude, _, width, trials, place = best
    here = trials.take(np.arange(place, place + 1))
    gains = np.array([here.gain(grey**-s)[0][0] for s in ALL_SLOPES])
    flat = here.gain(np.ones(len(grey)))[0][0]
    inflation, colour_inflation = _inflations(trials, place, width)
    return Bump(
        float(trials.centres[place]), float(width), float(amplitude), float(ALL_SLOPES[np.argmax(gains)]),
        float(gain), inflation, float(gains.max() - flat), colour_inflation,
        tuple(np.linalg.solve(trials.power[place], trials.overlap[place]).tolist()),
    )  # fmt: skip


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


@dataclass(frozen=True)
class _Joint:
    """Bands ready to be scanned: root (band) of weights, design and residual whitened, and the inverse normal matrix
    (parameter, parameter); shared: correlation of the bands' noise (band, band)."""

    bands: Sequence[Band]
    root: list[np.ndarray]
    design: list[np.ndarray]
    residual: list[np.ndarray]
    inverse: np.ndarray
    shared: np.ndarray

    def trials(self, centres: np.ndarray, width: float) -> "_Trials":
        """Bumps (trial) of one width; those that the fit would swallow are left out."""
        bumps = [
            np.exp(-0.5 * ((band.time - centres[:, None]) / width) ** 2) * band.flux * root
            for band, root in zip(self.bands, self.root)
        ]
        overlap = np.stack([bump @ residual for bump, residual in zip(bumps, self.residual)], axis=1)
        pull = np.stack([bump @ design.T for bump, design in zip(bumps, self.design)], axis=1)  # (trial, band, parameter)
        full = np.stack([(bump**2).sum(axis=1) for bump in bumps], axis=1)
        power = full[:, :, None] * np.eye(len(bumps)) - (pull @ self.inverse) @ pull.transpose(0, 2, 1)
        own = np.diagonal(power, axis1=1, axis2=2)
        seen = (own > LEAST_LEFT * full).all(axis=1) & (full > 0).all(axis=1)
        size = np.sqrt(own[seen])
        extra = (self.shared - np.eye(len(bumps))) * size[:, :, None] * size[:, None, :]
        return _Trials(self, centres[seen], [b[seen] for b in bumps], overlap[seen], pull[seen], power[seen], power[seen] + extra)


@dataclass(frozen=True)
class _Trials:
    """overlap (trial, band) with the residuals; power (trial, band, band): what amplitudes of one do to overlaps; covariance
    (trial, band, band) of the overlaps."""

    joint: _Joint
    centres: np.ndarray
    bumps: list[np.ndarray]
    overlap: np.ndarray
    pull: np.ndarray
    power: np.ndarray
    covariance: np.ndarray

    def take(self, rows: np.ndarray) -> "_Trials":
        arrays = (getattr(self, name)[rows] for name in ("overlap", "pull", "power", "covariance"))
        return _Trials(self.joint, self.centres[rows], [b[rows] for b in self.bumps], *arrays)

    def gain(self, colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fall of χ² and amplitude, of either sign, for one amplitude times colour (band,). (trial,)"""
        signal = self.power @ colour
        weighted = np.linalg.solve(self.covariance, signal[..., None])[..., 0]
        weight = np.sum(weighted * signal, axis=1)
        amplitude = np.sum(weighted * self.overlap, axis=1) / weight
        return amplitude**2 * weight, amplitude

    def without(self, place: int) -> "_Trials":
        """The same with the bump at `place` taken out of the data, an amplitude of its own in each band."""
        amplitude = np.linalg.solve(self.power[place], self.overlap[place])
        direct = np.stack([bump @ bump[place] for bump in self.bumps], axis=1) * amplitude
        followed = self.pull @ (self.joint.inverse @ (self.pull[place].T @ amplitude))
        return replace(self, overlap=self.overlap - direct + followed)

    def residuals_without(self, place: int) -> list[np.ndarray]:
        """White residuals (time,) of each band once that bump is fitted too."""
        amplitude = np.linalg.solve(self.power[place], self.overlap[place])
        follow = self.joint.inverse @ (self.pull[place].T @ amplitude)
        joint = self.joint
        return [
            residual - a * bump[place] + follow @ design
            for a, bump, residual, design in zip(amplitude, self.bumps, joint.residual, joint.design)
        ]


def _join(bands: Sequence[Band], precision: np.ndarray) -> _Joint:
    """White by each band's own scatter, with a quadratic baseline a band added to what the fit follows."""
    n = len(precision)
    roots, designs, residuals = [], [], []
    for index, band in enumerate(bands):
        x = 2 * (band.time - band.time[0]) / (band.time[-1] - band.time[0]) - 1
        design = np.zeros((n + 3 * len(bands), len(x)))
        design[:n] = band.design
        design[n + 3 * index : n + 3 * index + 3] = np.stack([np.ones_like(x), x, x**2]) * band.flux
        white = (band.residual * np.sqrt(band.weight))[band.weight > 0]
        excess = np.mean(np.diff(white) ** 2) / 2 if len(white) > 1 else 1.0  # of neighbours: blind to a bump
        root = np.sqrt(band.weight / max(excess, 1.0))
        roots, designs, residuals = [*roots, root], [*designs, design * root], [*residuals, band.residual * root]
    normal = sum(design @ design.T for design in designs)
    normal += np.diag(np.concatenate([precision, np.zeros(3 * len(bands))]))
    scale = 1 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
    # Level and baseline overlap: the pseudo-inverse leaves out what is told twice.
    inverse = np.linalg.pinv(normal * scale[:, None] * scale, rcond=1e-10, hermitian=True) * scale[:, None] * scale
    pulled = inverse @ sum(design @ residual for design, residual in zip(designs, residuals))
    residuals = [residual - pulled @ design for design, residual in zip(designs, residuals)]
    return _Joint(bands, roots, designs, residuals, inverse, _shared_noise(bands, residuals))


def _shared_noise(bands: Sequence[Band], residuals: list[np.ndarray]) -> np.ndarray:
    """Correlation between bands sampled at the same times, (band, band): gain and pointing move all of them."""
    correlation = np.eye(len(bands))
    for n, one in enumerate(bands):
        for m, other in enumerate(bands[:n]):
            if np.array_equal(one.time, other.time):
                a, b = np.diff(residuals[n]), np.diff(residuals[m])
                correlation[n, m] = correlation[m, n] = (a @ b) / np.sqrt((a @ a) * (b @ b))
    return correlation


def _inflations(trials: _Trials, place: int, width: float) -> tuple[float, float]:
    """How much more the matched filter scatters than white noise would make it, for grey amplitudes and for differences
    between bands; at least 1. Grey: the larger of its scatter far from the bump and of the whole visit's autocorrelation."""
    grey = _memory(trials, place, width)
    time = trials.joint.bands[0].time
    doubt = 1 + 2 * np.sqrt(2 / ((time[-1] - time[0]) / (2 * np.sqrt(np.pi) * width)))  # two errors of a variance from few bumps
    far = np.abs(trials.centres - trials.centres[place]) > NEAR * width
    if not far.any():
        return 1 + (grey - 1) * doubt, 1.0
    rest = trials.without(place).take(np.flatnonzero(far))
    bands = rest.overlap.shape[1]
    signal = rest.power @ np.ones(bands)
    weighted = np.linalg.solve(rest.covariance, signal[..., None])[..., 0]
    common = np.sum(weighted * rest.overlap, axis=1) ** 2 / np.sum(weighted * signal, axis=1)
    total = np.sum(rest.overlap * np.linalg.solve(rest.covariance, rest.overlap[..., None])[..., 0], axis=1)
    grey = max(grey, float(common.mean()))
    return 1 + (grey - 1) * doubt, max(1.0, float((total - common).mean() / max(bands - 1, 1)))


def _memory(trials: _Trials, place: int, width: float) -> float:
    """Σ over lags of the autocorrelation of the white light times the template's own, relative to noise without memory.

    The sum ends where the autocorrelation first falls below zero (Geyer 1992): beyond, it is what the fit has absorbed.
    """
    bands, residuals = trials.joint.bands, trials.residuals_without(place)
    found = [1.0]
    for time in {band.time.tobytes(): band.time for band in bands}.values():
        members = [n for n, band in enumerate(bands) if np.array_equal(band.time, time)]
        series = sum(residuals[n] * trials.joint.root[n] for n in members)
        n = len(series)
        products = np.correlate(series, series, "full")[n - 1 :] / n
        negative = np.flatnonzero(products < 0)
        products = products[: negative[0]] if len(negative) else products
        template = np.exp(-0.25 * (np.arange(len(products)) * (time[-1] - time[0]) / (n - 1) / width) ** 2)
        white = max(np.mean(np.diff(series) ** 2) / 2, 1e-300)
        found.append(float((2 * products @ template - products[0]) / white))
    return max(found)
