"""evaluation.seeds: means over trainings, with the error over planets and the spread of the seeds."""

import numpy as np
import pytest

from ariel_lib.config import ConfigError
from ariel_lib.evaluation.seeds import points_markdown, require_seeds, tabulate_seeds
from ariel_lib.metrics import bootstrap_error


def by_planet(values):
    return {str(n): float(value) for n, value in enumerate(values)}


def test_error_and_spread_are_those_of_planets_and_of_seeds():
    rng = np.random.default_rng(0)
    planet, seed = rng.normal(0.5, 0.1, 50), np.array([-0.02, 0.0, 0.02])
    better = 0.03 + 0.01 * rng.standard_normal(50)
    scores = [{"plain": by_planet(planet), "v50": by_planet(planet + better + shift)} for shift in seed]
    table, planets = tabulate_seeds(scores, "v50")
    assert len(planets) == 50
    assert table["plain"]["score_spread"] == pytest.approx(0, abs=1e-12) and table["v50"]["score_spread"] == pytest.approx(0.02)
    assert table["plain"]["lead"] == pytest.approx(better.mean()) and table["plain"]["lead_spread"] == pytest.approx(0.02)
    assert table["plain"]["lead_error"] == pytest.approx(bootstrap_error(better))  # paired: not the planets' own scatter
    assert table["plain"]["score_error"] == pytest.approx(bootstrap_error(planet)) and table["v50"]["lead"] == 0


def test_a_planet_or_method_that_one_seed_lacks_is_left_out():
    scores = [{"v50": by_planet([1, 2, 3]), "ridge": by_planet([0, 0, 0]), "oracle": by_planet([5, 5, 5])}, {}]
    scores[1] = {"v50": by_planet([1, 2]), "ridge": by_planet([0, 1])}
    table, planets = tabulate_seeds(scores, "v50")
    assert planets == ["0", "1"] and set(table) == {"v50", "ridge"} and table["ridge"]["lead"] == pytest.approx(1.25)


def test_the_points_of_a_grid_are_averaged_over_their_seeds_and_a_failed_seed_is_left_out():
    def row(point, *values):
        return {"point": point, "shares": by_planet(values)}

    rows = [row("training.seed=0", 0.4, 0.5), row("training.seed=1", 0.6, 0.7), row("training.seed=2", 9, 9)]
    rows += [row("model.gnn_layers=0 training.seed=0", 0.3, 0.4), row("model.gnn_layers=0 training.seed=1", 0.5, 0.6)]
    lines = points_markdown(rows, "training.seed=0").splitlines()
    assert lines[2].startswith("| model.gnn_layers=0 | 0.4500 ± ") and "| +0.1000 ± 0.0000 |" in lines[2]
    assert lines[3].startswith("| base | 0.5500 ± ") and len(lines) == 4
    assert points_markdown(rows[2:4], "training.seed=2").startswith("No table: every point ended well with 0 of 2 seeds")


def test_one_seed_or_a_seed_given_twice_is_refused():
    assert require_seeds((0, 1, 2)) == (0, 1, 2)
    for wrong in ((3,), (0, 0, 1)):
        with pytest.raises(ConfigError, match="two or more different numbers"):
            require_seeds(wrong)
