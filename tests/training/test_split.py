"""The split of the labelled planets: parts without overlap, by seed, with planets to fit, to choose and to hold out."""

import numpy as np
import pytest

from ariel_lib.config import ConfigError
from ariel_lib.training.split import MIN_FITTING, split_planets

ELEVEN = [str(n) for n in range(11)]


def split(planets, folds, fraction, seed=0):
    return split_planets(planets, folds, fraction, np.random.default_rng(seed))


@pytest.mark.parametrize(("n", "folds", "fraction"), [(5, 1, 0.2), (11, 1, 0.5), (11, 3, 0.2), (24, 1, 0.2), (24, 5, 0.2), (1100, 1, 0.2)])
def test_every_planet_has_one_part_in_each_split(n, folds, fraction):
    planets = [str(k) for k in range(n)]
    splits = split(planets, folds, fraction)
    assert len(splits) == folds and splits == split(planets, folds, fraction) != split(planets, folds, fraction, seed=1)
    for parts in splits:
        assert sorted([*parts.fitting, *parts.choosing, *parts.held_out]) == sorted(planets)
        assert len(parts.fitting) >= MIN_FITTING and parts.choosing and parts.held_out
    if folds > 1:  # the networks' parts apart are a partition
        assert sorted(planet for parts in splits for planet in (*parts.choosing, *parts.held_out)) == sorted(planets)


def test_a_quarter_of_the_planets_that_are_not_fitted_choose():
    for n, fraction, sizes in ((1100, 0.2, (880, 55, 165)), (24, 0.2, (19, 1, 4)), (5, 0.2, (3, 1, 1)), (11, 0.01, (9, 1, 1))):
        parts = split([str(k) for k in range(n)], 1, fraction)[0]
        assert (len(parts.fitting), len(parts.choosing), len(parts.held_out)) == sizes


def test_a_split_that_leaves_too_few_planets_names_the_setting_and_what_to_do():
    with pytest.raises(ConfigError, match="at most 5 for 11 planets, found 6"):
        split(ELEVEN, 6, 0.2)
    with pytest.raises(ConfigError, match=r"validation_fraction: expected at least 3 .* found 2 of 11 at 0.8. Use a smaller"):
        split(ELEVEN, 1, 0.8)
    with pytest.raises(ConfigError, match=r"training.folds: expected at least 3 .* found 2 of 5 at 2. Use more folds or"):
        split(ELEVEN[:5], 2, 0.2)
