"""Which labelled planets do what for a network: its weights are fitted to some, some choose the epoch, the others are held out.

Made once, from a random generator; independent of fits and spectra.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ariel_lib.config import ConfigError

CHOOSING_SHARE = 1 / 4  # of the planets that a network is not fitted to
MIN_FITTING = 3  # the initial estimate of one comes from a spectral prior of the others, which takes two


@dataclass(frozen=True)
class PlanetSplit:
    """The labelled planets of one network, each in one part.

    fitting   the weights are fitted to their spectra
    choosing  the weights of the epoch with their best score are kept
    held_out  neither: they calibrate the sigmas and give the published figures. No label of theirs enters the network, the spectral
              priors or the multiplicative bias that predict them, and the sigmas of each have a temperature fitted to the others
    """

    fitting: tuple[str, ...]
    choosing: tuple[str, ...]
    held_out: tuple[str, ...]


def split_planets(planets: Sequence[str], folds: int, fraction: float, rng: np.random.Generator) -> list[PlanetSplit]:
    """A split for each network.

    One network is not fitted to a random `fraction` of the planets, at least two; each of several to its part of a partition of all. A
    quarter of these, at least one, choose the epoch, and the others are held out.
    Raises ConfigError where a network would be fitted to fewer than MIN_FITTING planets, or have none to choose or to hold out.
    """
    n = len(planets)
    if folds > n // 2:
        raise ConfigError(f"training.folds: expected at most {n // 2} for {n} planets, found {folds}")
    order = [planets[k] for k in rng.permutation(n)]
    apart = [order[k::folds] for k in range(folds)] if folds > 1 else [order[: max(2, round(fraction * n))]]
    fitted = n - max(map(len, apart))
    if fitted < MIN_FITTING:
        key, value, remedy = ("folds", folds, "more folds") if folds > 1 else ("validation_fraction", fraction, "a smaller fraction")
        raise ConfigError(
            f"training.{key}: expected at least {MIN_FITTING} planets left to fit a network to, found {max(fitted, 0)} of {n} at {value}. "
            f"Use {remedy} or more labelled planets."
        )
    return [_split(order, out) for out in apart]


def _split(order: Sequence[str], apart: Sequence[str]) -> PlanetSplit:
    choosing = max(1, round(CHOOSING_SHARE * len(apart)))
    fitting = set(order) - set(apart)
    return PlanetSplit(tuple(planet for planet in order if planet in fitting), tuple(apart[:choosing]), tuple(apart[choosing:]))
