"""ariel_lib.transit.segments: relative light and its weights give the light back, what is unusable has none, merging loses nothing."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.instrument import AIRS, FGS1
from ariel_lib.io.light_curves import LightCurve, LightCurves
from ariel_lib.transit.segments import (
    MAX_SAMPLES,
    MIN_SAMPLES,
    POLYNOMIALS,
    TREND_ORDER,
    make_segments,
    merge_channels,
    with_cosines,
)

CHANNELS = 18
WAVELENGTH = np.array([0.7, *np.linspace(2.0, 3.9, CHANNELS)])
LEVEL = np.array([1e6, *np.geomspace(2e5, 2e4, CHANNELS)])  # electrons a sample


def observe(rng, *, n=200, visit=0, centroid=None):
    """Constant stars with Poisson-like noise, a third of the variance from reading."""
    time = np.linspace(0.5, 7.5, n)
    expected = np.tile(LEVEL, (n, 1))
    observed = expected + np.sqrt(1.5 * expected) * rng.standard_normal(expected.shape)
    centroid = 0.1 * rng.standard_normal((n, 2)) if centroid is None else centroid

    def part(columns):
        values = observed[:, columns]
        mask = np.zeros(values.shape, bool)
        return LightCurve(time, values, expected[:, columns], 0.5 * expected[:, columns], centroid, np.zeros(n), mask)

    return LightCurves("1", visit, part(0), part(slice(1, None)))


def with_airs(curves, **changes):
    return replace(curves, airs=replace(curves.airs, **changes))


def segments_of(*visits):
    return make_segments(list(visits), WAVELENGTH)


def spanned(columns, values):
    """Whether values are a linear combination of the columns and a constant."""
    basis = np.column_stack([np.ones(len(values)), columns])
    return np.allclose(basis @ np.linalg.lstsq(basis, values, rcond=None)[0], values, atol=1e-9 * np.abs(values).max())


def test_flux_times_level_is_the_light():
    curves = observe(np.random.default_rng(0))
    fgs1, airs = segments_of(curves)
    for segment, curve in ((fgs1, curves.fgs1), (airs, curves.airs)):
        np.testing.assert_allclose(segment.flux * segment.level[:, None], curve.flux.reshape(len(curve.time), -1).T)
        np.testing.assert_array_equal(segment.time, curve.time)
        assert segment.exposure == pytest.approx(7.0 / 199)
    np.testing.assert_allclose(np.concatenate([fgs1.level, airs.level]), LEVEL, rtol=1e-2)


def test_each_instrument_of_each_visit_is_a_segment_with_its_channels():
    found = segments_of(observe(np.random.default_rng(1)), observe(np.random.default_rng(2), visit=3))
    assert [(s.instrument, s.visit) for s in found] == [(name, visit) for visit in (0, 3) for name in (FGS1.name, AIRS.name)]
    for segment in found:
        assert segment.channels.tolist() == ([0] if segment.instrument == FGS1.name else list(range(1, 1 + CHANNELS)))
        np.testing.assert_array_equal(segment.wavelength, WAVELENGTH[segment.channels])


def test_weights_are_squared_level_over_variance():
    curves = observe(np.random.default_rng(3))
    for segment, curve in zip(segments_of(curves), (curves.fgs1, curves.airs)):
        variance = curve.variance.reshape(len(curve.time), -1).T
        np.testing.assert_allclose(segment.weight, segment.level[:, None] ** 2 / variance)
        chi2 = np.sum(segment.weight * (segment.flux - 1) ** 2, axis=1)
        assert np.abs(chi2 - 200).max() < 4 * np.sqrt(2 * 200)


DAMAGE = {  # to (mask, flux, Poisson variance, centroid) of AIRS, at time 20 of channel 2
    "mask": lambda mask, flux, variance, centroid: mask.__setitem__((20, 2), True),
    "not a number": lambda mask, flux, variance, centroid: flux.__setitem__((20, 2), np.nan),
    "infinite variance": lambda mask, flux, variance, centroid: variance.__setitem__((20, 2), np.inf),
    "outlier": lambda mask, flux, variance, centroid: flux.__setitem__((20, 2), 1.5 * flux[20, 2]),
    "centroid": lambda mask, flux, variance, centroid: centroid.__setitem__(20, np.nan),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_an_unusable_sample_has_no_weight_and_moves_no_level(what):
    curves = observe(np.random.default_rng(4))
    names = ("mask", "flux", "variance_poisson", "centroid")
    arrays = [getattr(curves.airs, name).copy() for name in names]
    DAMAGE[what](*arrays)
    whole, hurt = segments_of(curves)[1], segments_of(with_airs(curves, **dict(zip(names, arrays))))[1]
    silent = np.argwhere(hurt.weight == 0).tolist()
    assert silent == ([[channel, 20] for channel in range(CHANNELS)] if what == "centroid" else [[2, 20]])
    assert np.isfinite(hurt.flux).all() and np.isfinite(hurt.nuisance).all() and hurt.flux[2, 20] == 0
    np.testing.assert_allclose(hurt.level, whole.level, rtol=1e-3)


def test_a_transit_is_no_outlier():
    curves = observe(np.random.default_rng(5))
    deep = np.where(np.abs(curves.airs.time - 4) < 1, 0.8, 1.0)[:, None]
    assert (segments_of(with_airs(curves, flux=curves.airs.flux * deep))[1].weight > 0).all()


@pytest.mark.parametrize("what", ["masked", "dark", "negative", "noiseless", "too few"])
def test_a_dead_channel_is_left_out_and_the_others_keep_their_places(what):
    curves = observe(np.random.default_rng(6))
    names = ("mask", "flux", "variance_poisson", "variance_read")
    airs = replace(curves.airs, **{name: getattr(curves.airs, name).copy() for name in names})
    airs.mask[:, 3] = what == "masked"
    airs.flux[:, 3] *= {"dark": 0, "negative": -1}.get(what, 1)
    if what == "noiseless":
        airs.variance_poisson[:, 3] = airs.variance_read[:, 3] = 0
    if what == "too few":
        airs.mask[MIN_SAMPLES - 1 :, 3] = airs.mask[MIN_SAMPLES:, 4] = True
    whole, found = segments_of(curves)[1], segments_of(replace(curves, airs=airs))[1]
    assert found.channels.tolist() == [n for n in whole.channels if n != 4]
    np.testing.assert_array_equal(found.wavelength, WAVELENGTH[found.channels])
    np.testing.assert_allclose(found.level * found.weight.max(axis=1), np.delete(whole.level * whole.weight.max(axis=1), 3), rtol=0.02)
    same = found.channels != 5  # in "too few" it is the one that has just enough
    np.testing.assert_array_equal(found.flux[same], np.delete(whole.flux, 3, 0)[same])


def test_a_segment_without_a_channel_is_left_out():
    curves = observe(np.random.default_rng(7))
    hidden = with_airs(curves, mask=np.ones_like(curves.airs.mask))
    assert [s.instrument for s in segments_of(hidden)] == [FGS1.name]
    assert segments_of(replace(hidden, fgs1=replace(curves.fgs1, mask=np.ones_like(curves.fgs1.mask)))) == []


def test_a_long_visit_is_binned_without_loss_of_weight():
    width = 4
    curves = observe(np.random.default_rng(8), n=width * MAX_SAMPLES + 3)
    short, long = segments_of(observe(np.random.default_rng(8), n=2 * MAX_SAMPLES - 1))[1], segments_of(curves)[1]
    assert len(short.time) == 2 * MAX_SAMPLES - 1 and len(long.time) == MAX_SAMPLES
    assert long.exposure == pytest.approx(width * np.diff(curves.airs.time)[0])
    np.testing.assert_allclose(long.weight[:, 0], width * LEVEL[1:] ** 2 / (1.5 * LEVEL[1:]), rtol=0.01)
    light = curves.airs.flux[: width * MAX_SAMPLES].reshape(MAX_SAMPLES, width, -1).mean(axis=1).T
    np.testing.assert_allclose(long.flux * long.level[:, None], light)


def test_trend_is_legendre_polynomials_of_the_visit():
    segment = segments_of(observe(np.random.default_rng(9), n=1000))[0]
    trend, x = segment.trend, segment.time
    assert trend.shape == (1000, POLYNOMIALS)
    np.testing.assert_allclose(trend[[0, -1]], [[-1, 1, -1], [1, 1, 1]])
    gram = trend.T @ trend / 1000
    np.testing.assert_allclose(gram, np.diag(1 / (2 * np.arange(1, 4) + 1)), atol=0.01)
    for order in range(1, POLYNOMIALS + 1):
        assert spanned(trend[:, :order], x**order) and not spanned(trend[:, : order - 1], x**order)
    assert not spanned(trend, x ** (POLYNOMIALS + 1))


def test_the_cosines_are_orthogonal_to_the_cubics_and_follow_sinusoids_of_six_periods_a_visit():
    segment = with_cosines(segments_of(observe(np.random.default_rng(9), n=1000))[0])
    trend, x = segment.trend, np.linspace(0, 1, 1000)
    assert trend.shape == (1000, TREND_ORDER)
    cosines = trend[:, POLYNOMIALS:]
    np.testing.assert_allclose(cosines.T @ np.column_stack([np.ones(1000), trend[:, :POLYNOMIALS]]), 0, atol=1e-8)
    np.testing.assert_allclose((cosines**2).mean(axis=0), 0.5)
    for periods in (2, 4, 6):  # a sinusoid of any phase: what is left of it lies at the ends of the visit
        wave = np.cos(2 * np.pi * periods * x + 1)
        left = wave - trend @ np.linalg.lstsq(trend, wave - wave.mean(), rcond=None)[0] - wave.mean()
        assert left.std() < 0.15 * wave.std()


def test_centroid_terms_are_standardised_and_quadratic_for_fgs1():
    curves = observe(np.random.default_rng(10))
    fgs1, airs = segments_of(curves)
    x, y = curves.fgs1.centroid.T
    assert (fgs1.nuisance.shape[1], airs.nuisance.shape[1]) == (5, 2)
    for segment in (fgs1, airs):
        np.testing.assert_allclose(segment.nuisance.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(segment.nuisance.std(axis=0), 1)
        assert spanned(segment.nuisance, 1 + 2 * x - 3 * y)
    assert spanned(fgs1.nuisance, x - y + 2 * x**2 + 3 * x * y - 4 * y**2)
    assert not spanned(fgs1.nuisance, x**3)


def test_squares_of_the_jitter_are_taken_before_binning():
    n = 2 * MAX_SAMPLES
    size = np.linspace(0.1, 0.3, n // 2).repeat(2)
    centroid = np.stack([size * np.tile([1, -1], n // 2), np.zeros(n)], axis=1)  # every bin's mean is zero
    fgs1 = segments_of(observe(np.random.default_rng(11), n=n, centroid=centroid))[0]
    assert len(fgs1.time) == MAX_SAMPLES and spanned(fgs1.nuisance, size[::2] ** 2)


def test_a_star_that_does_not_move_has_no_centroid_terms():
    assert segments_of(observe(np.random.default_rng(12), centroid=np.zeros((200, 2))))[0].nuisance.shape == (200, 0)


def test_nothing_given_is_changed():
    curves = observe(np.random.default_rng(13))
    flux, mask, centroid = (getattr(curves.airs, name).copy() for name in ("flux", "mask", "centroid"))
    merge_channels(segments_of(curves)[1], 2)
    for name, before in (("flux", flux), ("mask", mask), ("centroid", centroid)):
        np.testing.assert_array_equal(getattr(curves.airs, name), before)


def with_holes(rng):
    """AIRS with a third of the samples unusable, one time entirely."""
    curves = observe(rng)
    mask = rng.random(curves.airs.flux.shape) < 0.3
    mask[77] = True
    return segments_of(with_airs(curves, mask=mask))[1]


@pytest.mark.parametrize("n_bands", [1, 2, 4, 18, 30])
def test_merging_keeps_total_weight_weighted_light_and_level(n_bands):
    segment = with_holes(np.random.default_rng(14))
    merged = merge_channels(segment, n_bands)
    assert merged.channels.tolist() == list(range(1, 1 + min(n_bands, CHANNELS)))
    np.testing.assert_allclose(merged.weight.sum(axis=0), segment.weight.sum(axis=0))
    np.testing.assert_allclose((merged.weight * merged.flux).sum(axis=0), (segment.weight * segment.flux).sum(axis=0))
    assert merged.level.sum() == pytest.approx(segment.level.sum())
    assert not merged.weight[:, 77].any() and not merged.flux[:, 77].any()
    assert np.all(np.diff(merged.wavelength) > 0)
    weight = segment.weight.sum(axis=1)
    assert np.average(merged.wavelength, weights=merged.weight.sum(axis=1)) == pytest.approx(np.average(segment.wavelength, weights=weight))


def test_merging_in_two_steps_is_merging_in_one():
    segment = with_holes(np.random.default_rng(15))
    once, twice = merge_channels(segment, 1), merge_channels(merge_channels(segment, 4), 1)
    for name in ("flux", "weight", "level", "wavelength", "channels", "trend", "nuisance"):
        np.testing.assert_allclose(getattr(twice, name), getattr(once, name))


def test_bands_are_neighbours():
    segment = segments_of(observe(np.random.default_rng(16)))[1]
    flux = np.repeat([[1.0], [2.0], [3.0]], 6, axis=0) * np.ones_like(segment.flux)
    np.testing.assert_allclose(merge_channels(replace(segment, flux=flux), 3).flux, np.array([[1.0], [2.0], [3.0]]) * np.ones((1, 200)))


def test_fgs1_stays_channel_0():
    segment = segments_of(observe(np.random.default_rng(17)))[0]
    merged = merge_channels(segment, 8)
    assert merged.channels.tolist() == [0]
    np.testing.assert_allclose(merged.flux, segment.flux)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda t: t[::-1], "in row 1 after"), (lambda t: 0 * t + 3, "in row 1 after"), (lambda t: 3600 * t, "times as long"),
        (lambda t: t / 24 / 60, "shorter than that of the detector"),
        (lambda t: np.where(np.arange(len(t)) == 9, np.nan, t), "nan in row 9 after"),
    ],
)  # fmt: skip
def test_times_that_do_not_ascend_in_hours_are_refused(change, found):
    whole = observe(np.random.default_rng(0))
    wrong = replace(whole, fgs1=replace(whole.fgs1, time=change(whole.fgs1.time)))
    with pytest.raises(ArchiveError, match=f"light curves of planet .*FGS1: expected ascending times in hours, .*found .*({found})"):
        make_segments([wrong], WAVELENGTH)
