"""pipeline.batches: every planet once, first visits before later ones where time is short, skipped planets reported."""

import pytest

from ariel_lib.execution.time_budget import Budget
from ariel_lib.io.dataset import Dataset
from ariel_lib.pipeline import batches
from ariel_lib.pipeline.batches import fit_batches
from ariel_lib.pipeline.planet_fits import PlanetFits

PLANETS = tuple(map(str, range(20)))
VISITS = {planet: 1 + (int(planet) % 4 == 0) for planet in PLANETS}  # five planets have two


@pytest.fixture
def fake_fits(monkeypatch, tmp_path):
    """In place of fit_planets: fits that take 10 s a visit on a simulated clock."""

    class FakeFits:
        now, calls, pools = 0.0, [], []

        def fit_planets(self, dataset, *, settings, most_visits, workers, progress):
            self.calls.append((dataset.planets, most_visits))
            self.pools.append(workers)
            self.now += 10 * sum(min(VISITS[planet], most_visits or 2) for planet in dataset.planets)
            return PlanetFits(dict.fromkeys(dataset.planets), {})

    made = FakeFits()
    made.root = tmp_path
    made.calls, made.pools = [], []
    monkeypatch.setattr(batches, "fit_planets", made.fit_planets)
    monkeypatch.setattr(batches, "count_visits", lambda *_: VISITS)
    return made


def run(fake_fits, limit):
    budget = Budget(limit, clock=lambda: fake_fits.now)
    return list(fit_batches(Dataset(fake_fits.root, planets=PLANETS), budget, workers=2)), budget


def test_without_a_limit_all_visits_are_fitted_together(fake_fits):
    found, budget = run(fake_fits, None)
    assert [planet for planets, _ in fake_fits.calls for planet in planets] == list(PLANETS)
    assert {most for _, most in fake_fits.calls} == {None}
    assert found[-1].settled == 20 and not budget.skipped


def test_when_time_is_short_second_visits_are_skipped_first(fake_fits):
    found, budget = run(fake_fits, 230)
    fitted = [planet for planets, _ in fake_fits.calls for planet in planets]
    assert sorted(set(fitted), key=int) == list(PLANETS) and found[-1].settled == 20
    assert "second visits" in budget.skipped and "planets" not in budget.skipped
    assert fake_fits.now <= 230


def test_planets_not_reached_in_time_are_failures(fake_fits):
    found, budget = run(fake_fits, 100)
    reached = {planet for planets, _ in fake_fits.calls for planet in planets}
    failures = found[-1].planet_fits.failures
    assert reached | set(failures) == set(PLANETS) and not reached & set(failures)
    assert "no time left" in failures["19"] and "planets" in budget.skipped
    assert fake_fits.now <= 100


def test_all_batches_share_one_pool_that_is_closed_at_the_end(fake_fits):
    run(fake_fits, 230)
    assert len(fake_fits.pools) > 2 and len(set(map(id, fake_fits.pools))) == 1
    assert fake_fits.pools[0].size == 2 and fake_fits.pools[0].closed


def test_the_first_batch_is_small(fake_fits):
    run(fake_fits, None)
    assert len(fake_fits.calls[0][0]) == 2
