"""Two simulated worlds in which methods are compared: home, where light is as the fit assumes it, and away, where it is not.

home  cubic drifts; those of the test planets, and their limb darkening, are drawn from other distributions
away  each training planet has a random subset of all families of systematics but those left out, each test planet one of those left out

The data of a world are kept with the digests of its files and of all that it was made from, and made anew where one of them differs.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ariel_lib import __version__, simulator
from ariel_lib.config import Config, ConfigError
from ariel_lib.io.checksums import MANIFEST, sha256, write_manifest
from ariel_lib.simulator.dataset import simulate_dataset
from ariel_lib.simulator.systematics.mixture import read_recipe

WORLDS = ("home", "away")
N_PLANETS, N_TEST = 80, 20  # small enough for a laptop
LEFT_OUT = "ramp,thermal,granulation,pointing"


@dataclass(frozen=True)
class World:
    """A world to simulate.

    name      one of WORLDS
    n_planets, n_test  of all planets, and of the test planets among them
    labels    csv of spectra to draw from; None: spectra are simulated
    left_out  away: families that only test planets have, joined by commas
    seed      of the simulation

    Raises ConfigError for another name, SpectraMindError for unknown families.
    """

    name: str
    n_planets: int = N_PLANETS
    n_test: int = N_TEST
    labels: Path | None = None
    left_out: str = LEFT_OUT
    seed: int = 0

    def __post_init__(self):
        if self.name not in WORLDS:
            raise ConfigError(f"world: expected one of {', '.join(WORLDS)}, found {self.name!r}.")
        if not 0 < self.n_test < self.n_planets:
            raise ConfigError(f"world: expected training and test planets, found {self.n_planets} planets, {self.n_test} of them test.")
        read_recipe(self.left_out)
        read_recipe(f"mixed-{'-'.join(self.left_out.split(','))}")

    @property
    def settings(self) -> dict:
        """Arguments of simulate_dataset, but folder and labels."""
        away = {"systematics": f"mixed-{'-'.join(self.left_out.split(','))}/{self.left_out}"}
        sizes = {"n_planets": self.n_planets, "n_test": self.n_test, "seed": self.seed, "size": "full", "level": "lightcurves"}
        return sizes | ({"shifted": True} if self.name == "home" else away)

    def data(self, out: Path, *, progress: Callable[[int, int], None] | None = None, log: Callable[[str], None] = print) -> Path:
        """The folder of the world's data, world_NAME in `out`, simulated unless it holds them already."""
        folder, made_from = out / f"world_{self.name}", self._made_from()
        if _is_fresh(folder, made_from):
            log(f"{folder}: as simulated before")
            return folder
        (folder / MANIFEST).unlink(missing_ok=True)
        log(f"{folder}: {self.n_planets} planets are simulated, {self.n_test} of them test planets")
        simulate_dataset(folder, **self.settings, labels=self.labels, progress=progress)
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        write_manifest(folder, names, {"made_from": made_from})
        return folder

    def _made_from(self) -> dict:
        """Settings, and digests of the labels, their star table and the simulator's source."""
        found = {}
        if self.labels is not None:
            stars = f"{self.labels.stem.removesuffix('_labels')}_star_info.csv"
            found = {path.name: sha256(path) for path in (self.labels, self.labels.with_name(stars)) if path.is_file()}
        code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(simulator.__file__).parent.rglob("*.py")))).hexdigest()
        return {"settings": self.settings, "labels": found, "simulator": code, "version": __version__}


def in_world(config: Config, data: Path) -> Config:
    """The configuration with the data of a world. Raises ConfigError where it names other data."""
    if config.data.root is not None or config.data.light_curves is not None:
        raise ConfigError("data.root: expected none with --world, which simulates its own data. Leave out one of them.")
    return replace(config, data=replace(config.data, root=str(data)))


def _is_fresh(folder: Path, made_from: dict) -> bool:
    """Whether a folder holds the data made from this, byte for byte."""
    try:
        kept = json.loads((folder / MANIFEST).read_bytes())
        files = kept["files"].items() if kept["made_from"] == made_from else None
        return files is not None and all(sha256(folder / name) == stated["sha256"] for name, stated in files)
    except (OSError, ValueError, KeyError):
        return False
