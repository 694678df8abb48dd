"""Events that a smooth drift cannot describe: steps in gain, flares, star-spot crossings.

A matched filter over time and length on the white-light residuals of a first fit, with everything degenerate with that fit
projected out of data and templates. A detected event becomes an additional regressor with a free coefficient in every
channel, so that its uncertainty is included in the depth covariance.
"""

from dataclasses import dataclass, replace

import numpy as np

from ariel_lib.calibration.scatter import robust_scatter
from ariel_lib.transit.noise import absorbed, white_light
from ariel_lib.transit.segments import Segment

SIGNIFICANT = 36.0  # decrease in χ² required of an event: six sigma, among some thousand trials
LENGTHS = (0.05, 0.1, 0.2, 0.4)  # in transit durations: decay time of a flare, standard deviation of a bump
STEPS_PER_DURATION = 40
MIN_REMAINING_POWER = 0.05  # share of a template's power left after projection; below it the template is degenerate with the fit


@dataclass(frozen=True)
class Event:
    """An event: kind (step, flare, spot_crossing = brightening during transit, or bump), time h, template (time,), gain = −Δχ²."""

    kind: str
    time: float
    template: np.ndarray
    gain: float


def find_event(
    segment: Segment, residual: np.ndarray, response: np.ndarray, t0: float, duration: float
) -> Event | None:
    """The most significant event in a segment's residuals, or None if none reaches the threshold.

    residual      (wavelength, time)  of the fit, relative flux
    response      (wavelength, time)  derivative of the fitted depths with respect to flux common to all channels
    t0, duration  of the fitted transit, h
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
    allowed = (power > MIN_REMAINING_POWER * full) & ((overlap > 0) | (kinds != "flare"))
    gain = np.where(allowed, overlap**2 / np.where(power > 0, power, 1), 0.0) / _spread(data[root > 0]) ** 2
    best = int(np.argmax(gain))
    if gain[best] < SIGNIFICANT:
        return None
    kind = str(kinds[best])
    if kind == "bump" and overlap[best] > 0 and abs(times[best] - t0) < duration / 2:
        kind = "spot_crossing"
    return Event(kind, float(times[best]), templates[best], float(gain[best]))


def with_event(segment: Segment, event: Event) -> Segment:
    """Copy of a segment with the event's standardised template as an additional regressor."""
    column = event.template - event.template.mean()
    return replace(segment, nuisance=np.column_stack([segment.nuisance, column / column.std()]))


def _templates(time: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinds (trial,), times (trial,) h and templates (trial, time), between 0 and 1, of all trial events."""
    grid = np.arange(time[0], time[-1], duration / STEPS_PER_DURATION)
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
    """Robust scatter from the median absolute difference of neighbouring samples, insensitive to slow trends; at least 1."""
    difference = np.diff(data)
    return max(float(robust_scatter(difference) / np.sqrt(2)), 1.0) if len(difference) else 1.0
