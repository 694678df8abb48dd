"""ariel_lib.transit.search: the transit is found where it was put, however long it lasts; what can be projected out is not seen."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit.occultation import transit_flux
from ariel_lib.transit.orbit import separation, transit_duration
from ariel_lib.transit.search import STEPS_PER_DURATION, TEMPLATE_K, find_transit
from ariel_lib.transit.segments import make_segments, merge_channels

B_SQUARED = 0.1


def white_segments(scene, rng, **how):
    return [merge_channels(segment, 1) for segment in make_segments([scene.observe(rng, **how)], scene.wavelength)]


def search(scene, segments, a_over_rs=None, b_squared=B_SQUARED):
    return find_transit(segments, 24 * scene.star.P, np.log(a_over_rs or scene.star.sma), b_squared)


def duration(scene, log_a):
    return transit_duration(24 * scene.star.P, log_a, B_SQUARED, TEMPLATE_K)


def grid_step(scene, log_a):
    return duration(scene, log_a) / STEPS_PER_DURATION


@pytest.mark.parametrize("stretch", [0.7, 1.0, 1.4])  # the catalogue is off by as much
@pytest.mark.parametrize("t0", [2.5, 4.1])
def test_short_and_long_transits_are_found_where_they_are(scene, stretch, t0):
    segments = white_segments(scene, np.random.default_rng(0), t0=t0)
    found = search(scene, segments, scene.star.sma / stretch)
    assert found.log_a == pytest.approx(np.log(scene.star.sma))  # the duration too
    assert found.t0[0] == pytest.approx(t0, abs=grid_step(scene, found.log_a))
    assert found.depth == pytest.approx(scene.depth.mean(), rel=0.1)


@pytest.mark.parametrize(("t0", "seen"), [(0.3, 1), (7.3, -1)])
def test_of_a_transit_half_outside_the_visit_the_end_that_is_seen_is_found(scene, t0, seen):
    found = search(scene, white_segments(scene, np.random.default_rng(1), t0=t0))
    contact = t0 + seen * duration(scene, np.log(scene.star.sma)) / 2
    assert found.t0[0] + seen * duration(scene, found.log_a) / 2 == pytest.approx(contact, abs=0.15)


def test_a_catalogue_that_says_grazing_hides_no_transit(scene):
    found = search(scene, white_segments(scene, np.random.default_rng(2)), b_squared=1.4)
    assert found.t0[0] == pytest.approx(3.7, abs=0.1) and found.depth > 0.5 * scene.depth.mean()


def test_each_visit_has_a_time_of_its_own_and_both_speak_for_the_duration(scene):
    rng = np.random.default_rng(3)
    first, second = white_segments(scene, rng, t0=2.2), white_segments(scene, rng, t0=4.4, visit=1)
    both = search(scene, first + second)
    alone = [search(scene, segments) for segments in (first, second)]
    assert both.t0 == {0: pytest.approx(2.2, abs=0.1), 1: pytest.approx(4.4, abs=0.1)}
    assert both.significance == pytest.approx(alone[0].significance + alone[1].significance)
    assert min(a.depth for a in alone) <= both.depth <= max(a.depth for a in alone)


def test_drift_centroid_and_level_change_nothing(scene):
    rng = np.random.default_rng(4)
    segments = white_segments(scene, rng)
    before = search(scene, segments)
    moved = [
        replace(s, flux=s.flux + 0.05 + (s.trend @ rng.normal(0, 0.02, 3)) + s.nuisance @ rng.normal(0, 0.02, s.nuisance.shape[1]))
        for s in segments
    ]
    after = search(scene, moved)
    assert after.t0 == before.t0 and after.log_a == before.log_a
    assert after.depth == pytest.approx(before.depth) and after.significance == pytest.approx(before.significance)


def test_masked_samples_say_nothing(scene):
    segments = white_segments(scene, np.random.default_rng(5))
    weight, flux = segments[1].weight.copy(), segments[1].flux.copy()
    weight[:, 150:170] = 0
    flux[:, 150:170] = 0.5
    before, after = (search(scene, [segments[0], replace(segments[1], weight=weight, flux=f)]) for f in (segments[1].flux, flux))
    assert after == before


def template_light(scene, segment, depth_share=1.0, t0=3.7):
    z, _ = separation(segment.time[:, None], t0, 24 * scene.star.P, np.log(scene.star.sma), B_SQUARED)
    dip = transit_flux(z.T.reshape(-1, 1), np.array([TEMPLATE_K]), np.array([0.2]), np.array([0.2]))[0].reshape(1, -1) - 1
    return replace(segment, flux=1 + depth_share * dip)


def least_squares(segment, columns):
    """χ² of the segment's light against a linear combination of columns and what the fit leaves free."""
    root = np.sqrt(segment.weight[0])
    basis = np.column_stack([np.ones(len(root)), segment.trend, segment.nuisance, *columns]) * root[:, None]
    light = segment.flux[0] * root
    return np.sum((light - basis @ np.linalg.lstsq(basis, light, rcond=None)[0]) ** 2)


def test_depth_is_that_of_the_template_and_significance_the_fall_of_chi2(scene):
    segments = white_segments(scene, np.random.default_rng(6))
    step = grid_step(scene, np.log(scene.star.sma))
    first = segments[0].time[0] - 0.3 * duration(scene, np.log(scene.star.sma))
    t0 = first + 52 * step  # a trial of the grid
    for share in (1.0, 0.5, 0.02):
        light = [template_light(scene, segment, share, t0) for segment in segments]
        found = search(scene, light)
        assert found.t0[0] == pytest.approx(t0) and found.depth == pytest.approx(share * TEMPLATE_K**2)
        assert found.significance == pytest.approx(sum(least_squares(s, []) - least_squares(s, [s.flux[0]]) for s in light))


def test_noise_is_no_transit_and_no_transit_lies_where_the_light_rises(scene):
    rng = np.random.default_rng(7)
    transit = search(scene, white_segments(scene, rng))
    noise = search(scene, white_segments(scene, rng, depth=np.full_like(scene.depth, 1e-9)))
    assert noise.significance < 40 and noise.depth < 0.1 * transit.depth
    segments = white_segments(scene, rng)
    brighter = search(scene, [replace(s, flux=2 - s.flux) for s in segments])
    assert brighter.significance < transit.significance and abs(brighter.t0[0] - 3.7) > duration(scene, brighter.log_a) / 2


def test_without_light_there_is_no_depth_and_no_significance(scene):
    dark = [replace(s, weight=0 * s.weight) for s in white_segments(scene, np.random.default_rng(8))]
    found = search(scene, dark)
    assert (found.depth, found.significance) == (0, 0) and np.isfinite(found.t0[0]) and np.isfinite(found.log_a)
