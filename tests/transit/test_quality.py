"""Sanity checks on a transit fit: an ordinary planet passes, each sign of damaged data has its reason."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.transit.quality import rejection_reason
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
        ({"covariance": np.zeros((5, 5))}, "not positive"),
        ({"depth": np.full(5, 0.5)}, "mean depth 0.5"),
        ({"depth": np.full(5, -0.01)}, "mean depth -0.01"),
        ({"level": np.zeros(5)}, "no signal"),
        ({"flags": ("no_transit",)}, "no transit"),
        ({"white": (replace(make_estimate().white[0], chi2=0.0),)}, "below photon noise"),
    ],
)
def test_each_sign_of_damage_has_its_rejection_reason(change, reason):
    assert reason in rejection_reason(replace(make_estimate(), **change))
