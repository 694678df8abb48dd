"""Bumps of every place and width against the light of one visit, with all that the fit follows and all shared noise let free.

Everything is linear: whatever is followed is projected out of light and bumps alike (weighted least squares, priors as
precisions), and shared noise is one more thing that is followed, under its own variances. Knows no colour and no threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ariel_lib.transit.bumps.shared_noise import cosines, weigh_processes, white_variance

LEAST_LEFT = 0.01  # of a bump's power once projected: the rest is transit or drift
MOST_MODES = 150  # cosines of time
NEGLIGIBLE = 0.01  # of the white noise's variance: a mode of so little shared noise is not followed


@dataclass(frozen=True)
class Band:
    """One band's light near a fit: wavelength micron; time (time,) h; residual (time,), relative flux; weight (time,)
    1 / variance, 0 where unusable; flux (time,), the model without bump; design (parameter, time), the derivatives of all that
    is followed."""

    wavelength: float
    time: np.ndarray
    residual: np.ndarray
    weight: np.ndarray
    flux: np.ndarray
    design: np.ndarray


@dataclass(frozen=True)
class Trials:
    """Bumps (trial) of one width and centres (trial,) h, an amplitude in each band: overlap (trial, band) with the residuals;
    power (trial, band, band), what amplitudes do to overlaps and the overlaps' covariance; modes (trial, band, mode), the
    overlap with shared noise that is not yet followed."""

    centres: np.ndarray
    width: float
    overlap: np.ndarray
    power: np.ndarray
    modes: np.ndarray

    def gain(self, colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fall of χ² and amplitude, of either sign, for one amplitude times colour (band,). (trial,)"""
        power = np.einsum("tij,i,j->t", self.power, colour, colour)
        overlap = self.overlap @ colour
        return overlap**2 / power, overlap / power

    def at(self, place: int) -> "Trials":
        rows = slice(place, place + 1)
        return replace(self, centres=self.centres[rows], overlap=self.overlap[rows], power=self.power[rows], modes=self.modes[rows])

    def conditioned_on(self, noise: "Noise") -> "Trials":
        """The same with shared noise followed."""
        known = self.modes[..., noise.modes]
        answer = known @ noise.inverse
        return replace(self, overlap=self.overlap - answer @ noise.pull, power=self.power - answer @ known.transpose(0, 2, 1))


@dataclass(frozen=True)
class Noise:
    """Shared noise of known variances: the modes that matter, inverse (mode, mode) of their normal matrix, pull (mode,) of the
    residuals."""

    modes: np.ndarray
    inverse: np.ndarray
    pull: np.ndarray


@dataclass(frozen=True)
class Visit:
    """Bands of one visit, white by their own scatter, with all that is followed taken out of the residuals.

    root (band) of weights; rows (band) of the parameters that a band knows; design (band) their derivatives; waves (band)
    cosines of time (mode, time); families (band): the two kinds of shared noise in it, all bands' and its instrument's.
    """

    bands: Sequence[Band]
    duration: float
    root: list[np.ndarray]
    rows: list[np.ndarray]
    design: list[np.ndarray]
    waves: list[np.ndarray]
    families: list[tuple[int, int]]
    inverse: np.ndarray
    residual: list[np.ndarray]

    @cached_property
    def leak(self) -> np.ndarray:
        """What a unit of each mode does to the parameters, before the inverse, (parameter, family, mode)."""
        out = np.zeros((len(self.inverse), self.n_families, len(self.waves[0])))
        for rows, design, waves, families in zip(self.rows, self.design, self.waves, self.families):
            product = design @ waves.T
            for family in families:
                out[rows, family] += product
        return out

    @property
    def n_families(self) -> int:
        return 1 + max(own for _, own in self.families)

    @cached_property
    def shared(self) -> tuple[np.ndarray, np.ndarray]:
        """pull (family, mode) and gram (family, mode, family, mode) of the modes, all that is followed taken out."""
        n = len(self.waves[0])
        pull, gram = np.zeros((self.n_families, n)), np.zeros((self.n_families, n, self.n_families, n))
        for residual, waves, families in zip(self.residual, self.waves, self.families):
            product, overlap = waves @ waves.T, waves @ residual
            for one in families:
                pull[one] += overlap
                for other in families:
                    gram[one, :, other] += product
        flat = self.leak.reshape(len(self.inverse), -1)
        return pull, gram - (flat.T @ self.inverse @ flat).reshape(gram.shape)

    def trials(self, centres: np.ndarray, width: float, *, shared: bool = True) -> Trials:
        """Bumps that the fit would swallow are left out. shared: with the overlaps that Trials.given needs."""
        shape = (len(centres), len(self.bands))
        overlap, full, pull = np.zeros(shape), np.zeros(shape), np.zeros((*shape, len(self.inverse)))
        modes = np.zeros((*shape, self.n_families, len(self.waves[0]) if shared else 0))
        for n, band in enumerate(self.bands):
            bump = np.exp(-0.5 * ((band.time - centres[:, None]) / width) ** 2) * (band.flux * self.root[n])
            overlap[:, n], full[:, n] = bump @ self.residual[n], (bump**2).sum(axis=1)
            pull[:, n, self.rows[n]] = bump @ self.design[n].T
            if shared:
                modes[:, n, list(self.families[n])] = (bump @ self.waves[n].T)[:, None]
        answer = pull @ self.inverse
        power = full[:, :, None] * np.eye(shape[1]) - answer @ pull.transpose(0, 2, 1)
        own = np.diagonal(power, axis1=1, axis2=2)
        seen = (own > LEAST_LEFT * full).all(axis=1) & (full > 0).all(axis=1)
        modes = modes.reshape(*shape, -1)
        if shared:
            modes -= answer @ self.leak.reshape(len(self.inverse), -1)
        return Trials(centres[seen], width, overlap[seen], power[seen], modes[seen])

    def noise(self, bump: Trials) -> Noise:
        """Shared noise with a memory, found where one bump, an amplitude of its own in each band, is taken out."""
        variance, _ = self._weigh(bump, np.eye(len(self.bands)))
        pull, gram = self.shared[0].ravel(), self.shared[1].reshape(variance.size, -1)
        modes = np.flatnonzero(variance.ravel() * np.diag(gram) > NEGLIGIBLE)
        root = np.sqrt(variance.ravel()[modes])
        matrix = np.eye(len(root)) + root[:, None] * gram[np.ix_(modes, modes)] * root
        return Noise(modes, root[:, None] * np.linalg.inv(matrix) * root, pull[modes])

    def evidence(self, bump: Trials, colour: np.ndarray) -> float:
        """Fall of −2 ln of the likelihood that a bump of that colour (band,) brings, shared noise averaged over with it and
        without it: what noise with a memory explains as well is no evidence."""
        overlap, power = float(bump.overlap[0] @ colour), float(colour @ bump.power[0] @ colour)
        return overlap**2 / power + 2 * (self._weigh(bump, colour[None])[1] - self._without_bump)

    @cached_property
    def _without_bump(self) -> float:
        return self._weigh(None, np.eye(len(self.bands)))[1]

    def _weigh(self, bump: Trials | None, colours: np.ndarray) -> tuple[np.ndarray, float]:
        """weigh_processes with a bump of colours (colour, band) followed too."""
        pull, gram = self.shared
        if bump is not None:
            modes = colours @ bump.modes[0]
            answer = np.linalg.solve(colours @ bump.power[0] @ colours.T, modes).T
            pull = pull - (answer @ (colours @ bump.overlap[0])).reshape(pull.shape)
            gram = gram - (answer @ modes).reshape(gram.shape)
        span = max(b.time[-1] for b in self.bands) - min(b.time[0] for b in self.bands)
        return weigh_processes(pull, gram, self.duration, span, self._white_light())

    def _white_light(self) -> np.ndarray:
        """Variance of the mean light of each family's bands, a sample, (family,)."""
        return np.array([
            1 / sum(np.mean(root**2) for root, families in zip(self.root, self.families) if family in families)
            for family in range(self.n_families)
        ])  # fmt: skip


def make_visit(bands: Sequence[Band], precision: np.ndarray, duration: float, finest: float) -> Visit:
    """precision (parameter,) of the priors of all that is followed; duration of the transit, finest bump, both h."""
    groups: dict[bytes, list[int]] = {}
    for n, band in enumerate(bands):
        groups.setdefault(band.time.tobytes(), []).append(n)
    first, last = min(b.time[0] for b in bands), max(b.time[-1] for b in bands)
    n_modes = min(int(np.ceil((last - first) / finest)), MOST_MODES, len(bands[0].time) // 2)
    root, design, families = {}, {n: band.design for n, band in enumerate(bands)}, {}
    for number, members in enumerate(groups.values(), 1):
        gain, excess = white_variance([bands[n].residual for n in members], [bands[n].weight for n in members])
        root |= {n: np.sqrt(bands[n].weight / own) for n, own in zip(members, excess)}
        families |= dict.fromkeys(members, (0, number))
        if gain > 0:  # what the bands of an instrument share without a memory is followed like all else
            precision = np.append(precision, np.full(n_modes, len(bands[members[0]].time) / (2 * gain)))
            for n, band in enumerate(bands):
                share = band.flux if n in members else np.zeros(len(band.time))
                design[n] = np.concatenate([design[n], cosines(band.time, first, last, n_modes) * share])
    root, design, families = ([by_band[n] for n in range(len(bands))] for by_band in (root, design, families))
    rows = [np.flatnonzero(np.any(d != 0, axis=1)) for d in design]
    design = [d[r] * w for d, r, w in zip(design, rows, root)]
    waves = [cosines(b.time, first, last, n_modes) * (b.flux * w) for b, w in zip(bands, root)]
    normal, right = np.diag(precision.astype(float)), np.zeros(len(precision))
    residual = [band.residual * w for band, w in zip(bands, root)]
    for r, d, y in zip(rows, design, residual):
        normal[np.ix_(r, r)] += d @ d.T
        right[r] += d @ y
    scale = 1 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
    # Two parameters may tell the same: the pseudo-inverse leaves out what is told twice.
    inverse = np.linalg.pinv(normal * scale[:, None] * scale, rcond=1e-13, hermitian=True) * scale[:, None] * scale
    pulled = inverse @ right
    residual = [y - pulled[r] @ d for y, r, d in zip(residual, rows, design)]
    return Visit(bands, duration, root, rows, design, waves, families, inverse, residual)
