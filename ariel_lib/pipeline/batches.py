"""Transit fits of many planets in batches under a time budget, so that first results come early.

Where time is short, first visits are fitted before later ones. Independent of the network.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.errors import ArchiveError
from ariel_lib.execution.time_budget import Budget, OutOfTimeError, format_seconds
from ariel_lib.execution.workers import WorkerPool, as_pool
from ariel_lib.io.dataset import Dataset
from ariel_lib.pipeline.planet_fits import PlanetFits, fit_planets

BATCH_SECONDS = 300.0  # target duration of a batch
SHARE_OF_LEFT = 0.25  # of the time left that a batch may take at most
FIRST_VISIT_ONLY = "fitted with the first visit only, since the fit of all visits failed"
VISIT, REPORT = "visit", "report"  # names of rates in the budget
Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class PlanetBatch:
    """The fits of one batch, the number of planets settled so far, and the number of all planets."""

    planet_fits: PlanetFits
    settled: int
    total: int


def fit_batches(
    dataset: Dataset,
    budget: Budget,
    *,
    settings: CalibrationSettings | None = None,
    workers: int | WorkerPool = 1,
    progress: Progress = None,
) -> Iterator[PlanetBatch]:
    """Fit the planets of a data set batch by batch: each planet once, and again if its later visits were postponed.

    settings, progress  as in fit_planets
    workers             number of processes or a pool, used for all batches and closed when the budget is spent

    The caller's work on a batch counts into the measured rate. Planets not reached in time are in the last batch, as failures.
    """
    counts = count_visits(dataset)
    waiting, late, total = list(dataset.planets), [], len(dataset.planets)
    with as_pool(workers) as pool:
        while waiting or late:
            most_visits = None if not waiting or _time_for_all(budget, counts, waiting, late) else 1
            chosen = _next_batch(budget, counts, waiting or late, most_visits, pool.size)
            began = budget.clock()

            def fit(chosen=chosen, most_visits=most_visits) -> PlanetFits:
                return fit_planets(dataset.select(chosen), settings=settings, most_visits=most_visits, workers=pool, progress=progress)

            found = _fit_within(budget, pool, fit) if chosen else None
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
    yield from _skip_rest(budget, waiting, late, total)


def _fit_within(budget: Budget, pool: WorkerPool, fit: Callable[[], PlanetFits]) -> PlanetFits | None:
    """The fits of one batch; None where the budget ran out, with the pool closed."""
    try:
        return budget.within(fit)
    except OutOfTimeError:
        pool.close()
        return None


def count_visits(dataset: Dataset) -> dict[str, int]:
    """Number of visits of each planet, at least 1."""
    curves = dataset.light_curve_visits
    return {planet: len(curves.get(planet, ())) or _count_frames(dataset, planet) for planet in dataset.planets}


def _count_frames(dataset: Dataset, planet: str) -> int:
    try:
        return len(dataset.archive.visits(dataset.split, planet))
    except ArchiveError:
        return 1


def _time_for_all(budget: Budget, counts: dict[str, int], waiting: list[str], late: list[str]) -> bool:
    """Whether the time left suffices for all visits, not only the first ones."""
    later = sum(counts[planet] - 1 for planet in waiting) + sum(counts[planet] for planet in late)
    optional = {"second visits": budget.cost(VISIT, later), "report": budget.cost(REPORT)}
    return "second visits" not in budget.choose(budget.cost(VISIT, len(waiting)), optional)


def _next_batch(
    budget: Budget, counts: dict[str, int], queue: list[str], most_visits: int | None, workers: int
) -> list[str]:
    """The next planets of the queue, for one batch; none where the time left is too short."""
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


def _skip_rest(budget: Budget, waiting: list[str], late: list[str], total: int) -> Iterator[PlanetBatch]:
    """Record the skipped visits and planets in the budget; yield the planets that were not reached, as failures."""
    if late:
        budget.skip("second visits", f"{len(late)} planets were fitted with their first visit only")
    if waiting:
        budget.skip("planets", f"{len(waiting)} of {total} were not fitted")
        reason = f"no time left after {format_seconds(budget.spent)}"
        yield PlanetBatch(PlanetFits({}, dict.fromkeys(waiting, reason)), total, total)


def fit_within_budget(
    dataset: Dataset,
    budget: Budget,
    *,
    log: Callable[[str], None],
    settings: CalibrationSettings | None = None,
    workers: int | WorkerPool = 1,
    progress: Progress = None,
) -> PlanetFits:
    """The fits of a data set's planets that pass the quality checks, as far as the budget allows; all other planets are failures."""
    found = PlanetFits({}, {})
    for batch in fit_batches(dataset, budget, settings=settings, workers=workers, progress=progress):
        later = batch.planet_fits.accepted()
        fits = found.fits | later.fits
        failures = {planet: why for planet, why in (found.failures | later.failures).items() if planet not in fits}
        kept = {planet: f"{FIRST_VISIT_ONLY}: {why}" for planet, why in later.failures.items() if planet in found.fits}
        found = PlanetFits(fits, failures, found.notes | later.notes | kept, found.tracebacks | later.tracebacks)
        log(f"{batch.settled} of {batch.total} planets fitted; {budget}")
    return replace(found, fits={planet: found.fits[planet] for planet in dataset.planets if planet in found.fits})
