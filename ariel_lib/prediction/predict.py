"""A trained checkpoint and a data set to a submission that is complete and valid whatever the data hold.

Holds the order of the stages: fits in batches, one answer a planet, the file rewritten after each batch.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.errors import ArchiveError, SpectraMindError
from ariel_lib.execution.time_budget import Budget
from ariel_lib.execution.workers import WorkerPool, attempt, local_pool
from ariel_lib.io.checksums import MANIFEST, sha256, verify
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import save_arrays
from ariel_lib.models.ensemble import Ensemble
from ariel_lib.pipeline.batches import VISIT, PlanetBatch, fit_batches
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import PlanetFit, fit_planets
from ariel_lib.prediction.answer import Answer, answer
from ariel_lib.prediction.submission_file import SubmissionFile
from ariel_lib.transit.quality import rejection_reason

EXTRAS = ("initial_mean", "initial_sigma", "gaussian_mean", "gaussian_sigma", "depth", "depth_sigma")
MEMBER = "member"  # name of a rate in the budget: one planet through one network
logger = logging.getLogger(__name__)


class RejectedFitError(SpectraMindError):
    """A transit fit from which no spectrum should be read."""


@dataclass
class Answers:
    """What became of each planet so far: its answer, or the reason why there is none, and the traceback of a defect."""

    found: dict[str, Answer] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    tracebacks: dict[str, str] = field(default_factory=dict)

    def add_batch(self, batch: PlanetBatch, checkpoint: Checkpoint) -> None:
        """Answer the planets of a batch; a planet that had an answer keeps it where a later fit gives none."""
        fits = batch.planet_fits
        for planet, planet_fit in fits.fits.items():
            found, failure = attempt(answer_or_reject, planet_fit, checkpoint)
            if failure is None:
                note = "; ".join(filter(None, [fits.notes.get(planet), found.note]))
                self.found[planet] = replace(found, note=note)
            else:
                self.reasons[planet] = "; ".join(filter(None, [failure.reason, fits.notes.get(planet)]))
                self.tracebacks |= {planet: failure.traceback} if failure.traceback else {}
        self.reasons |= fits.failures
        self.tracebacks |= fits.tracebacks
        for planet in self.found:
            self.reasons.pop(planet, None)

    def facts(self, submission_file: SubmissionFile, budget: Budget) -> dict:
        """The record beside the submission, JSON-able: fallbacks by planet, notes, flags, skipped work, tracebacks."""
        missing = [planet for planet in submission_file.planets if planet not in self.found]
        return {
            "fallbacks": {planet: self.reasons.get(planet, "not looked at yet") for planet in missing},
            "notes": {planet: found.note for planet, found in self.found.items() if found.note},
            "flags": {planet: list(found.flags) for planet, found in self.found.items() if found.flags},
            "skipped": dict(budget.skipped), "tracebacks": dict(self.tracebacks),
        }  # fmt: skip


def answer_or_reject(planet_fit: PlanetFit, checkpoint: Checkpoint) -> Answer:
    """`answer` for a fit as it was made: checked, then conditioned on the checkpoint's corrections. Raises RejectedFitError."""
    reason = rejection_reason(planet_fit.estimate)
    if reason:
        raise RejectedFitError(reason)
    return answer(replace(planet_fit, estimate=checkpoint.condition(planet_fit.estimate)), checkpoint)


def predict(
    dataset: Dataset,
    *,
    weights: Path | str,
    out: Path | str,
    workers: int = 1,
    budget: Budget | None = None,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = logger.info,
) -> dict:
    """Write a submission for the planets of a data set, and beside it what is known of each.

    The file is there from the first minute, all training means, and is rewritten after every batch of planets.
    dataset     without a scratch folder of its own it takes the submission's folder
    budget      the session's clock: what it leaves no time for is skipped and listed under "skipped"
    Returns {"submission", "planets", "fallbacks": {planet: reason}, "notes", "flags": {planet: [words]}, "skipped", "tracebacks"},
    JSON-able. Raises ArchiveError for a data set without planets, StorageError for weights that are damaged or differ from the
    manifest beside them.
    """
    out, budget = Path(out), budget or Budget(None)
    dataset = dataset if dataset.scratch else dataset.with_scratch(out.parent)
    with local_pool(workers, imports=(fit_planets.__module__,)) as pool:
        pool.start()  # they load their libraries while the checkpoint is read
        return _predict(dataset, out, Path(weights), budget, pool, progress, log)


def _predict(dataset: Dataset, out: Path, weights: Path, budget: Budget, pool: WorkerPool, progress, log) -> dict:
    checkpoint = _load_checkpoint(weights, log)
    _require_same_axis(dataset, checkpoint, weights)
    _require_planets(dataset)
    fallback = checkpoint.fallback_mean, checkpoint.fallback_sigma
    source = {"weights": sha256(weights), "data": str(dataset.root.resolve())}
    submission_file, answers = SubmissionFile(out, dataset.planets, fallback, source), Answers()
    log(f"{len(dataset.planets)} planets; a valid submission is on disk after {budget}")
    if torch.cuda.is_available():
        checkpoint.network.cuda()
    threads = checkpoint.config["training"]["threads"]
    torch.set_num_threads(threads)
    settings = CalibrationSettings(airs_samples=checkpoint.config["calibration"]["airs_samples"])
    for batch in fit_batches(dataset, budget, settings=settings, workers=pool):
        with threadpool_limits(threads):
            began = budget.clock()
            answers.add_batch(batch, checkpoint)
        budget.measure(MEMBER, len(batch.planet_fits.fits) * len(checkpoint.network.members), budget.clock() - began)
        _skip_members(checkpoint.network, budget, batch.total - batch.settled)
        log(f"{batch.settled} of {batch.total} planets, {len(answers.found)} answered, {len(answers.reasons)} not; {budget}")
        if not _write(submission_file, answers, budget, log):
            break
        if progress:
            progress(batch.settled, batch.total)
    return _conclude(submission_file, answers, budget, log)


def _load_checkpoint(weights: Path, log: Callable[[str], None]) -> Checkpoint:
    """Weights, checked against the manifest that training or `make weights` left beside them."""
    if (weights.parent / MANIFEST).is_file():
        verify(weights)
    else:
        log(f"{weights}: no {MANIFEST} beside the weights, so they are used without a check of where they come from")
    return Checkpoint.load(weights)


def _skip_members(network: Ensemble, budget: Budget, waiting: int) -> None:
    """Leave the planets that are still to come to the first network where there is no time for all."""
    optional = {"ensemble members": budget.cost(MEMBER, (len(network.members) - 1) * waiting)}
    if "ensemble members" in budget.choose(budget.cost(VISIT, waiting), optional):
        budget.skip("ensemble members", f"{waiting} of the planets were left to one of {len(network.members)} networks")
        network.members = network.members[:1]


def _write(submission_file: SubmissionFile, answers: Answers, budget: Budget, log) -> bool:
    """Put the answers on disk; False where the disk does not take them: the file of before stays valid."""
    rows = {planet: (found.mean, found.sigma) for planet, found in answers.found.items()}
    try:
        submission_file.update(rows, answers.facts(submission_file, budget))
        arrays = {name: np.stack([getattr(found, name) for found in answers.found.values()]) for name in EXTRAS if answers.found}
        save_arrays(submission_file.path.with_suffix(".safetensors"), arrays, {"planet_ids": json.dumps(list(answers.found))})
    except OSError as error:
        log(f"cannot write ({error}); the submission on disk has {submission_file.answered} answers")
        budget.skip("planets", f"the disk took no more after {submission_file.answered} answers: {error}")
        return False
    return True


def _conclude(submission_file: SubmissionFile, answers: Answers, budget: Budget, log) -> dict:
    """Log the planets that have no answer of their own, and what was skipped; the result of `predict`."""
    facts = answers.facts(submission_file, budget)
    facts["fallbacks"] = {planet: answers.reasons.get(planet, "no answer") for planet in facts["fallbacks"]}
    for planet, reason in facts["fallbacks"].items():
        logger.warning("planet %s takes the training mean: %s", planet, reason)
    for planet in sorted(facts["notes"] | facts["flags"]):
        remarks = [facts["notes"].get(planet), *facts["flags"].get(planet, ())]
        logger.warning("planet %s: %s", planet, "; ".join(filter(None, remarks)))
    for planet, text in facts["tracebacks"].items():
        logger.error("planet %s: unexpected error\n%s", planet, text)
    for what, why in budget.skipped.items():
        log(f"skipped: {what}: {why}")
    return {"submission": str(submission_file.path), "planets": len(submission_file.planets), **facts}


def _require_planets(dataset: Dataset) -> None:
    """Raises ArchiveError for a data set without planets; warns of those on disk that are not asked for."""
    if not dataset.planets:
        raise ArchiveError(dataset.root / dataset.split, "planets to predict", "none")
    for planet in sorted(set(dataset.on_disk) - set(dataset.planets)):
        logger.warning("planet %s lies under %s but is not asked for; it is left out", planet, dataset.root / dataset.split)


def _require_same_axis(dataset: Dataset, checkpoint: Checkpoint, weights: Path | str) -> None:
    found, expected = len(dataset.wavelengths), len(checkpoint.wavelength)
    if found != expected:
        raise ArchiveError(dataset.root / "wavelengths.csv", f"{expected} wavelengths as in {weights}", f"{found}")
