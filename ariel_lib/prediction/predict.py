"""Prediction: a trained checkpoint and a data set to a submission that is always complete and valid.

Transits are fitted in batches, each planet's spectrum is predicted, and the file is rewritten after each batch. Once all planets are
settled, their visits update the population of nuisance parameters, and all answers are made anew with it: they do not depend on the
batches, nor on whether an earlier run was killed.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ariel_lib.errors import ArchiveError, SpectraMindError
from ariel_lib.execution.time_budget import Budget
from ariel_lib.execution.workers import WorkerPool, attempt, local_pool
from ariel_lib.io.checksums import sha256, verify
from ariel_lib.io.dataset import Dataset
from ariel_lib.models.device import choose_device
from ariel_lib.models.ensemble import Ensemble
from ariel_lib.models.threads import threads
from ariel_lib.pipeline.batches import FIRST_VISIT_ONLY, VISIT, PlanetBatch, fit_batches
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import PlanetFit, by_text, fit_planets
from ariel_lib.prediction.answer import Answer, answer, initial_answer
from ariel_lib.prediction.submission_file import SubmissionFile
from ariel_lib.transit.population.nuisance_prior import MOST_VISITS

EXTRAS = ("initial_mean", "initial_sigma", "gaussian_mean", "gaussian_sigma", "depth", "depth_sigma")
MEMBER = "member"  # name of a rate in the budget: one planet through one network
POPULATION_UPDATE = "population update"
SECONDS_A_VISIT = 0.15  # of a population update
WRITING = "writing"  # under "skipped" of a result: why the last answers, or the files beside the submission, are not on disk
logger = logging.getLogger(__name__)


class RejectedFitError(SpectraMindError):
    """A transit fit that fails its quality checks."""


@dataclass
class Answers:
    """Answers so far by planet, reasons for planets without one, and tracebacks of unexpected errors.

    closed_form  planet → why its answer is V50's initial estimate: the network failed
    fits         planet → its latest accepted fit, not conditioned, and a note on it
    """

    found: dict[str, Answer] = field(default_factory=dict)
    closed_form: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    tracebacks: dict[str, str] = field(default_factory=dict)
    fits: dict[str, tuple[PlanetFit, str]] = field(default_factory=dict)

    def add_batch(self, batch: PlanetBatch, checkpoint: Checkpoint) -> None:
        """Predict the planets of a batch; an earlier answer is kept, with a note, where the new fit gives none."""
        fits = batch.planet_fits.accepted()
        self.tracebacks |= fits.tracebacks
        for planet, reason in fits.failures.items():
            self._fail(planet, reason)
        for planet, planet_fit in fits.fits.items():
            self._add(planet, planet_fit, fits.notes.get(planet, ""), checkpoint)

    def _add(self, planet: str, planet_fit: PlanetFit, note: str, checkpoint: Checkpoint) -> None:
        """Predict one planet; without the network where that fails, unless an earlier answer is the network's."""
        found, failure = attempt(condition_and_answer, planet_fit, checkpoint)
        why = [] if failure is None else [failure.reason]
        if failure is not None:
            self.tracebacks |= {planet: failure.traceback} if failure.traceback else {}
            if planet not in self.found or planet in self.closed_form:
                found, failure = attempt(lambda: initial_answer(planet_fit.conditioned_on(checkpoint), checkpoint))
        if failure is not None:
            self._fail(planet, _join(*dict.fromkeys([*why, failure.reason]), note))
            return
        self.reasons.pop(planet, None)
        self.closed_form.pop(planet, None)
        self.fits[planet] = planet_fit, note
        if why:
            self.closed_form[planet] = why[0]
            note = _join(note, f"initial estimate in place of the network's spectrum: {why[0]}")
        self.found[planet] = replace(found, note=_join(note, found.note))

    def _fail(self, planet: str, reason: str) -> None:
        """Record why a planet has no answer, or why its answer is that of an earlier batch."""
        if planet in self.found:
            earlier, why = self.found[planet], f"{FIRST_VISIT_ONLY}: {reason}"
            self.found[planet] = replace(earlier, note=_join(why, earlier.note))
            self.fits[planet] = self.fits[planet][0], _join(why, self.fits[planet][1])
        else:
            self.reasons[planet] = reason

    def again(self, checkpoint: Checkpoint) -> "Answers":
        """Answers from the same fits with another checkpoint; where that gives a planet none, its answer stays."""
        made = Answers(tracebacks=dict(self.tracebacks))
        for planet, (planet_fit, note) in self.fits.items():
            made._add(planet, planet_fit, note, checkpoint)
        made.fits = self.fits
        made.closed_form |= {planet: why for planet, why in self.closed_form.items() if planet not in made.found}
        made.found = {planet: made.found.get(planet, earlier) for planet, earlier in self.found.items()}
        made.reasons = dict(self.reasons)
        return made

    def facts(self, submission_file: SubmissionFile, budget: Budget) -> dict:
        """Content of submission.json: reasons of fallbacks, notes and flags by planet, skipped work, tracebacks."""
        missing = [planet for planet in submission_file.planets if planet not in self.found]
        return {
            "fallbacks": {planet: self.reasons.get(planet, "not fitted yet") for planet in missing},
            "closed_form": dict(self.closed_form),
            "notes": {planet: found.note for planet, found in self.found.items() if found.note},
            "flags": {planet: list(found.flags) for planet, found in self.found.items() if found.flags},
            "skipped": dict(budget.skipped), "tracebacks": dict(self.tracebacks),
        }  # fmt: skip


def _join(*remarks: str) -> str:
    return "; ".join(filter(None, remarks))


def condition_and_answer(planet_fit: PlanetFit, checkpoint: Checkpoint) -> Answer:
    """`answer` for a fit that is not yet conditioned on the population corrections."""
    return answer(planet_fit.conditioned_on(checkpoint), checkpoint)


def predict(
    dataset: Dataset,
    *,
    weights: Path | str,
    out: Path | str,
    workers: int = 1,
    budget: Budget | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = logger.info,
) -> dict:
    """Predict the planets of a data set; writes a submission, with its record in JSON and further arrays beside it.

    dataset  without a scratch folder, the submission's folder is used
    weights  checkpoint
    out      CSV file, written at once with the training mean for every planet, in place of an earlier run's, and rewritten after
             every batch
    device   of the networks: cpu, cuda, or auto for CUDA where it works
    budget   time budget of the session: what does not fit is skipped and listed under "skipped"

    Returns {"submission", "planets", "fallbacks": {planet: reason}, "closed_form": {planet: reason}, "notes", "flags":
    {planet: [flag]}, "skipped", "tracebacks"}, JSON-able. A planet whose network failed has V50's initial estimate (closed_form), one
    without a fit, or whose answer could not be written, the training mean (fallbacks); where all have, an error is logged. "skipped" has
    "writing" where the disk is full at the end. Raises ArchiveError for a data set without planets, StorageError for weights that are
    damaged, differ from the manifest.json beside them or have none, DeviceError for cuda where it does not work.

    >>> from ariel_lib import Dataset, predict, read_submission
    >>> dataset = Dataset(folder, split="test")
    >>> result = predict(dataset, weights=weights, out=out / "submission.csv")
    >>> planets, mean, sigma = read_submission(result["submission"])
    >>> planets == dataset.planets, mean.shape == (len(planets), 283)
    (True, True)
    """
    out, budget = Path(out), budget or Budget(None)
    dataset = dataset if dataset.scratch else dataset.with_scratch(out.parent)
    with local_pool(workers, imports=(fit_planets.__module__,)) as pool:
        pool.start()  # the workers import their libraries while the checkpoint is read
        return _predict(dataset, out, Path(weights), device, budget, pool, progress, log)


def _predict(dataset: Dataset, out: Path, weights: Path, device: str, budget: Budget, pool: WorkerPool, progress, log) -> dict:
    checkpoint = loaded = load_checkpoint(weights, device, log)
    _require_same_axis(dataset, checkpoint, weights)
    _require_planets(dataset)
    fallback = checkpoint.fallback_mean, checkpoint.fallback_sigma
    source = {"weights": sha256(weights), "data": str(dataset.root.resolve())}
    submission_file, answers = SubmissionFile(out, dataset.planets, fallback, source, dataset.submission_columns), Answers()
    log(f"{len(dataset.planets)} planets; a valid submission is on disk after {budget}")
    for batch in fit_batches(dataset, budget, settings=checkpoint.calibration_settings, workers=pool):
        with threads(checkpoint.config["training"]["threads"]):
            began = budget.clock()
            answers.add_batch(batch, checkpoint)
        budget.measure(MEMBER, len(batch.planet_fits.fits) * len(checkpoint.network.members), budget.clock() - began)
        checkpoint = _skip_members(checkpoint, budget, batch.total - batch.settled)
        flagged = sum(bool(found.flags) for found in answers.found.values())
        counts = f"{len(answers.found)} answered, {len(answers.reasons)} not, {flagged} flagged"
        log(f"{batch.settled} of {batch.total} planets, {counts}; {budget}")
        _write(submission_file, answers, budget, log)
        if progress:
            progress(batch.settled, batch.total)
    answers, population = _update_population(answers, loaded, dataset.planets, budget)
    if population is not None:
        log(f"the drifts of {len(answers.fits)} planets have updated the population of the weights; {budget}")
        _write(submission_file, answers, budget, log, population)
    return _conclude(submission_file, answers, budget, log)


def _update_population(
    answers: Answers, checkpoint: Checkpoint, planets: Sequence[str], budget: Budget
) -> tuple[Answers, np.ndarray | None]:
    """Answers with the population of nuisance parameters that the planets at hand have updated, and its covariance.

    The same answers and None where the planets are few, or where too little time is left.
    """
    estimates = [answers.fits[planet][0].estimate for planet in planets if planet in answers.fits]

    def work() -> tuple[Answers, np.ndarray | None]:
        with threads(checkpoint.config["training"]["threads"]):
            updated = checkpoint.updated_by(estimates)
            return (answers, None) if updated is checkpoint else (answers.again(updated), updated.corrections.nuisance_prior.covariance)

    seconds = SECONDS_A_VISIT * min(len(estimates), MOST_VISITS) + budget.cost(MEMBER, len(estimates) * len(checkpoint.network.members))
    return budget.attempt(POPULATION_UPDATE, seconds, work) or (answers, None)


def load_checkpoint(weights: Path, device: str = "auto", log: Callable[[str], None] = logger.info) -> Checkpoint:
    """Load a checkpoint that its manifest lists, to predict on a device of models.device. Raises DeviceError."""
    return replace(Checkpoint.load(verify(weights)), device=choose_device(device, log))


def _skip_members(checkpoint: Checkpoint, budget: Budget, waiting: int) -> Checkpoint:
    """With only the first network for the planets still waiting, where the time left is too short for all networks."""
    members = checkpoint.network.members
    optional = {"ensemble members": budget.cost(MEMBER, (len(members) - 1) * waiting)}
    if "ensemble members" not in budget.choose(budget.cost(VISIT, waiting), optional):
        return checkpoint
    budget.skip("ensemble members", f"{waiting} planets are predicted with one of {len(members)} networks")
    return replace(checkpoint, network=Ensemble(members[:1]))


def _write(submission_file: SubmissionFile, answers: Answers, budget: Budget, log, population: np.ndarray | None = None) -> None:
    """Write the answers. Where that fails, as on a full disk, the previous file is kept and is valid, and WRITING is listed as skipped
    until the answers of a later batch are written, these with them."""
    rows = {planet: (found.mean, found.sigma) for planet, found in answers.found.items()}
    try:
        submission_file.update(rows, answers.facts(submission_file, budget))
        arrays = {name: np.stack([getattr(found, name) for found in answers.found.values()]) for name in EXTRAS if answers.found}
        initial = {found.initial_estimate for found in answers.found.values()}  # one for all: that of the weights
        submission_file.add_arrays(arrays, list(answers.found), initial_estimate=", ".join(initial))
        if population is not None:
            submission_file.add_population(population)
    except OSError as error:
        log(f"cannot write ({error}); the submission on disk has {submission_file.answered} of {len(answers.found)} answers")
        budget.skip(WRITING, str(error))
    else:
        budget.skipped.pop(WRITING, None)


def _conclude(submission_file: SubmissionFile, answers: Answers, budget: Budget, log) -> dict:
    """Log fallbacks, notes, flags and skipped work; returns the result of `predict`."""
    facts = answers.facts(submission_file, budget)
    facts["fallbacks"] = {planet: answers.reasons.get(planet, "no answer") for planet in facts["fallbacks"]}
    lost = [planet for planet in answers.found if planet not in submission_file.written]
    facts["fallbacks"] |= {planet: f"its answer could not be written: {budget.skipped[WRITING]}" for planet in lost}
    for line in by_text({planet: f"the training mean, since: {reason}" for planet, reason in facts["fallbacks"].items()}):
        logger.warning("%s", line)
    result = {"submission": str(submission_file.path), "planets": len(submission_file.planets), **facts}
    try:
        require_predicted(result)
    except NothingPredictedError as error:
        logger.error("%s", error)
    remarked = sorted(facts["notes"] | facts["flags"])
    for line in by_text({planet: _join(facts["notes"].get(planet, ""), *facts["flags"].get(planet, ())) for planet in remarked}):
        logger.warning("%s", line)
    for planet, text in facts["tracebacks"].items():
        logger.error("planet %s: unexpected error\n%s", planet, text)
    for what, why in budget.skipped.items():
        log(f"skipped: {what}: {why}")
    return result


class NothingPredictedError(SpectraMindError):
    """A run whose planets all have the training mean."""


def require_predicted(result: dict) -> None:
    """Raise NothingPredictedError, with the first reason, where all planets of a result of `predict` have the training mean."""
    if len(result["fallbacks"]) == result["planets"]:
        planet, reason = next(iter(result["fallbacks"].items()))
        message = f"all {result['planets']} have the training mean, the first, {planet}, since: {reason}"
        raise NothingPredictedError(f"no planet was predicted: {message}")


def _require_planets(dataset: Dataset) -> None:
    """Raise ArchiveError for a data set without planets, or whose light curves or shared tables are of no use for any.

    Warns of planets on disk that are not requested.
    """
    if not dataset.planets:
        raise ArchiveError(dataset.root / dataset.split, "planets to predict", "none")
    dataset.require_light_curves()
    if dataset.is_calibrated_on_demand and dataset.archive.planets(dataset.split):
        dataset.archive.require_shared_tables(dataset.split)
    for planet in sorted(set(dataset.on_disk) - set(dataset.planets)):
        logger.warning("planet %s lies under %s but is not requested; it is left out", planet, dataset.root / dataset.split)


def _require_same_axis(dataset: Dataset, checkpoint: Checkpoint, weights: Path | str) -> None:
    """Raise ArchiveError where the number of wavelengths differs from the checkpoint's."""
    found, expected = len(dataset.wavelengths), len(checkpoint.wavelength)
    if found != expected:
        raise ArchiveError(dataset.root / "wavelengths.csv", f"{expected} wavelengths as in {weights}", f"{found}")
