"""Many planets through the physical stages: light curves found or made, transits fitted, results kept on disk.

What is done stays done (one file a planet, named by what it was made from); a planet that fails is listed with its reason
and stops nobody. Knows no network and no truth.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.visits import calibrate_split
from ariel_lib.errors import ArchiveError
from ariel_lib.execution.workers import WorkerPool, as_pool, run_tasks
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import Star, light_curves_path, list_light_curves
from ariel_lib.io.light_curves import LightCurves, load_light_curves, load_provenance
from ariel_lib.io.storage import StorageError, load_metadata
from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.result import DepthEstimate, load_estimate, save_estimate

ESTIMATE_VERSION = 7  # raise it when the fit changes, so that kept estimates are made anew
DATA_ERRORS = (ValueError, ArithmeticError, LookupError, OSError, MemoryError)  # of one planet; it is listed


@dataclass(frozen=True)
class PlanetFit:
    """One planet's physical estimate, the star it was fitted with (None in 2024) and where its light curves lie."""

    estimate: DepthEstimate
    star: Star | None
    paths: tuple[Path, ...]

    def visits(self) -> list[LightCurves]:
        return [load_light_curves(path) for path in self.paths]


class Correction(Protocol):
    """What is known of all planets alike: a NuisancePrior, a MultiplicativeBias, or what has both."""

    def condition(self, estimate: DepthEstimate) -> DepthEstimate: ...


@dataclass(frozen=True)
class PlanetFits:
    """Fits by planet id, the reason for every planet that has none, and what is amiss with some that have one."""

    fits: dict[str, PlanetFit]
    failures: dict[str, str]
    notes: dict[str, str] = field(default_factory=dict)

    def conditioned_on(self, known: Correction) -> "PlanetFits":
        """The same fits, every estimate conditioned on what is known of all planets."""
        fits = {
            planet: replace(planet_fit, estimate=known.condition(planet_fit.estimate))
            for planet, planet_fit in self.fits.items()
        }
        return replace(self, fits=fits)


@dataclass(frozen=True)
class Task:
    """One planet to fit: its star, light-curve files, wavelengths (micron) and where the estimate is kept."""

    planet_id: str
    star: Star | None
    paths: tuple[Path, ...]
    wavelength: tuple[float, ...]
    kept: Path

    @property
    def source(self) -> str:
        """Digest of all that the estimate depends on."""
        files = [(path.name, path.stat().st_size, _provenance(path)) for path in self.paths]
        star = None if self.star is None else asdict(self.star)
        text = json.dumps([ESTIMATE_VERSION, star, files, self.wavelength], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _provenance(path: Path) -> dict[str, str] | None:
    """None for a damaged file, which the fit leaves out."""
    try:
        return load_provenance(path)
    except StorageError:
        return None


def fit_planets(
    archive: Archive,
    split: str,
    *,
    scratch: Path | str,
    light_curves: Path | str | None = None,
    planets: Sequence[str] | None = None,
    settings: CalibrationSettings | None = None,
    most_visits: int | None = None,
    workers: int | WorkerPool = 1,
    progress: Callable[[int, int], None] | None = None,
) -> PlanetFits:
    """Light curves and depth estimates of a split.

    light_curves    folder that calibrate wrote; default: {data}/lightcurves where it exists, else {scratch}/lightcurves,
                    where missing visits are calibrated
    workers         a number of processes, 1 being this one, or a pool that stays open
    planets         which; default: all that have light curves or frames
    most_visits     only so many of each planet, the first ones; default: all
    scratch         where estimates (and light curves) are kept between runs
    """
    with as_pool(workers) as pool:
        return _fit_planets(archive, split, Path(scratch), light_curves, planets, settings, most_visits, pool, progress)


def _fit_planets(archive, split, scratch, light_curves, planets, settings, most_visits, pool, progress) -> PlanetFits:
    folder, report = _light_curve_folder(archive, split, scratch, light_curves, planets, settings, most_visits, pool)
    present = list_light_curves(folder, split)
    failures = dict(report)
    for planet in planets or ():
        if planet not in present:
            failures.setdefault(planet, f"no light curves under {folder / split}")
    wanted = [planet for planet in planets or present if planet in present]
    wavelength = tuple(archive.wavelengths().tolist())
    tasks, fits = [], {}
    for planet in wanted:
        paths = tuple(light_curves_path(folder, split, planet, visit) for visit in present[planet][:most_visits])
        star, amiss = _find_star(archive, split, planet)
        if amiss:
            failures[planet] = "; ".join(filter(None, [failures.get(planet), amiss]))
        tasks.append(Task(planet, star, paths, wavelength, scratch / "estimates" / split / f"{planet}.safetensors"))
    for done, (task, reason) in enumerate(run_tasks(tasks, estimate_task, pool), 1):
        if reason is None:
            fits[task.planet_id] = PlanetFit(load_estimate(task.kept), task.star, task.paths)
        else:
            failures[task.planet_id] = reason
        if progress:
            progress(done, len(tasks))
    fits = {planet: fits[planet] for planet in wanted if planet in fits}
    notes = {planet: failures.pop(planet) for planet in fits if planet in failures}
    return PlanetFits(fits, failures, notes)


def _find_star(archive: Archive, split: str, planet: str) -> tuple[Star | None, str | None]:
    """The planet's star, or None and what is wrong with its row: the fit knows how to do without."""
    try:
        return archive.star(split, planet), None
    except ArchiveError as error:
        return None, f"fitted without its star: {error}"


def _light_curve_folder(
    archive, split, scratch, light_curves, planets, settings, most_visits, pool
) -> tuple[Path, dict[str, str]]:
    """The folder to read from, and what calibration could not do (planet → reason)."""
    if light_curves is not None:
        return Path(light_curves), {}
    simulated = archive.root / "lightcurves"
    if (simulated / split).is_dir():
        return simulated, {}
    folder = scratch / "lightcurves"
    on_disk = set(archive.planets(split))
    report = calibrate_split(
        archive, split, folder, settings or CalibrationSettings(), workers=pool, most_visits=most_visits,
        planets=None if planets is None else [planet for planet in planets if planet in on_disk],
    )  # fmt: skip
    return folder, {failure.planet_id: failure.reason for failure in report.failed}


def estimate_task(task: Task) -> str | None:
    """Fit one planet and keep the estimate, unless one of the same source is kept already; the reason where that fails.

    With one thread: several make these small products slower, and their last bits depend on the number of cores.
    """
    try:
        if task.kept.is_file() and load_metadata(task.kept).get("source") == task.source:
            return None
        visits, damaged = [], []
        for path in task.paths:
            try:
                visits.append(load_light_curves(path))
            except StorageError as error:
                damaged.append(str(error))
        if not visits:
            return "; ".join(damaged)
        with threadpool_limits(1):
            estimate = estimate_depths(visits, task.star, np.array(task.wavelength))
        save_estimate(task.kept, estimate, task.source)
    except DATA_ERRORS as error:
        return f"{type(error).__name__}: {error}"
    return None
