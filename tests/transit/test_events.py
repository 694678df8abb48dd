"""Events: named where they are planted, silent in noise, and no more than one regressor once found."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit.events import find_event, with_event
from ariel_lib.transit.segments import make_segments

DURATION, T0 = 3.0, 3.7  # h


@pytest.fixture
def segment(scene):
    return make_segments([scene.observe(np.random.default_rng(0))], scene.wavelength)[1]


def look(segment, shape, rng):
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
def test_each_kind_is_found_where_it_is(segment, kind, when, shape):
    event = look(segment, shape(segment.time), np.random.default_rng(1))
    assert event.kind == kind
    assert event.time == pytest.approx(when, abs=0.1)


def test_noise_holds_no_event(segment):
    rng = np.random.default_rng(2)
    assert [look(segment, 0.0, rng) for _ in range(100)] == [None] * 100


def test_a_drift_is_no_event(segment):
    drift = 0.01 * segment.trend @ np.array([1.0, 0.5, 0.3])
    assert look(segment, drift, np.random.default_rng(3)) is None


def test_a_found_event_is_taken_out_by_its_regressor(segment):
    shape = -0.003 * (segment.time > 5.0)
    event = look(segment, shape, np.random.default_rng(4))
    more = with_event(segment, event)
    assert more.nuisance.shape[1] == segment.nuisance.shape[1] + 1
    assert more.nuisance[:, -1].mean() == pytest.approx(0, abs=1e-12)
    assert look(more, shape, np.random.default_rng(4)) is None


def test_masked_times_raise_no_alarm(segment):
    weight = segment.weight.copy()
    weight[:, 100:110] = 0
    shape = np.where((np.arange(len(segment.time)) >= 100) & (np.arange(len(segment.time)) < 110), 1.0, 0.0)
    holed = replace(segment, weight=weight)
    residual = shape + np.random.default_rng(5).standard_normal(segment.flux.shape) / np.sqrt(segment.weight)
    assert find_event(holed, residual, np.zeros_like(residual), T0, DURATION) is None
