"""ariel_lib.pipeline.batches: every planet once, first visits first where time is short, nothing forgotten."""

import pytest

from ariel_lib.execution.time_budget import Budget
from ariel_lib.io.dataset import Dataset
from ariel_lib.pipeline import batches
from ariel_lib.pipeline.batches import fit_batches
from ariel_lib.pipeline.planet_fits import PlanetFits

PLANETS = tuple(map(str, range(20)))
VISITS = {planet: 1 + (int(planet) % 4 == 0) for planet in PLANETS}  # five planets have two


@pytest.fixture
def world(monkeypatch, tmp_path):
    """Fits that take 10 s a visit on a clock of their own."""

    class World:
        now, calls, pools = 0.0, [], []

        def fit_planets(self, dataset, *, settings, most_visits, workers, progress):
            self.calls.append((dataset.planets, most_visits))
            self.pools.append(workers)
            self.now += 10 * sum(min(VISITS[planet], most_visits or 2) for planet in dataset.planets)
            return PlanetFits(dict.fromkeys(dataset.planets), {})

    made = World()
    made.root = tmp_path
    made.calls, made.pools = [], []
    monkeypatch.setattr(batches, "fit_planets", made.fit_planets)
    monkeypatch.setattr(batches, "count_visits", lambda *_: VISITS)
    return made


def run(world, limit):
    budget = Budget(limit, clock=lambda: world.now)
    return list(fit_batches(Dataset(world.root, planets=PLANETS), budget, workers=2)), budget


def test_with_time_enough_all_visits_come_at_once(world):
    found, budget = run(world, None)
    assert [planet for planets, _ in world.calls for planet in planets] == list(PLANETS)
    assert {most for _, most in world.calls} == {None}
    assert found[-1].settled == 20 and not budget.skipped


def test_when_time_is_short_second_visits_are_skipped_first(world):
    found, budget = run(world, 230)
    seen = [planet for planets, _ in world.calls for planet in planets]
    assert sorted(set(seen), key=int) == list(PLANETS) and found[-1].settled == 20
    assert "second visits" in budget.skipped and "planets" not in budget.skipped
    assert world.now <= 230


def test_when_even_first_visits_do_not_fit_the_rest_is_named(world):
    found, budget = run(world, 100)
    reached = {planet for planets, _ in world.calls for planet in planets}
    failures = found[-1].planet_fits.failures
    assert reached | set(failures) == set(PLANETS) and not reached & set(failures)
    assert "no time left" in failures["19"] and "planets" in budget.skipped
    assert world.now <= 100


def test_all_batches_have_the_same_workers_that_end_at_the_end(world):
    run(world, 230)
    assert len(world.pools) > 2 and len(set(map(id, world.pools))) == 1
    assert world.pools[0].size == 2 and world.pools[0].closed


def test_the_first_batch_is_small_so_that_an_answer_comes_early(world):
    run(world, None)
    assert len(world.calls[0][0]) == 2
