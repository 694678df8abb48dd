"""Transit fits of many planets: light curves read, or calibrated from frames, then fitted, with results stored on disk.

One file a planet, with a digest of the contents of its inputs: a fit is repeated only when they change. A planet that fails is
listed with its reason, and the others go on. Independent of network and true spectra.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from threadpoolctl import threadpool_limits

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.visits import CalibrationReport, calibrate_split
from ariel_lib.execution.workers import WorkerPool, as_pool, run_tasks
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurves, load_light_curves, parse_light_curves
from ariel_lib.io.storage import StorageError, load_metadata
from ariel_lib.io.time_axis import clock_remark
from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.quality import rejection_reason
from ariel_lib.transit.result import DepthEstimate, load_estimate, save_estimate

PLANETS_NAMED = 5  # in a line on several
ESTIMATE_VERSION = 10  # raised when the fit changes, so that stored estimates are recomputed


@dataclass(frozen=True)
class PlanetFit:
    """One planet's transit fit, the star parameters used (None in 2024) and the files of the light curves that were fitted.

    source  digest of the contents of the fit's inputs: light curves, star, wavelengths, version
    """

    estimate: DepthEstimate
    star: Star | None
    paths: tuple[Path, ...]
    source: str = ""

    def visits(self) -> list[LightCurves]:
        return [load_light_curves(path) for path in self.paths]

    def conditioned_on(self, known: "Correction") -> Self:
        """The same with its estimate conditioned on a correction. Raises SpectraMindError where it is conditioned on it already."""
        return replace(self, estimate=known.condition(self.estimate))


class Correction(Protocol):
    """A correction to condition estimates on: NuisancePrior, MultiplicativeBias, PopulationCorrections or a checkpoint with them."""

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

    def accepted(self) -> "PlanetFits":
        """Those fits that pass the quality checks; the others are failures, with the reason and what was noted of them."""
        reasons = {planet: rejection_reason(planet_fit.estimate) for planet, planet_fit in self.fits.items()}
        rejected = {planet: "; ".join(filter(None, [why, self.notes.get(planet)])) for planet, why in reasons.items() if why}
        fits, notes = ({p: value for p, value in found.items() if p not in rejected} for found in (self.fits, self.notes))
        return replace(self, fits=fits, failures=self.failures | rejected, notes=notes)

    def conditioned_on(self, known: Correction | Mapping[str, Correction]) -> "PlanetFits":
        """The same fits with every estimate conditioned on a correction, the same for all or by planet."""
        of = known if isinstance(known, Mapping) else dict.fromkeys(self.fits, known)
        return replace(self, fits={planet: planet_fit.conditioned_on(of[planet]) for planet, planet_fit in self.fits.items()})


@dataclass(frozen=True)
class Task:
    """One planet to fit: its star, light-curve files that can be read, wavelengths (micron) and the file for the estimate."""

    planet_id: str
    star: Star | None
    paths: tuple[Path, ...]
    wavelength: tuple[float, ...]
    kept: Path

    def source(self, digests: Sequence[str]) -> str:
        """SHA-256 of the inputs of the estimate. digests: of the contents of its light-curve files."""
        star = None if self.star is None else asdict(self.star)
        text = json.dumps([ESTIMATE_VERSION, star, list(digests), self.wavelength], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Fitted:
    """Result of fit_task.

    source   Task.source
    digests  SHA-256 of the light-curve files, in the order of the task's paths
    note     what is odd about the light curves' times, and reason why the estimate could not be stored; or empty
    """

    estimate: DepthEstimate
    source: str
    digests: tuple[str, ...]
    note: str = ""


def by_text(texts: Mapping[str, str]) -> list[str]:
    """A line for each of the texts of many planets: "planet 7: TEXT", or their number and the first of them where several have it.

    >>> from ariel_lib.pipeline.planet_fits import by_text
    >>> by_text({"7": "no star", "8": "no time left", "9": "no time left"})
    ['planet 7: no star', '2 planets (8, 9): no time left']
    """
    planets: dict[str, list[str]] = {}
    for planet, text in texts.items():
        planets.setdefault(text, []).append(planet)
    return [f"{_some(found)}: {text}" for text, found in planets.items()]


def _some(planets: list[str]) -> str:
    first = ", ".join(planets[:PLANETS_NAMED]) + (" …" if len(planets) > PLANETS_NAMED else "")
    return f"planet {first}" if len(planets) == 1 else f"{len(planets)} planets ({first})"


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

    Raises ArchiveError for a given folder without light curves, and where calibration cannot use a table that all planets share.
    """
    dataset.require_light_curves()
    with as_pool(workers) as pool:
        remarks, report = Remarks(), _calibrate_outdated(dataset, settings or CalibrationSettings(), most_visits, pool)
        of_frames = {planet for planet, _ in (*report.done, *report.skipped)}
        for failure in report.failed:
            remarks.add(failure.planet_id, failure.reason, failure.traceback)
        tasks = _list_tasks(dataset, most_visits, report, remarks)
        fits = {}
        for done, settled in enumerate(run_tasks(tasks, fit_task, pool), 1):
            task, failure, fitted = settled.task, settled.failure, settled.result
            if failure is None:
                fits[task.planet_id] = PlanetFit(fitted.estimate, task.star, task.paths, fitted.source)
                remarks.add(task.planet_id, fitted.note)
                if task.planet_id not in of_frames:  # else what was read are the frames, and the light curves may go
                    dataset.archive.files |= dict(zip(task.paths, fitted.digests))
            else:
                remarks.add(task.planet_id, failure.reason, failure.traceback)
            if progress:
                progress(done, len(tasks))
    fits = {planet: fits[planet] for planet in dataset.planets if planet in fits}
    texts = {planet: "; ".join(found) for planet, found in remarks.texts.items()}
    notes, failures = ({p: text for p, text in texts.items() if (p in fits) is fitted} for fitted in (True, False))
    return PlanetFits(fits, failures, notes, remarks.tracebacks)


@dataclass
class Remarks:
    """What went wrong with each planet, by planet id, and tracebacks of unexpected errors."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    tracebacks: dict[str, str] = field(default_factory=dict)

    def add(self, planet: str, text: str | None, traceback: str = "") -> None:
        """Add a remark; nothing for None."""
        if text:
            self.texts.setdefault(planet, []).append(text)
        if traceback:
            self.tracebacks[planet] = "\n".join(filter(None, [self.tracebacks.get(planet), traceback]))


def _calibrate_outdated(
    dataset: Dataset, settings: CalibrationSettings, most_visits: int | None, pool: WorkerPool
) -> CalibrationReport:
    """Calibrate the frames whose light curves are missing or outdated; without any visit where that is not done on demand."""
    if not dataset.is_calibrated_on_demand:
        return CalibrationReport(dataset.split, (), (), ())
    return calibrate_split(dataset, settings, workers=pool, most_visits=most_visits)


def _list_tasks(dataset: Dataset, most_visits: int | None, report: CalibrationReport, remarks: Remarks) -> list[Task]:
    """A task for each planet with light curves that can be read; adds to `remarks` what the fit has to do without.

    report  of the calibration just now: of a planet with frames no other visits are used, whatever else lies on disk
    """
    present, wavelength, tasks = dataset.light_curve_visits, tuple(dataset.wavelengths.tolist()), []
    usable, known = {*report.done, *report.skipped}, {failure.planet_id for failure in report.failed}
    if dataset.is_calibrated_on_demand:
        known |= set(dataset.archive.planets(dataset.split))
    for planet in dataset.planets:
        visits = [visit for visit in present.get(planet, ()) if (planet, visit) in usable or planet not in known]
        paths, damage = dataset.find_light_curves(planet, visits)
        remarks.add(planet, damage)
        if not visits and planet not in remarks.texts:
            remarks.add(planet, f"no light curves under {dataset.light_curve_folder / dataset.split}")
        if paths:
            star, wrong = dataset.find_star(planet)
            remarks.add(planet, wrong)
            tasks.append(Task(planet, star, paths[:most_visits], wavelength, dataset.fit_path(planet)))
    return tasks


def fit_task(task: Task) -> Fitted:
    """Fit one planet and store the estimate, or read the one that is stored with the same source.

    A light-curve file is read once: the digest is that of the bytes that are fitted. An estimate that cannot be stored is returned
    with a note.
    Single-threaded: the matrices are small, and the last bits would depend on the number of threads.
    """
    contents = [path.read_bytes() for path in task.paths]
    digests = tuple(hashlib.sha256(content).hexdigest() for content in contents)
    source = task.source(digests)
    visits = [parse_light_curves(content, path) for path, content in zip(task.paths, contents)]
    note = "; ".join(filter(None, map(clock_remark, visits)))
    if kept := _stored_estimate(task.kept, source):
        return Fitted(kept, source, digests, note)
    with threadpool_limits(1):
        estimate = estimate_depths(visits, task.star, np.array(task.wavelength))
    try:
        save_estimate(task.kept, estimate, source)
    except OSError as error:  # a full disk: the fit is as good, and the next run makes it again
        return Fitted(estimate, source, digests, "; ".join(filter(None, [note, f"its fit could not be stored: {error}"])))
    return Fitted(estimate, source, digests, note)


def _stored_estimate(path: Path, source: str) -> DepthEstimate | None:
    """The stored estimate of this source; None where there is none or the file is damaged."""
    try:
        return load_estimate(path) if load_metadata(path).get("source") == source else None
    except StorageError:
        return None
