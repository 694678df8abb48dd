"""Transit search: a matched filter over mid-transit time and duration, which gives the fit its starting point.

Level, cubic drift and centroid terms are projected out of data and templates; the amplitude is then the depth relative to
the template's (compare the box search of Kovács, Zucker & Mazeh 2002).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ariel_lib.transit.occultation import transit_flux
from ariel_lib.transit.orbit import separation, transit_duration
from ariel_lib.transit.segments import Segment

TEMPLATE_K = 0.12  # radius ratio of a median planet of the 2025 labels
STRETCHES = (0.7, 1.0, 1.4)  # trial factors on the catalogue's a/Rs; the duration scales with its inverse
STEPS_PER_DURATION = 30
LARGEST_START = 0.9  # b² of templates and of a fit's starting point, at most: where the discs do not overlap nothing depends on b


@dataclass(frozen=True)
class Candidate:
    """Best template: t0 (h) by visit, log_a = ln(a/Rs), depth (Rp/Rs)², and significance, the decrease in χ²."""

    t0: dict[int, float]
    log_a: float
    depth: float
    significance: float


def allowed_stretches(sigma_log_a: float) -> tuple[float, ...]:
    """Those of STRETCHES within four standard deviations of a prior on ln(a/Rs): all of them for that of the star table."""
    return tuple(stretch for stretch in STRETCHES if abs(np.log(stretch)) <= 4 * sigma_log_a)


def find_transit(
    segments: list[Segment], period: float, log_a: float, b_squared: float, *, stretches: Sequence[float] = STRETCHES,
    t0: Mapping[int, float] = MappingProxyType({}),
) -> Candidate:  # fmt: skip
    """Best mid-transit time of each visit and a common a/Rs for segments in white light.

    period h, log_a = ln(a/Rs) and b_squared from the catalogue; stretches: trial factors on a/Rs; t0: visit → mid-transit time (h)
    that is known and not searched.
    """
    best = None
    for stretch in stretches:
        trial = log_a + np.log(stretch)
        found = [
            _scan_visit([s for s in segments if s.visit == visit], period, trial, b_squared, t0.get(visit))
            for visit in sorted({s.visit for s in segments})
        ]
        gain = sum(f[1] for f in found)
        if best is None or gain > best.significance:
            weight = np.array([max(f[1], 1e-300) for f in found])
            depth = float(np.average([f[2] for f in found], weights=weight))
            best = Candidate({s: f[0] for s, f in zip(sorted({s.visit for s in segments}), found)}, trial, depth, gain)
    return best


def _scan_visit(
    segments: list[Segment], period: float, log_a: float, b_squared: float, t0: float | None
) -> tuple[float, float, float]:
    """Best mid-transit time (h) of one visit, its decrease in χ² and its depth; t0: that time where it is known."""
    duration = transit_duration(period, log_a, min(b_squared, LARGEST_START), TEMPLATE_K)
    first, last = min(s.time[0] for s in segments), max(s.time[-1] for s in segments)
    grid = np.arange(first - 0.3 * duration, last + 0.3 * duration, duration / STEPS_PER_DURATION)
    grid = grid if t0 is None else np.array([t0])
    overlap, power = np.zeros(len(grid)), np.zeros(len(grid))
    for segment in segments:
        data, templates = _projected(segment, grid, period, log_a, min(b_squared, LARGEST_START))
        overlap += templates @ data
        power += (templates**2).sum(axis=1)
    amplitude = np.divide(overlap, power, out=np.zeros_like(overlap), where=power > 1e-3 * power.max())
    gain = np.where(amplitude > 0, amplitude * overlap, 0.0)
    best = int(np.argmax(gain))
    return float(grid[best]), float(gain[best]), float(max(amplitude[best], 0.0) * TEMPLATE_K**2)


def _projected(segment: Segment, grid: np.ndarray, period: float, log_a: float, b_squared: float):
    """Whitened data (time,) and templates (trial, time) with level, drift and centroid projected out."""
    root = np.sqrt(segment.weight[0])
    z, _ = separation(segment.time[None, :], grid[:, None], period, log_a, b_squared)
    flux = transit_flux(z.reshape(-1, 1), np.array([TEMPLATE_K]), np.array([0.2]), np.array([0.2]))[0].reshape(z.shape)
    basis, _ = np.linalg.qr(np.column_stack([np.ones(len(root)), segment.trend, segment.nuisance]) * root[:, None])
    both = np.concatenate([segment.flux[:1], flux - 1]) * root
    both = both - (both @ basis) @ basis.T
    return both[0], both[1:]
