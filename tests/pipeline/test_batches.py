"""ariel_lib.pipeline.batches: every planet once, first visits first where time is short, nothing forgotten."""

import pytest

from ariel_lib.execution.time_budget import Budget
from ariel_lib.pipeline import batches
from ariel_lib.pipeline.batches import fit_batches
from ariel_lib.pipeline.planet_fits import PlanetFits

PLANETS = tuple(map(str, range(20)))
VISITS = {planet: 1 + (int(planet) % 4 == 0) for planet in PLANETS}  # five planets have two


@pytest.fixture
def world(monkeypatch):
    """Surveys that take 10 s a visit on a clock of their own."""

    class World:
        now, calls, crews = 0.0, [], []

        def planet_fits(self, archive, split, *, planets, most_visits, workers):
            self.calls.append((tuple(planets), most_visits))
            self.crews.append(workers)
            self.now += 10 * sum(min(VISITS[planet], most_visits or 2) for planet in planets)
            return PlanetFits(dict.fromkeys(planets), {})

    made = World()
    made.calls, made.crews = [], []
    monkeypatch.setattr(batches, "fit_planets", made.planet_fits)
    monkeypatch.setattr(batches, "count_visits", lambda *_: VISITS)
    return made


def run(world, limit):
    budget = Budget(limit, clock=lambda: world.now)
    return list(fit_batches(None, "test", PLANETS, budget, workers=2)), budget


def test_with_time_enough_all_visits_come_at_once(world):
    found, budget = run(world, None)
    assert [planet for planets, _ in world.calls for planet in planets] == list(PLANETS)
    assert {most for _, most in world.calls} == {None}
    assert found[-1].settled == 20 and not budget.skipped


def test_when_time_is_short_second_visits_are_given_up_first(world):
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


def test_all_rounds_have_the_same_workers_who_are_let_go_at_the_end(world):
    run(world, 230)
    assert len(world.crews) > 2 and len(set(map(id, world.crews))) == 1
    assert world.crews[0].size == 2 and world.crews[0].closed


def test_the_first_round_is_small_so_that_an_answer_comes_early(world):
    run(world, None)
    assert len(world.calls[0][0]) == 2
