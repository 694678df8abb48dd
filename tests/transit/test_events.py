"""Events: detected with kind and time where injected, none in noise, removed by their regressor."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit.events import find_event, with_event
from ariel_lib.transit.segments import make_segments

DURATION, T0 = 3.0, 3.7  # h


@pytest.fixture
def segment(scene):
    return make_segments([scene.observe(np.random.default_rng(0))], scene.wavelength)[1]


def search(segment, shape, rng):
    residual = shape + rng.standard_normal(segment.flux.shape) / np.sqrt(segment.weight)
    response = np.zeros((len(segment.channels), len(segment.time)))
    return find_event(segment, residual, response, T0, DURATION)


@pytest.mark.parametrize(
    ("kind", "when", "shape"),
    [
        ("step", 5.0, lambda t: -0.003 * (t > 5.0)),
        ("flare", 1.0, lambda t: 0.004 * np.where(t > 1.0, np.exp(-np.maximum(t - 1.0, 0) / 0.3), 0)),
        ("spot_crossing", 3.2, lambda t: 0.003 * np.exp(-0.5 * ((t - 3.2) / 0.3) ** 2)),
        ("bump", 6.5, lambda t: -0.003 * np.exp(-0.5 * ((t - 6.5) / 0.15) ** 2)),
    ],
)
def test_each_kind_of_event_is_detected_at_its_time(segment, kind, when, shape):
    event = search(segment, shape(segment.time), np.random.default_rng(1))
    assert event.kind == kind
    assert event.time == pytest.approx(when, abs=0.1)


def test_no_event_is_detected_in_white_noise(segment):
    rng = np.random.default_rng(2)
    assert [search(segment, 0.0, rng) for _ in range(100)] == [None] * 100


def test_a_drift_is_not_detected_as_an_event(segment):
    drift = 0.01 * segment.trend @ np.array([1.0, 0.5, 0.3])
    assert search(segment, drift, np.random.default_rng(3)) is None


def test_a_detected_event_is_removed_by_its_regressor(segment):
    shape = -0.003 * (segment.time > 5.0)
    event = search(segment, shape, np.random.default_rng(4))
    more = with_event(segment, event)
    assert more.nuisance.shape[1] == segment.nuisance.shape[1] + 1
    assert more.nuisance[:, -1].mean() == pytest.approx(0, abs=1e-12)
    assert search(more, shape, np.random.default_rng(4)) is None


def test_masked_samples_are_not_detected_as_an_event(segment):
    weight = segment.weight.copy()
    weight[:, 100:110] = 0
    shape = np.where((np.arange(len(segment.time)) >= 100) & (np.arange(len(segment.time)) < 110), 1.0, 0.0)
    holed = replace(segment, weight=weight)
    residual = shape + np.random.default_rng(5).standard_normal(segment.flux.shape) / np.sqrt(segment.weight)
    assert find_event(holed, residual, np.zeros_like(residual), T0, DURATION) is None
