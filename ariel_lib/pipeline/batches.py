"""Many planets through the physical stages in rounds, so that answers come early and the clock is looked at in between.

First visits come first where time is short. Knows surveys and seconds, no network.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ariel_lib.errors import ArchiveError
from ariel_lib.execution.time_budget import Budget, OutOfTimeError, format_seconds
from ariel_lib.execution.workers import WorkerPool, as_pool
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import list_light_curves
from ariel_lib.pipeline.planet_fits import PlanetFits, fit_planets

BATCH_SECONDS = 300.0  # what a round should take: an answer is never older
SHARE_OF_LEFT = 0.25  # of the time left that a round may take
VISIT, REPORT = "visit", "report"  # names of rates in the budget


@dataclass(frozen=True)
class PlanetBatch:
    """What a round found, and how far the work is: planets that had their turn, and all."""

    planet_fits: PlanetFits
    settled: int
    total: int


def fit_batches(
    archive: Archive, split: str, planets: Sequence[str], budget: Budget, *, workers: int | WorkerPool = 1, **where
) -> Iterator[PlanetBatch]:
    """PlanetFits the planets round by round; every planet comes once, and again if its later visits had to wait.

    workers  a number of processes or a pool, the same ones in all rounds; ended at once when time runs out
    where    passed on to fit_planets: scratch, light_curves, settings, progress
    What the caller does with a round counts into the measured rate. Planets there is no time for come last, as failures.
    """
    counts = count_visits(archive, split, planets, where.get("light_curves"))
    waiting, late, total = list(planets), [], len(planets)
    with as_pool(workers) as pool:
        while waiting or late:
            most_visits = None if not waiting or _time_for_all(budget, counts, waiting, late) else 1
            chosen = _next_batch(budget, counts, waiting or late, most_visits, pool.size)
            began = budget.clock()
            found = _fit_batch_within(archive, split, chosen, budget, pool, most_visits, where) if chosen else None
            if found is None:
                break
            if waiting:
                waiting = waiting[len(chosen) :]
                late += [planet for planet in chosen if most_visits and counts[planet] > most_visits]
            else:
                late = late[len(chosen) :]
            yield PlanetBatch(found, total - len(waiting), total)
            pieces = sum(min(counts[planet], most_visits or counts[planet]) for planet in chosen)
            budget.measure(VISIT, pieces, budget.clock() - began)
    yield from _leave(budget, waiting, late, total)


def _fit_batch_within(
    archive: Archive, split: str, chosen: Sequence[str], budget: Budget, pool: WorkerPool, most_visits: int | None, where: dict
) -> PlanetFits | None:
    """One round's planet_fits; None, and no workers any more, where the time does not reach."""
    try:
        return budget.within(
            lambda: fit_planets(archive, split, planets=chosen, most_visits=most_visits, workers=pool, **where)
        )
    except OutOfTimeError:
        pool.close()
        return None


def count_visits(archive: Archive, split: str, planets: Sequence[str], light_curves=None) -> dict[str, int]:
    """Visits of each planet, at least 1: one that has none on disk still costs a look."""
    curves = list_light_curves(light_curves or archive.root / "lightcurves", split)
    return {planet: len(curves.get(planet, ())) or _count_frames(archive, split, planet) for planet in planets}


def _count_frames(archive: Archive, split: str, planet: str) -> int:
    try:
        return len(archive.visits(split, planet))
    except ArchiveError:
        return 1


def _time_for_all(budget: Budget, counts: dict[str, int], waiting: list[str], late: list[str]) -> bool:
    """Whether later visits can be taken along with the first ones."""
    later = sum(counts[planet] - 1 for planet in waiting) + sum(counts[planet] for planet in late)
    optional = {"second visits": budget.cost(VISIT, later), "report": budget.cost(REPORT)}
    return "second visits" not in budget.choose(budget.cost(VISIT, len(waiting)), optional)


def _next_batch(
    budget: Budget, counts: dict[str, int], queue: list[str], most_visits: int | None, workers: int
) -> list[str]:
    """So many planets of the queue as a round should hold; none where not even one for each worker can be done in time."""
    aim, chosen, visits = min(BATCH_SECONDS, SHARE_OF_LEFT * max(budget.left, 0.0)), [], 0
    for planet in queue:
        visits += min(counts[planet], most_visits or counts[planet])
        cost = budget.cost(VISIT, visits)
        if len(chosen) >= workers and (cost > aim or VISIT not in budget.rates):
            break
        if cost > budget.left:
            break
        chosen.append(planet)
    return chosen if budget.left > 0 else []


def _leave(budget: Budget, waiting: list[str], late: list[str], total: int) -> Iterator[PlanetBatch]:
    """Put on record what there was no time for."""
    if late:
        budget.skip("second visits", f"{len(late)} planets were answered from their first visit")
    if waiting:
        budget.skip("planets", f"{len(waiting)} of {total} were not looked at")
        reason = f"no time left after {format_seconds(budget.spent)}"
        yield PlanetBatch(PlanetFits({}, dict.fromkeys(waiting, reason)), total, total)


def fit_within_budget(
    archive: Archive, split: str, budget: Budget, *, log: Callable[[str], None], workers: int | WorkerPool = 1, **where
) -> PlanetFits:
    """All planets of a split, as far as the budget reaches, in one planet_fits; what is not reached is among the failures."""
    light_curves = where.get("light_curves") or archive.root / "lightcurves"
    planets = list_light_curves(light_curves, split) or archive.planets(split)
    found = PlanetFits({}, {})
    for finished in fit_batches(archive, split, tuple(planets), budget, workers=workers, **where):
        later = finished.planet_fits
        fits = found.fits | later.fits
        failures = {planet: why for planet, why in (found.failures | later.failures).items() if planet not in fits}
        found = PlanetFits(fits, failures, found.notes | later.notes)
        log(f"{finished.settled} of {finished.total} planets fitted; {budget}")
    return replace(found, fits={p: found.fits[p] for p in planets if p in found.fits})
