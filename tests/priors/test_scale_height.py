"""Depth of one scale height: a textbook value, scaling with mass, distance and radius, NaN where the catalogue has no value."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.io.layout import Star
from ariel_lib.priors.scale_height import scale_height_depth

# HD 209458 b: R★ 1.155 R☉, k 0.1209, M 0.69 M_J, a/R★ 8.76, T★ 6065 K; T_eq 1450 K, g 9.4 m/s² (Torres et al. 2008), so H 560 km
HD209458B = Star("1", 1.155, 1.12, 6065.0, 0.69, 0.0, 3.52, 8.76, 86.7)


def test_hd_209458_b_has_its_published_scale_height():
    assert scale_height_depth(HD209458B, 0.1209**2) == pytest.approx(2 * 0.1209 * 560e3 / (1.155 * 6.957e8), rel=0.03)


def test_scaling_with_mass_orbital_distance_and_radius():
    one = scale_height_depth(HD209458B, 0.01)
    assert scale_height_depth(replace(HD209458B, Mp=2 * HD209458B.Mp), 0.01) == pytest.approx(one / 2)
    assert scale_height_depth(replace(HD209458B, sma=4 * HD209458B.sma), 0.01) == pytest.approx(one / 2)
    assert scale_height_depth(HD209458B, 0.04) == pytest.approx(8 * one)  # k³ at one mass


@pytest.mark.parametrize("star, depth", [(None, 0.01), (replace(HD209458B, Mp=0.0), 0.01), (HD209458B, 0.0)])
def test_missing_values_give_nan(star, depth):
    assert np.isnan(scale_height_depth(star, depth))
