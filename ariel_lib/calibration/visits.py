"""Calibration of many visits by a pool of workers, with a report.

Each light-curve file carries a fingerprint of its input; a rerun calibrates only visits whose file is missing or outdated. A
failed visit is listed in the report with its reason and does not affect the others.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ariel_lib import __version__
from ariel_lib.calibration import pipeline
from ariel_lib.calibration.fused import calibrate_visit
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.errors import ArchiveError, SpectraMindError
from ariel_lib.execution.workers import WorkerPool, run_tasks
from ariel_lib.io.archive import Archive
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import light_curves_path
from ariel_lib.io.light_curves import load_provenance, save_light_curves
from ariel_lib.io.signal import return_memory
from ariel_lib.io.storage import StorageError, write_atomically


@dataclass(frozen=True)
class Task:
    """One visit to calibrate: data set, visit, output folder and settings. inputs: sizes of its signal files, bytes."""

    root: str
    split: str
    planet_id: str
    visit: int
    out: str
    settings: CalibrationSettings
    inputs: tuple[int, ...]

    @property
    def path(self) -> Path:
        """File of the light curves."""
        return light_curves_path(self.out, self.split, self.planet_id, self.visit)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of settings, version and sizes of the input files, by which an outdated result is recognised."""
        content = {"settings": asdict(self.settings), "version": __version__, "inputs": self.inputs, "steps": pipeline.FRAME_STEPS}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
    """
    tasks, failed = _list_tasks(dataset, settings, most_visits)
    current = {task: _is_current(task) for task in tasks}
    skipped, waiting = ([task for task in tasks if current[task] is wanted] for wanted in (True, False))
    total = len(tasks) + len(failed)
    done: list[Task] = []
    if progress:
        progress(total - len(waiting), total)
    for settled in run_tasks(waiting, calibrate_task, workers):
        task, failure = settled.task, settled.failure
        if failure is None:
            done.append(task)
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
        write_atomically(path, content.encode())
    except OSError as error:
        return replace(report, failed=(*report.failed, Failure(path.name, None, f"{type(error).__name__}: {error}")))
    return report


def calibrate_task(task: Task) -> None:
    """Calibrate one visit and save it."""
    return_memory()
    curves = calibrate_visit(Archive(task.root), task.split, task.planet_id, task.visit, task.settings)
    provenance = {"fingerprint": task.fingerprint, "version": __version__}
    save_light_curves(task.path, replace(curves, provenance=provenance))


def _list_tasks(dataset: Dataset, settings: CalibrationSettings, most_visits: int | None) -> tuple[list[Task], list[Failure]]:
    tasks, failed, archive, split = [], [], dataset.archive, dataset.split
    root, out = str(dataset.root.resolve()), str(dataset.light_curve_folder.resolve())  # a worker may run in another folder
    framed = set(archive.planets(split))
    for planet in archive.planets(split) if dataset.selected is None else (p for p in dataset.selected if p in framed):
        try:
            for visit in archive.visits(split, planet)[:most_visits]:
                inputs = archive.signal_bytes(split, planet, visit)
                tasks.append(Task(root, split, planet, visit, out, settings, inputs))
        except SpectraMindError as error:
            failed.append(Failure(planet, None, str(error)))
    return tasks, failed


def _is_current(task: Task) -> bool:
    if not task.path.is_file():
        return False
    try:
        return load_provenance(task.path).get("fingerprint") == task.fingerprint
    except (ArchiveError, StorageError):  # a damaged file counts as missing
        return False


def _visits(tasks: Iterable[Task]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((task.planet_id, task.visit) for task in tasks))
