"""Systematics of one visit: families chosen by name, their terms, and the factor by which light is multiplied.

The factor is 1 + Σ_r time_r(t) · colour_r(λ) by definition: effects are added, not multiplied with each other.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ariel_lib.errors import SpectraMindError
from ariel_lib.simulator.light_curve import Orbit
from ariel_lib.simulator.systematics import stellar, telescope
from ariel_lib.simulator.systematics.ranges import FAMILIES, SHARES, draw_parameters
from ariel_lib.simulator.systematics.terms import PARTS, Target, Term, Times

LIGHT: dict[str, Callable[[Target, Times, np.ndarray, np.random.Generator], Term]] = {
    "polynomial": telescope.draw_polynomial,
    "ramp": telescope.draw_ramp,
    "thermal": telescope.draw_thermal,
    "persistence": telescope.draw_persistence,
    "gain": telescope.draw_gain,
    "pointing": telescope.draw_pointing,
    "granulation": stellar.draw_granulation,
    "rotation": stellar.draw_rotation,
    "spot_crossing": stellar.draw_spot_crossing,
}


@dataclass(frozen=True)
class Systematics:
    """What multiplies the light of one visit: 1 + time @ colour.

    time        instrument name → (time, rank)
    colour      instrument name → (rank, wavelength)
    pointing    instrument name → (time, 2) pixel, in addition to the jitter
    parameters  as drawn, by family and name
    """

    time: Mapping[str, np.ndarray]
    colour: Mapping[str, np.ndarray]
    pointing: Mapping[str, np.ndarray]
    parameters: Mapping[str, Mapping[str, float | list[float]]]

    def factor(self, instrument: str) -> np.ndarray:
        """(time, wavelength) of an instrument by name."""
        return 1.0 + self.time[instrument] @ self.colour[instrument]

    def white_factor(self, instrument: str, weight: np.ndarray) -> np.ndarray:
        """Factor of the light summed over the wavelengths of an instrument, (time,). weight (wavelength,): its photons."""
        return 1.0 + self.time[instrument] @ (self.colour[instrument] @ (weight / weight.sum()))


@dataclass(frozen=True)
class Recipe:
    """Which families a planet has: all of `always`, and those of `pool` that are drawn with their SHARES, at least one of them."""

    always: tuple[str, ...] = ()
    pool: tuple[str, ...] = ()

    def choose(self, rng: np.random.Generator) -> tuple[str, ...]:
        """Families of one planet, in the order of FAMILIES."""
        drawn = {family: rng.random() / SHARES[family] for family in self.pool}
        chosen = {family for family, value in drawn.items() if value < 1} or {min(drawn, key=drawn.get)} if drawn else set()
        return tuple(family for family in FAMILIES if family in chosen or family in self.always)


def read_recipe(name: str) -> Recipe:
    """The families that a name stands for.

    nominal        the polynomial drift alone
    FAMILY         that family alone; FAMILY+FAMILY: all of them in every planet
    FAMILY,FAMILY  a random subset for each planet, as `mixed` has of all families
    mixed-FAMILY   as mixed, without that family; several may follow

    Raises SpectraMindError for an unknown family.
    """
    if name == "nominal":
        return Recipe(always=("polynomial",))
    separators, (first, *others) = set(re.findall(r"[-+,]", name)), re.split(r"[-+,]", name)
    mixed = first == "mixed" and separators <= {"-"}
    left = set(FAMILIES) - set(others)
    if not set(others if mixed else [first, *others]) <= set(FAMILIES) or not (mixed or separators in (set(), {"+"}, {","})) or not left:
        raise SpectraMindError(
            f"systematics: expected nominal, mixed, mixed-FAMILY, or families joined by + (all of them) or , (a random subset), "
            f"of {', '.join(FAMILIES)}; found {name!r}"
        )
    if mixed:
        return Recipe(pool=tuple(family for family in FAMILIES if family in left))
    return Recipe(pool=(first, *others)) if "," in separators else Recipe(always=(first, *others))


def draw_systematics(
    families: Sequence[str], target: Target, times: Times, wavelength: np.ndarray, rng: np.random.Generator
) -> Systematics:
    """Draw the terms of one visit. Families that change the transit or the catalogue have none (disc.py, draw_catalogue_orbit).

    times       instrument name → (time,), h from the start of the visit; the realisation does not depend on them
    wavelength  (wavelength,) micron, FGS1 first

    Each family has a random stream of its own, so that its draw does not depend on the others chosen.
    """
    streams = dict(zip(LIGHT, rng.spawn(len(LIGHT)), strict=True))
    terms = {name: LIGHT[name](target, times, wavelength, streams[name]) for name in LIGHT if name in families}
    empty = {name: np.zeros((len(time), 0)) for name, time in times.items()}
    colour = np.concatenate([np.zeros((0, len(wavelength))), *(term.colour for term in terms.values())])
    return Systematics(
        time={name: np.concatenate([empty[name], *(term.time[name] for term in terms.values())], axis=1) for name in times},
        colour={name: colour[:, PARTS[name]] for name in times},
        pointing={
            name: sum((term.pointing[name] for term in terms.values() if term.pointing), np.zeros((len(time), 2)))
            for name, time in times.items()
        },
        parameters={name: term.parameters for name, term in terms.items()},
    )


def draw_catalogue_orbit(orbit: Orbit, rng: np.random.Generator) -> tuple[Orbit, dict[str, float]]:
    """Orbit of a star table with errors of inclination, a/Rs and period, and the standard deviations that they were drawn with."""
    p = draw_parameters("catalogue", rng)
    inclination, sma, period = rng.standard_normal(3)
    inclination = orbit.inclination + p["inclination_sigma"] * inclination
    wrong = Orbit(
        period=orbit.period * float(np.exp(p["period_sigma"] * period)),
        a=orbit.a * float(np.exp(p["sma_sigma"] * sma)),
        inclination=float(min(90.0, inclination)),
    )
    return wrong, p
