"""evaluation.world: the data of the two worlds, reused only where they are proved to be the same."""

import json
from dataclasses import replace

import pytest

from ariel_lib.config import ConfigError, load_config
from ariel_lib.errors import SpectraMindError
from ariel_lib.evaluation import world as module
from ariel_lib.evaluation.world import World, in_world
from ariel_lib.simulator.dataset import read_recipes
from ariel_lib.simulator.systematics.ranges import FAMILIES


@pytest.fixture
def made(monkeypatch):
    """The simulations that were asked for, in place of simulating."""
    calls = []

    def simulate(folder, **settings):
        calls.append(settings)
        (folder / "lightcurves").mkdir(parents=True, exist_ok=True)
        for name in ("test.csv", "lightcurves/1_0.safetensors"):
            (folder / name).write_text(json.dumps(settings, default=str))

    monkeypatch.setattr(module, "simulate_dataset", simulate)
    return calls


def test_away_test_planets_have_families_that_no_training_planet_has():
    for families in ("ramp,thermal,granulation,pointing", "gain"):
        recipes = read_recipes(World("away", left_out=families).settings["systematics"])
        chosen = {split: {*recipe.always, *recipe.pool} for split, recipe in recipes.items()}
        assert chosen["test"] == set(families.split(",")) and chosen["train"] == set(FAMILIES) - chosen["test"]
    home = World("home").settings
    assert home["shifted"] and "systematics" not in home


def test_data_are_simulated_once_and_again_where_anything_differs(made, tmp_path, monkeypatch):
    (tmp_path / "train.csv").write_text("labels")
    (tmp_path / "train_star_info.csv").write_text("stars")
    world = World("away", labels=tmp_path / "train.csv")

    def simulations(world=world):
        folder = world.data(tmp_path / "out", log=str)
        assert folder == tmp_path / "out" / f"world_{world.name}"
        return len(made)

    assert [simulations(), simulations()] == [1, 1] and made[0]["labels"] == world.labels
    folder = tmp_path / "out" / "world_away"
    for change in (
        lambda: (folder / "lightcurves" / "1_0.safetensors").write_text("damaged"),
        lambda: (folder / "test.csv").unlink(),
        lambda: (folder / "manifest.json").write_text("{"),
        lambda: (tmp_path / "train.csv").write_text("other labels"),
        lambda: (tmp_path / "train_star_info.csv").write_text("other stars"),
        lambda: monkeypatch.setattr(module, "__version__", "another"),
    ):
        before = len(made)
        change()
        assert [simulations(), simulations()] == [before + 1, before + 1]
    assert simulations(replace(world, n_test=21)) == simulations(replace(world, n_test=21)) == 8
    assert simulations(World("home")) == simulations(World("home")) == 9  # in a folder of its own


def test_a_simulation_that_was_killed_is_made_again(made, tmp_path, monkeypatch):
    world = World("home")
    world.data(tmp_path, log=str)
    (tmp_path / "world_home" / "test.csv").write_text("damaged")

    def die(folder, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "simulate_dataset", die)
        with pytest.raises(KeyboardInterrupt):
            world.data(tmp_path, log=str)
    world.data(tmp_path, log=str)
    assert len(made) == 2


def test_worlds_that_cannot_be_are_refused(tmp_path):
    for wrong, message in (({"name": "else"}, "home, away"), ({"name": "home", "n_test": 80}, "training and test planets")):
        with pytest.raises(ConfigError, match=message):
            World(**wrong)
    for families in ("rain", "ramp+thermal", "mixed", ""):
        with pytest.raises(SpectraMindError, match="systematics: expected"):
            World("away", left_out=families)
    with pytest.raises(ConfigError, match="expected none with --world"):
        in_world(load_config(None, ["data.root=elsewhere"]), tmp_path)
    assert in_world(load_config(None, []), tmp_path).data.root == str(tmp_path)
