"""What a drift does not describe: a step in gain, a flare, the crossing of a star spot. Found in white light, then fitted.

A matched filter over place and length in the residuals of a first fit, with everything that fit can follow projected out
of data and templates. A find becomes one more regressor, with a coefficient of its own in every channel: the depths then
carry its uncertainty. Knows segments and residuals; no spectrum.
"""

from dataclasses import dataclass, replace

import numpy as np

from ariel_lib.transit.noise import absorbed, white_light
from ariel_lib.transit.segments import Segment

SIGNIFICANT = 36.0  # fall of χ² that an event must bring: six sigma, among some thousand trials
LENGTHS = (0.05, 0.1, 0.2, 0.4)  # of the transit duration: decay of a flare, standard deviation of a bump
PLACES_A_DURATION = 40
LEAST_LEFT = 0.05  # of a template's power once projected: what the fit can follow is no event


@dataclass(frozen=True)
class Event:
    """kind step, flare, spot_crossing (a rise within the transit) or bump; time h; template (time,); gain = fall of χ²."""

    kind: str
    time: float
    template: np.ndarray
    gain: float


def find_event(
    segment: Segment, residual: np.ndarray, response: np.ndarray, t0: float, duration: float
) -> Event | None:
    """The strongest event of a segment, if one is significant.

    residual, response (wavelength, time) of a fit; t0 and duration h, of its transit.
    """
    white, variance = white_light(segment, residual)
    root = np.sqrt(variance)
    data = np.divide(white, root, out=np.zeros_like(white), where=root > 0)
    basis = absorbed(segment, variance, response)
    kinds, times, templates = _templates(segment.time, duration)
    whitened = np.divide(templates, root, out=np.zeros_like(templates), where=root > 0)
    projected = whitened - (whitened @ basis.T) @ basis
    power, full = (projected**2).sum(axis=1), (whitened**2).sum(axis=1)
    overlap = projected @ (data - (data @ basis.T) @ basis)
    allowed = (power > LEAST_LEFT * full) & ((overlap > 0) | (kinds != "flare"))
    gain = np.where(allowed, overlap**2 / np.where(power > 0, power, 1), 0.0) / _spread(data[root > 0]) ** 2
    best = int(np.argmax(gain))
    if gain[best] < SIGNIFICANT:
        return None
    kind = str(kinds[best])
    if kind == "bump" and overlap[best] > 0 and abs(times[best] - t0) < duration / 2:
        kind = "spot_crossing"
    return Event(kind, float(times[best]), templates[best], float(gain[best]))


def with_event(segment: Segment, event: Event) -> Segment:
    """The segment with the event as one more regressor."""
    column = event.template - event.template.mean()
    return replace(segment, nuisance=np.column_stack([segment.nuisance, column / column.std()]))


def _templates(time: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinds and times (trial,), and templates (trial, time) between 0 and 1."""
    grid = np.arange(time[0], time[-1], duration / PLACES_A_DURATION)
    since = time - grid[:, None]
    trials = [("step", (since > 0).astype(float))]
    for length in LENGTHS:
        decay = np.exp(-np.maximum(since, 0) / (length * duration))
        trials.append(("flare", np.where(since >= 0, decay, 0.0)))
        trials.append(("bump", np.exp(-0.5 * (since / (length * duration)) ** 2)))
    return (
        np.repeat([kind for kind, _ in trials], len(grid)),
        np.tile(grid, len(trials)),
        np.concatenate([templates for _, templates in trials]),
    )


def _spread(data: np.ndarray) -> float:
    """Standard deviation of neighbouring samples' difference over √2, from its median: blind to anything slow; at least 1."""
    difference = np.abs(np.diff(data))
    return max(float(np.median(difference)) / (0.6745 * np.sqrt(2)), 1.0) if len(difference) else 1.0
