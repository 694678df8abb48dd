"""Transit fits of many planets: light curves read, or calibrated from frames, then fitted, with results stored on disk.

One file a planet, with a digest of the inputs: a fit is repeated only when they change. A planet that fails is listed with
its reason, and the others go on. Independent of network and true spectra.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.visits import calibrate_split
from ariel_lib.execution.workers import WorkerPool, as_pool, run_tasks
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurves, load_light_curves, load_provenance
from ariel_lib.io.storage import StorageError, load_metadata
from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.result import DepthEstimate, load_estimate, save_estimate

ESTIMATE_VERSION = 8  # raised when the fit changes, so that stored estimates are recomputed


@dataclass(frozen=True)
class PlanetFit:
    """One planet's transit fit, the star parameters used (None in 2024) and the files of its light curves."""

    estimate: DepthEstimate
    star: Star | None
    paths: tuple[Path, ...]

    def visits(self) -> list[LightCurves]:
        return [load_light_curves(path) for path in self.paths]


class Correction(Protocol):
    """A correction common to all planets, to condition estimates on: NuisancePrior, MultiplicativeBias or PopulationCorrections."""

    def condition(self, estimate: DepthEstimate) -> DepthEstimate: ...


@dataclass(frozen=True)
class PlanetFits:
    """Transit fits of many planets, each attribute by planet id.

    fits        planets with a fit
    failures    reason for each planet without one
    notes       remarks on planets with a fit
    tracebacks  of failures by unexpected errors
    """

    fits: dict[str, PlanetFit]
    failures: dict[str, str]
    notes: dict[str, str] = field(default_factory=dict)
    tracebacks: dict[str, str] = field(default_factory=dict)

    def conditioned_on(self, known: Correction) -> "PlanetFits":
        """The same fits with every estimate conditioned on a correction. Raises SpectraMindError where one is conditioned on it already."""
        fits = {
            planet: replace(planet_fit, estimate=known.condition(planet_fit.estimate))
            for planet, planet_fit in self.fits.items()
        }
        return replace(self, fits=fits)


@dataclass(frozen=True)
class Task:
    """One planet to fit: its star, light-curve files, wavelengths (micron) and the file for the estimate."""

    planet_id: str
    star: Star | None
    paths: tuple[Path, ...]
    wavelength: tuple[float, ...]
    kept: Path

    @property
    def source(self) -> str:
        """SHA-256 of the inputs of the estimate."""
        files = [(path.name, path.stat().st_size, _provenance(path)) for path in self.paths]
        star = None if self.star is None else asdict(self.star)
        text = json.dumps([ESTIMATE_VERSION, star, files, self.wavelength], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _provenance(path: Path) -> dict[str, str] | None:
    """The file's provenance; None for a damaged file, which the fit leaves out."""
    try:
        return load_provenance(path)
    except StorageError:
        return None


def fit_planets(
    dataset: Dataset,
    *,
    settings: CalibrationSettings | None = None,
    most_visits: int | None = None,
    workers: int | WorkerPool = 1,
    progress: Callable[[int, int], None] | None = None,
) -> PlanetFits:
    """The transit fits of a data set's planets, stored in its scratch folder between runs.

    dataset      visits without light curves are calibrated first if they are computed on demand
    settings     of that calibration; default: CalibrationSettings()
    most_visits  number of visits used of each planet, the first ones; default: all
    workers      number of processes, 1 for this one, or a pool, which stays open
    """
    with as_pool(workers) as pool:
        failures = _calibrate_missing(dataset, settings or CalibrationSettings(), most_visits, pool)
        tasks = _list_tasks(dataset, most_visits, failures)
        fits, tracebacks = {}, {}
        for done, settled in enumerate(run_tasks(tasks, fit_task, pool), 1):
            task, failure = settled.task, settled.failure
            if failure is None:
                fits[task.planet_id] = PlanetFit(load_estimate(task.kept), task.star, task.paths)
            else:
                failures[task.planet_id] = failure.reason
                tracebacks |= {task.planet_id: failure.traceback} if failure.traceback else {}
            if progress:
                progress(done, len(tasks))
    fits = {planet: fits[planet] for planet in dataset.planets if planet in fits}
    notes = {planet: failures.pop(planet) for planet in fits if planet in failures}
    return PlanetFits(fits, failures, notes, tracebacks)


def _calibrate_missing(
    dataset: Dataset, settings: CalibrationSettings, most_visits: int | None, pool: WorkerPool
) -> dict[str, str]:
    """Calibrate the frames whose light curves are not on disk; the reason of failure by planet."""
    if not dataset.is_calibrated_on_demand:
        return {}
    report = calibrate_split(dataset, settings, workers=pool, most_visits=most_visits)
    return {failure.planet_id: failure.reason for failure in report.failed}


def _list_tasks(dataset: Dataset, most_visits: int | None, failures: dict[str, str]) -> list[Task]:
    """A task for each planet with light curves; adds the reason for each of the others to `failures`."""
    present, wavelength, tasks = dataset.light_curve_visits, tuple(dataset.wavelengths.tolist()), []
    for planet in dataset.planets:
        if planet not in present:
            failures.setdefault(planet, f"no light curves under {dataset.light_curve_folder / dataset.split}")
            continue
        paths = tuple(dataset.light_curve_path(planet, visit) for visit in present[planet][:most_visits])
        star, wrong = dataset.find_star(planet)
        if wrong:
            failures[planet] = "; ".join(filter(None, [failures.get(planet), f"fitted without its star: {wrong}"]))
        tasks.append(Task(planet, star, paths, wavelength, dataset.fit_path(planet)))
    return tasks


def fit_task(task: Task) -> None:
    """Fit one planet and store the estimate, unless one with the same source is stored already.

    Single-threaded: the matrices are small, and the last bits would depend on the number of threads.
    Raises StorageError where none of its light-curve files can be read.
    """
    if task.kept.is_file() and load_metadata(task.kept).get("source") == task.source:
        return
    visits, damaged = [], []
    for path in task.paths:
        try:
            visits.append(load_light_curves(path))
        except StorageError as error:
            damaged.append(str(error))
    if not visits:
        raise StorageError("; ".join(damaged))
    with threadpool_limits(1):
        estimate = estimate_depths(visits, task.star, np.array(task.wavelength))
    save_estimate(task.kept, estimate, task.source)
