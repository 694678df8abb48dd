"""Trial bumps against the residuals of one visit, with the parameters of the transit fit and correlated noise marginalised.

The model is linear: fitted parameters are projected out of residuals and bumps (weighted least squares with prior precisions),
and noise common to several bands is a set of further parameters, each with a prior variance. Independent of the bumps'
colour and of detection thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ariel_lib.transit.bumps.shared_noise import cosines, weigh_processes, white_variance

MIN_REMAINING_POWER = 0.01  # share of a bump's power left after projection; below it the bump is degenerate with transit or drift
MOST_MODES = 150  # cosines of time
NEGLIGIBLE = 0.01  # modes with less than this share of the white noise's variance are left out


@dataclass(frozen=True)
class Band:
    """Residuals of one band and the linearised model of the fit.

    wavelength  micron
    time        (time,)            h
    residual    (time,)            relative flux
    weight      (time,)            inverse variance, 0 where unusable
    flux        (time,)            model without bump
    design      (parameter, time)  derivatives of the model by all fitted parameters
    """

    wavelength: float
    time: np.ndarray
    residual: np.ndarray
    weight: np.ndarray
    flux: np.ndarray
    design: np.ndarray


@dataclass(frozen=True)
class Trials:
    """Trial bumps of one width, each with an amplitude per band, fitted parameters projected out.

    centres       (trial,)             h; width h
    overlap       (trial, band)        scalar product of bump and whitened residuals
    power         (trial, band, band)  normal matrix of the amplitudes, the covariance of overlap
    mode_overlap  (trial, band, mode)  scalar product with the modes of red noise, empty where not needed
    """

    centres: np.ndarray
    width: float
    overlap: np.ndarray
    power: np.ndarray
    mode_overlap: np.ndarray

    def gain(self, colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decrease in χ² (trial,) and best amplitude (trial,), of either sign, of bumps with relative amplitudes colour (band,)."""
        power = np.einsum("tij,i,j->t", self.power, colour, colour)
        overlap = self.overlap @ colour
        return overlap**2 / power, overlap / power

    def select(self, index: int) -> "Trials":
        """One of the trials, as Trials of length one."""
        rows = slice(index, index + 1)
        return replace(
            self, centres=self.centres[rows], overlap=self.overlap[rows], power=self.power[rows],
            mode_overlap=self.mode_overlap[rows],
        )  # fmt: skip

    def conditioned_on(self, noise: "RedNoise") -> "Trials":
        """The trials with red noise marginalised."""
        coupling = self.mode_overlap[..., noise.modes]
        projection = coupling @ noise.inverse
        return replace(
            self, overlap=self.overlap - projection @ noise.right, power=self.power - projection @ coupling.transpose(0, 2, 1)
        )


@dataclass(frozen=True)
class RedNoise:
    """Red noise of given variances: indices of its non-negligible modes (mode,), inverse (mode, mode) of their normal matrix,
    and right-hand side (mode,) from the residuals."""

    modes: np.ndarray
    inverse: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class Visit:
    """Bands of one visit, whitened, with the fitted parameters projected out of the residuals. Lists have one entry per band.

    root       (time,)                 square root of the weights, excess noise included
    rows       (row,)                  indices of the parameters on which the band depends
    design     (row, time)             whitened derivatives by those parameters
    modes      (mode, time)            whitened cosines of time, the basis of red noise
    processes  pair of indices         red noise processes of the band: 0, common to all bands, and that of its instrument
    residual   (time,)                 whitened
    inverse    (parameter, parameter)  of the normal matrix of the fitted parameters, priors included
    duration   of the transit, h
    """

    bands: Sequence[Band]
    duration: float
    root: list[np.ndarray]
    rows: list[np.ndarray]
    design: list[np.ndarray]
    modes: list[np.ndarray]
    processes: list[tuple[int, int]]
    inverse: np.ndarray
    residual: list[np.ndarray]

    @cached_property
    def mode_coupling(self) -> np.ndarray:
        """Off-diagonal block of the normal matrix between fitted parameters and modes, (parameter, process, mode)."""
        out = np.zeros((len(self.inverse), self.n_processes, len(self.modes[0])))
        for rows, design, modes, processes in zip(self.rows, self.design, self.modes, self.processes):
            product = design @ modes.T
            for process in processes:
                out[rows, process] += product
        return out

    @property
    def n_processes(self) -> int:
        """Number of red noise processes: one common to all bands and one per instrument."""
        return 1 + max(process for _, process in self.processes)

    @cached_property
    def mode_equations(self) -> tuple[np.ndarray, np.ndarray]:
        """Right-hand side (process, mode) and normal matrix (process, mode, process, mode) of the modes, fitted parameters
        projected out."""
        n = len(self.modes[0])
        right, gram = np.zeros((self.n_processes, n)), np.zeros((self.n_processes, n, self.n_processes, n))
        for residual, modes, processes in zip(self.residual, self.modes, self.processes):
            product, overlap = modes @ modes.T, modes @ residual
            for one in processes:
                right[one] += overlap
                for other in processes:
                    gram[one, :, other] += product
        flat = self.mode_coupling.reshape(len(self.inverse), -1)
        return right, gram - (flat.T @ self.inverse @ flat).reshape(gram.shape)

    def trials(self, centres: np.ndarray, width: float, *, with_modes: bool = True) -> Trials:
        """Trial bumps at centres (trial,) h; those degenerate with the fit are left out. with_modes: fill mode_overlap too."""
        shape = (len(centres), len(self.bands))
        overlap, full, coupling = np.zeros(shape), np.zeros(shape), np.zeros((*shape, len(self.inverse)))
        modes = np.zeros((*shape, self.n_processes, len(self.modes[0]) if with_modes else 0))
        for n, band in enumerate(self.bands):
            bump = np.exp(-0.5 * ((band.time - centres[:, None]) / width) ** 2) * (band.flux * self.root[n])
            overlap[:, n], full[:, n] = bump @ self.residual[n], (bump**2).sum(axis=1)
            coupling[:, n, self.rows[n]] = bump @ self.design[n].T
            if with_modes:
                modes[:, n, list(self.processes[n])] = (bump @ self.modes[n].T)[:, None]
        projection = coupling @ self.inverse
        power = full[:, :, None] * np.eye(shape[1]) - projection @ coupling.transpose(0, 2, 1)
        remaining = np.diagonal(power, axis1=1, axis2=2)
        keep = (remaining > MIN_REMAINING_POWER * full).all(axis=1) & (full > 0).all(axis=1)
        modes = modes.reshape(*shape, -1)
        if with_modes:
            modes -= projection @ self.mode_coupling.reshape(len(self.inverse), -1)
        return Trials(centres[keep], width, overlap[keep], power[keep], modes[keep])

    def fit_red_noise(self, bump: Trials) -> RedNoise:
        """Red noise of the residuals with one bump removed, its amplitude free in each band."""
        variance, _ = self._weigh(bump, np.eye(len(self.bands)))
        right, gram = self.mode_equations[0].ravel(), self.mode_equations[1].reshape(variance.size, -1)
        modes = np.flatnonzero(variance.ravel() * np.diag(gram) > NEGLIGIBLE)
        root = np.sqrt(variance.ravel()[modes])
        matrix = np.eye(len(root)) + root[:, None] * gram[np.ix_(modes, modes)] * root
        return RedNoise(modes, root[:, None] * np.linalg.inv(matrix) * root, right[modes])

    def evidence(self, bump: Trials, colour: np.ndarray) -> float:
        """Decrease in −2 ln L by a bump with relative amplitudes colour (band,) at its best amplitude.

        L is the likelihood marginalised over red noise, with and without the bump.
        """
        overlap, power = float(bump.overlap[0] @ colour), float(colour @ bump.power[0] @ colour)
        return overlap**2 / power + 2 * (self._weigh(bump, colour[None])[1] - self._without_bump)

    @cached_property
    def _without_bump(self) -> float:
        return self._weigh(None, np.eye(len(self.bands)))[1]

    def _weigh(self, bump: Trials | None, colours: np.ndarray) -> tuple[np.ndarray, float]:
        """weigh_processes with a bump projected out, its amplitudes free along each of colours (colour, band)."""
        right, gram = self.mode_equations
        if bump is not None:
            modes = colours @ bump.mode_overlap[0]
            projection = np.linalg.solve(colours @ bump.power[0] @ colours.T, modes).T
            right = right - (projection @ (colours @ bump.overlap[0])).reshape(right.shape)
            gram = gram - (projection @ modes).reshape(gram.shape)
        span = max(b.time[-1] for b in self.bands) - min(b.time[0] for b in self.bands)
        return weigh_processes(right, gram, self.duration, span, self._white_light())

    def _white_light(self) -> np.ndarray:
        """Variance of one sample of the mean light of each process's bands, (process,)."""
        return np.array([
            1 / sum(np.mean(root**2) for root, processes in zip(self.root, self.processes) if process in processes)
            for process in range(self.n_processes)
        ])  # fmt: skip


def make_visit(bands: Sequence[Band], precision: np.ndarray, duration: float, finest: float) -> Visit:
    """Whiten the bands of one visit and project the fitted parameters out of their residuals.

    precision (parameter,): of the parameters' priors; duration of the transit and width of the narrowest bump, h.
    """
    groups: dict[bytes, list[int]] = {}
    for n, band in enumerate(bands):
        groups.setdefault(band.time.tobytes(), []).append(n)
    first, last = min(b.time[0] for b in bands), max(b.time[-1] for b in bands)
    n_modes = min(int(np.ceil((last - first) / finest)), MOST_MODES, len(bands[0].time) // 2)
    root, design, processes = {}, {n: band.design for n, band in enumerate(bands)}, {}
    for number, members in enumerate(groups.values(), 1):
        gain, excess = white_variance([bands[n].residual for n in members], [bands[n].weight for n in members])
        root |= {n: np.sqrt(bands[n].weight / ratio) for n, ratio in zip(members, excess)}
        processes |= dict.fromkeys(members, (0, number))
        if gain > 0:  # white noise common to the bands of an instrument is marginalised like the fitted parameters
            precision = np.append(precision, np.full(n_modes, len(bands[members[0]].time) / (2 * gain)))
            for n, band in enumerate(bands):
                share = band.flux if n in members else np.zeros(len(band.time))
                design[n] = np.concatenate([design[n], cosines(band.time, first, last, n_modes) * share])
    root, design, processes = ([by_band[n] for n in range(len(bands))] for by_band in (root, design, processes))
    rows = [np.flatnonzero(np.any(d != 0, axis=1)) for d in design]
    design = [d[r] * w for d, r, w in zip(design, rows, root)]
    modes = [cosines(b.time, first, last, n_modes) * (b.flux * w) for b, w in zip(bands, root)]
    normal, right = np.diag(precision.astype(float)), np.zeros(len(precision))
    residual = [band.residual * w for band, w in zip(bands, root)]
    for r, d, y in zip(rows, design, residual):
        normal[np.ix_(r, r)] += d @ d.T
        right[r] += d @ y
    scale = 1 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
    # Parameters may be degenerate: the pseudo-inverse drops combinations that the data do not constrain.
    inverse = np.linalg.pinv(normal * scale[:, None] * scale, rcond=1e-13, hermitian=True) * scale[:, None] * scale
    solution = inverse @ right
    residual = [y - solution[r] @ d for y, r, d in zip(residual, rows, design)]
    return Visit(bands, duration, root, rows, design, modes, processes, inverse, residual)
