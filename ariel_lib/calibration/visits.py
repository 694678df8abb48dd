"""Calibration of many visits by a pool of workers, with a report.

Each light-curve file holds the digest of the contents of all its input; a rerun reads these contents again and calibrates the
visits whose file is missing or was made from others. A file of frames is opened once, and its digest is that of the bytes that were
calibrated; it is opened a second time only where light curves of other contents were stored. A failed visit is listed in the report with
its reason and does not affect the others.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path

from ariel_lib import __version__
from ariel_lib.calibration import pipeline
from ariel_lib.calibration.fused import calibrate_visit
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.errors import SpectraMindError
from ariel_lib.execution.workers import WorkerPool, run_tasks
from ariel_lib.instrument import INSTRUMENTS
from ariel_lib.io.archive import Archive
from ariel_lib.io.checksums import sha256
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import light_curves_path
from ariel_lib.io.light_curves import load_provenance, save_light_curves
from ariel_lib.io.signal import return_memory
from ariel_lib.io.storage import StorageError, write_atomically

CALIBRATION_VERSION = 2  # raised when a step of calibration changes, so that stored light curves are made again


@dataclass(frozen=True)
class Inputs:
    """Digests of what one visit is calibrated from, by which outdated light curves are recognised.

    frames       of its signal files and calibration maps, Archive.visit_digest
    inputs       of these, the converters and the time axis
    fingerprint  of inputs, settings and the version of the steps
    """

    frames: str
    inputs: str
    fingerprint: str

    @property
    def provenance(self) -> dict[str, str]:
        """As light curves store it."""
        return {"inputs": self.inputs, "fingerprint": self.fingerprint, "version": __version__}


def read_inputs(archive: Archive, split: str, planet_id: str, visit: int, settings: CalibrationSettings) -> Inputs:
    """The digests of one visit; its files are read, 0.2 GB a visit at full size, unless the archive noted their digests.

    Raises ArchiveError for malformed tables.
    """
    frames = archive.visit_digest(split, planet_id, visit)
    converters = {name: asdict(archive.converter(split, planet_id, instrument)) for name, instrument in INSTRUMENTS.items()}
    inputs = _digest([frames, converters, archive.axis_digest()])
    steps = {name: sha256(import_module(f"ariel_lib.calibration.{name}").__file__) for name in pipeline.FRAME_STEPS}
    return Inputs(frames, inputs, _digest([inputs, asdict(settings), __version__, CALIBRATION_VERSION, steps]))


def _digest(content: list) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Task:
    """One visit to calibrate: data set, visit, output folder and settings."""

    root: str
    split: str
    planet_id: str
    visit: int
    out: str
    settings: CalibrationSettings

    @property
    def path(self) -> Path:
        """File of the light curves."""
        return light_curves_path(self.out, self.split, self.planet_id, self.visit)


@dataclass(frozen=True)
class Failure:
    """A visit that could not be calibrated; visit is None where not even the planet's visits could be listed.

    traceback: of an unexpected exception, empty otherwise.
    """

    planet_id: str
    visit: int | None
    reason: str
    traceback: str = ""


@dataclass(frozen=True)
class CalibrationReport:
    """Outcome of calibrating a split: (planet, visit) pairs calibrated now and skipped as current, and failures."""

    split: str
    done: tuple[tuple[str, int], ...]
    skipped: tuple[tuple[str, int], ...]
    failed: tuple[Failure, ...]


def calibrate_split(
    dataset: Dataset,
    settings: CalibrationSettings,
    *,
    workers: int | WorkerPool = 1,
    most_visits: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CalibrationReport:
    """Calibrate the frames of a data set into its light-curve folder; calibration_report.json lies beside the light curves.

    dataset      all planets of the split that have frames, or those of them that it selects
    workers      processes, 1 being this one; or the pool of a cluster
    most_visits  only so many of each planet, the first ones; None: all
    progress     called with the number of visits settled and their total

    Raises ArchiveError where a table that all visits share is of no use for any of them.
    """
    tasks, failed = _list_tasks(dataset, settings, most_visits)
    done: list[Task] = []
    skipped: list[Task] = []
    total = len(tasks) + len(failed)
    if tasks:
        dataset.archive.require_shared_tables(dataset.split)
        _archive(tasks[0].root, dataset.archive)
    if progress:
        progress(len(failed), total)
    for settled in run_tasks(tasks, calibrate_task, workers):
        task, failure = settled.task, settled.failure
        if failure is None:
            (skipped if settled.result.is_current else done).append(task)
            dataset.archive.visits_read[task.split, task.planet_id, task.visit] = settled.result.frames
        else:
            failed.append(Failure(task.planet_id, task.visit, failure.reason, failure.traceback))
        if progress:
            progress(len(skipped) + len(done) + len(failed), total)
    report = CalibrationReport(dataset.split, _visits(done), _visits(skipped), tuple(sorted(failed, key=str)))
    return _write_report(report, dataset.light_curve_folder / dataset.split / "calibration_report.json", settings)


def _write_report(report: CalibrationReport, path: Path, settings: CalibrationSettings) -> CalibrationReport:
    """Write the report; an error in writing it is added to the failures of the report returned."""
    content = json.dumps(asdict(report) | {"version": __version__, "settings": asdict(settings)}, indent=1)
    try:
        write_atomically(path, content)
    except OSError as error:
        return replace(report, failed=(*report.failed, Failure(path.name, None, f"{type(error).__name__}: {error}")))
    return report


@dataclass(frozen=True)
class Outcome:
    """Result of calibrate_task: whether the stored light curves were current, and the digest of the frames."""

    is_current: bool
    frames: str


def calibrate_task(task: Task) -> Outcome:
    """Calibrate one visit and save it, unless light curves from the same input are stored already. Outdated ones are deleted first."""
    return_memory()
    archive, visit = _archive(task.root).noting_frames(), (task.split, task.planet_id, task.visit)
    stored = _stored_fingerprint(task.path)
    if stored is not None:
        inputs = read_inputs(archive, *visit, task.settings)
        if stored == inputs.fingerprint:
            return Outcome(True, inputs.frames)
    task.path.unlink(missing_ok=True)
    curves = calibrate_visit(archive, *visit, task.settings)
    inputs = read_inputs(archive, *visit, task.settings)  # by the digests of what has just been read
    save_light_curves(task.path, replace(curves, provenance=inputs.provenance))
    return Outcome(False, inputs.frames)


_archives: dict[str, Archive] = {}  # in each process: root of the latest run → its archive, whose tables are not read for every visit


def _archive(root: str, archive: Archive | None = None) -> Archive:
    """The archive of a root; a given one is that of the tasks to come in this process."""
    found = archive or _archives.get(root) or Archive(root)
    if _archives.get(root) is not found:
        _archives.clear()
        _archives[root] = found
    return found


def _list_tasks(dataset: Dataset, settings: CalibrationSettings, most_visits: int | None) -> tuple[list[Task], list[Failure]]:
    tasks, failed, archive, split = [], [], dataset.archive, dataset.split
    root, out = str(dataset.root.resolve()), str(dataset.light_curve_folder.resolve())  # a worker may run in another folder
    framed = set(archive.planets(split))
    for planet in archive.planets(split) if dataset.selected is None else (p for p in dataset.selected if p in framed):
        try:
            for visit in archive.visits(split, planet)[:most_visits]:
                tasks.append(Task(root, split, planet, visit, out, settings))
        except SpectraMindError as error:
            failed.append(Failure(planet, None, str(error)))
    return tasks, failed


def _stored_fingerprint(path: Path) -> str | None:
    """The fingerprint of stored light curves; None where they are missing or damaged."""
    try:
        return load_provenance(path).get("fingerprint")
    except StorageError:
        return None


def _visits(tasks: Iterable[Task]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((task.planet_id, task.visit) for task in tasks))
