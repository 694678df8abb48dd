"""Systematics of simulated planets: a planet and its visits with families drawn, their record on disk, and the record drawn again.

The random stream of each planet and visit is spawned from the seed, apart from those of simulator.dataset: planets, noise and
detectors are the same for every choice of families.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ariel_lib.instrument import AIRS, FGS1, INSTRUMENTS, airs_wavelengths, spectrum_wavelengths
from ariel_lib.io.layout import Star
from ariel_lib.io.storage import write_atomically
from ariel_lib.simulator.light_curve import Drift, transit_duration
from ariel_lib.simulator.planet import Planet
from ariel_lib.simulator.star import airs_rates
from ariel_lib.simulator.systematics.disc import Disc, closest_quadratic, draw_disc
from ariel_lib.simulator.systematics.mixture import Recipe, Systematics, draw_catalogue_orbit, draw_systematics
from ariel_lib.simulator.systematics.terms import Target, Times

RECORD = "systematics.json"
RECORDED = 225  # samples of the white light kept for each instrument, every two minutes
_NO_DRIFT = Drift(np.zeros(3), np.zeros((3, 3)))
_CHOICE, _DISC, _CATALOGUE, _VISITS = 0, 1, 2, 3  # keys of the streams spawned from the stream of a planet


@dataclass(frozen=True)
class DisturbedPlanet:
    """A planet with systematics.

    planet       its catalogue, limb darkening (closest quadratic) and drifts (none without the polynomial family) are changed
    families     drawn
    disc         of its star
    catalogue    standard deviations of the catalogue's errors, empty without that family
    compression  factor by which time runs faster than in a visit of full length
    length       h, of a visit of full length
    seed         of the planet's systematics
    """

    planet: Planet
    families: tuple[str, ...]
    disc: Disc
    catalogue: dict[str, float]
    compression: float
    length: float
    seed: np.random.SeedSequence

    def target(self, visit: int) -> Target:
        """What a visit observes, in hours of a visit of full length."""
        planet = self.planet
        duration = transit_duration(planet.orbit, float(np.sqrt(planet.depth.max()))) * self.compression
        mid_transit = planet.mid_transits[visit] * self.compression
        return Target(planet.catalogue, float(planet.depth[1:].mean()), mid_transit, duration, self.length)

    def draw_visit(self, visit: int, times: Times) -> Systematics:
        """Systematics of a visit but its polynomial drift, which the planet holds. times: instrument name → (time,) h, as simulated."""
        full = {name: time * self.compression for name, time in times.items()}
        return _draw_visit(self.families, self.target(visit), full, _child(self.seed, _VISITS, visit))


def disturb(planet: Planet, recipe: Recipe, compression: float, length: float, seed: np.random.SeedSequence) -> DisturbedPlanet:
    """Draw the families of a planet, its star's disc and its catalogue. length h, of a visit of full length."""
    choice, disc, catalogue = (np.random.default_rng(_child(seed, key)) for key in (_CHOICE, _DISC, _CATALOGUE))
    families = recipe.choose(choice)
    drawn, sigmas = draw_disc(families, planet.catalogue, spectrum_wavelengths(), disc), {}
    if "polynomial" not in families:
        planet = replace(planet, drifts=(_NO_DRIFT,) * planet.n_visits)
    if drawn.limb_darkening is not None:
        planet = replace(planet, limb_darkening=closest_quadratic(drawn.limb_darkening))
    if "catalogue" in families:
        orbit, sigmas = draw_catalogue_orbit(planet.orbit, catalogue)
        planet = replace(planet, catalogue=replace(planet.catalogue, P=orbit.period / 24, sma=orbit.a, i=orbit.inclination))
    return DisturbedPlanet(planet, families, drawn, sigmas, compression, length, seed)


def record(planet: DisturbedPlanet) -> dict:
    """What is kept of a planet: families, parameters, what redraw needs, and the white light's factor outside the transit, ppm.

    The polynomial drift is in truth.json; it is not part of the factor.
    """
    weight, times = {FGS1.name: np.ones(1), AIRS.name: _airs_light(planet.planet)}, dict.fromkeys(INSTRUMENTS, record_times(planet.length))
    visits = []
    for visit in range(planet.planet.n_visits):
        drawn = _draw_visit(planet.families, planet.target(visit), times, _child(planet.seed, _VISITS, visit))
        white = {name: np.round(1e6 * (drawn.white_factor(name, weight[name]) - 1), 2).tolist() for name in times}
        visits.append({"target": asdict(planet.target(visit)), "parameters": drawn.parameters, "white_ppm": white})
    return {
        "families": planet.families,
        "stream": planet.seed.spawn_key,
        "disc": planet.disc.parameters,
        "catalogue": planet.catalogue,
        "compression": planet.compression,
        "visits": visits,
    }


def record_times(length: float) -> np.ndarray:
    """Times of the recorded white light, h of a visit of full length, (time,)."""
    return (np.arange(RECORDED) + 0.5) / RECORDED * length


def write_record(out: Path, name: str, seed: int, planets: Mapping[str, DisturbedPlanet]) -> None:
    """Write systematics.json: the name asked for, the seed, and the record of every planet by its id."""
    content = {"systematics": name, "seed": seed, "planets": {key: record(planet) for key, planet in planets.items()}}
    write_atomically(out / RECORD, json.dumps(content).encode())


def read_record(root: Path) -> dict:
    """systematics.json of a simulated data set; without planets for a nominal one, which has no such file."""
    path = root / RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"systematics": "nominal", "planets": {}}


def redraw(known: dict, planet_id: str, visit: int, times: Times) -> tuple[Systematics, Disc]:
    """The systematics of a recorded visit at any times, and the disc of its star, exactly as they were simulated.

    known: from read_record; times: instrument name → (time,) h from the start of the visit, as simulated.
    """
    kept = known["planets"][planet_id]
    fields = kept["visits"][visit]["target"]
    target = Target(**fields | {"star": Star(**fields["star"])})
    seed = np.random.SeedSequence(known["seed"], spawn_key=tuple(kept["stream"]))
    full = {name: time * kept["compression"] for name, time in times.items()}
    drawn = _draw_visit(kept["families"], target, full, _child(seed, _VISITS, visit))
    disc = draw_disc(kept["families"], target.star, spectrum_wavelengths(), np.random.default_rng(_child(seed, _DISC)))
    return drawn, disc


def _draw_visit(families: Sequence[str], target: Target, times: Times, seed: np.random.SeedSequence) -> Systematics:
    """Terms of a visit but the polynomial drift. times: instrument name → (time,) h of a visit of full length."""
    chosen = [family for family in families if family != "polynomial"]
    return draw_systematics(chosen, target, times, spectrum_wavelengths(), np.random.default_rng(seed))


def _airs_light(planet: Planet) -> np.ndarray:
    """Photons of the star at each AIRS wavelength, (wavelength,)."""
    first, last = AIRS.crop
    return airs_rates(airs_wavelengths(), planet.catalogue.Ts, planet.magnitude)[first:last][::-1]


def _child(seed: np.random.SeedSequence, *key: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *key))
