"""Sanity checks on a transit fit: an ordinary planet passes, each sign of damaged data has its reason."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit.quality import DEEPEST, QUIETEST, rejection_reason
from ariel_lib.transit.result import DepthEstimate, WhiteCurve


def make_estimate(n=5):
    axis = np.linspace(0, 7, 20)
    curve = WhiteCurve("AIRS-CH0", 0, axis, axis * 0 + 1, axis * 0 + 1, axis * 0 + 1, 1e-4, 1e5, 3.5, 2.0, 1.0, 0.0, 0.0)
    depth = np.full(n, 0.0147)
    return DepthEstimate("1", depth, np.diag(depth * 1e-6), depth * 1e-3, depth * 1e6, depth * 0 + 1, np.zeros(8),
                         np.zeros(0), np.zeros((0, 0)), np.zeros((n, 0)), np.zeros(0), (curve,), ())  # fmt: skip


def test_an_ordinary_planet_is_accepted():
    assert rejection_reason(make_estimate()) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"depth": np.full(5, np.nan)}, "not finite"),
        ({"covariance": np.full((5, 5), np.inf)}, "not finite"),
        ({"sigma_uncorrelated": np.full(5, np.nan)}, "not finite"),
        ({"sigma_uncorrelated": np.array([0, 1, 1, 1, 1]) * 1e-5}, "standard deviation of the transit fit is not positive"),
        ({"covariance": np.zeros((5, 5))}, "not positive"),
        ({"depth": np.full(5, 0.5)}, "mean depth 0.5"),
        ({"depth": np.full(5, -0.01)}, "mean depth -0.01"),
        ({"level": np.zeros(5)}, "no signal"),
        ({"flags": ("no_transit",)}, "no transit"),
        ({"white": (replace(make_estimate().white[0], chi2=0.0),)}, "below photon noise"),
    ],
)
def test_each_sign_of_damage_has_its_rejection_reason(change, reason):
    with np.errstate(all="raise"):
        assert reason in rejection_reason(replace(make_estimate(), **change))


@pytest.mark.parametrize(("share", "refused"), [(0.99, False), (1.01, True)])
def test_the_deepest_planet_and_the_quietest_light_are_bounds(share, refused):
    estimate = make_estimate()
    deep = replace(estimate, depth=np.full(5, share * DEEPEST))
    quiet = replace(estimate, white=(replace(estimate.white[0], chi2=QUIETEST / share),))
    assert (rejection_reason(deep) is not None) == (rejection_reason(quiet) is not None) == refused


def test_one_noisy_wavelength_condemns_no_planet():
    estimate = make_estimate()
    depth, noise = estimate.depth.copy(), estimate.sigma_uncorrelated.copy()
    depth[2], noise[2] = -50.0, 100.0
    assert rejection_reason(replace(estimate, depth=depth, sigma_uncorrelated=noise)) is None


def test_one_dark_wavelength_condemns_no_planet_and_a_quiet_instrument_is_named_once():
    estimate = make_estimate()
    level = estimate.level.copy()
    level[1] = 0
    assert rejection_reason(replace(estimate, level=level)) is None
    quiet = [replace(estimate.white[0], instrument=name, chi2=0.01) for name in ("FGS1", "AIRS-CH0", "FGS1")]
    assert "of AIRS-CH0, FGS1 are" in rejection_reason(replace(estimate, white=(*quiet, estimate.white[0])))
