"""A trained checkpoint and a data set → a submission that is complete and valid whatever the data hold.

Knows the order of the stages, not their insides.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.errors import ArchiveError
from ariel_lib.execution.time_budget import Budget
from ariel_lib.execution.workers import local_pool
from ariel_lib.io.archive import Archive
from ariel_lib.io.checksums import MANIFEST, sha256, verify
from ariel_lib.io.layout import list_light_curves
from ariel_lib.io.storage import save_arrays
from ariel_lib.io.submission import find_fault
from ariel_lib.models.ensemble import Ensemble, predict_inputs
from ariel_lib.models.features import (
    fgs1_channels,
    make_initial_estimate,
    make_inputs,
    node_features,
    scale_of,
    star_features,
)
from ariel_lib.models.inputs import Inputs
from ariel_lib.pipeline.batches import VISIT, PlanetBatch, fit_batches
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import PlanetFit, fit_planets
from ariel_lib.prediction.submission_file import SubmissionFile
from ariel_lib.transit.quality import rejection_reason
from ariel_lib.uncertainty.corel import corel_features

PLANET_ERRORS = (ValueError, ArithmeticError, LookupError, OSError, RuntimeError)  # of one planet; it takes a fallback
EXTRAS = ("initial_mean", "initial_sigma", "gaussian_mean", "gaussian_sigma", "depth", "depth_sigma")
MEMBER = "member"  # name of a rate in the budget: one planet through one network
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """One planet: V50's mean and calibrated sigma, what it starts from (its library's answer, unless model.initial_estimate is another), the
    closed-form posterior, and the physical estimate (depth, depth_sigma), each (wavelength,); flags of the fit; note: what was
    amiss, or ''."""

    mean: np.ndarray
    sigma: np.ndarray
    initial_mean: np.ndarray
    initial_sigma: np.ndarray
    gaussian_mean: np.ndarray
    gaussian_sigma: np.ndarray
    depth: np.ndarray
    depth_sigma: np.ndarray
    flags: tuple[str, ...]
    note: str = ""


def answer(planet_fit: PlanetFit, checkpoint: Checkpoint) -> Answer:
    """Run the network over one planet: alone, so that no last bit depends on which planets stand beside it.

    Where the network gives no usable spectrum the posterior answers, and the note says so.
    """
    inputs, estimate = planet_inputs(planet_fit, checkpoint), planet_fit.estimate
    mean, sigma = predict_inputs(checkpoint.network, inputs)
    if checkpoint.corel is not None:
        seen = (x[None] for x in (estimate.depth, estimate.sigma, estimate.sigma_uncorrelated))
        sigma = checkpoint.corel.sigmas(corel_features(mean, sigma, *seen), mean, sigma)
    mean, sigma = mean[0], checkpoint.temperature.apply(sigma)[0]
    physical = checkpoint.prior.posterior(estimate.depth, estimate.covariance)
    posterior = physical.mean, physical.sigma
    fault = find_fault(mean, sigma)
    if fault:
        mean, sigma = np.maximum(posterior[0], 0.0), checkpoint.temperature.apply(posterior[1][None])[0]
    note = f"the posterior answers for the network: {fault}" if fault else ""
    recalled = (x[0].double().numpy() for x in (inputs.mean, inputs.sigma))
    return Answer(mean, sigma, *recalled, *posterior, estimate.depth, estimate.sigma, estimate.flags, note)


def _load_checkpoint(weights: Path, log: Callable[[str], None]) -> Checkpoint:
    """Weights, checked against the manifest that training or `make weights` left beside them."""
    if (weights.parent / MANIFEST).is_file():
        verify(weights)
    else:
        log(f"{weights}: no {MANIFEST} beside the weights, so they are used without a check of their initial_estimate")
    return Checkpoint.load(weights)


def planet_inputs(planet_fit: PlanetFit, checkpoint: Checkpoint) -> Inputs:
    """One planet as the network sees it."""
    estimate = planet_fit.estimate
    library_posterior = checkpoint.library.conditioned_on(estimate.covariance, scale_of(planet_fit.star, estimate))
    mean, sigma, amplitude = make_initial_estimate(checkpoint.initial_estimate, estimate.depth, estimate, library_posterior)
    nodes = node_features(estimate.depth, estimate, mean, sigma)
    fgs1, mask = fgs1_channels(estimate, planet_fit.visits())
    return make_inputs(fgs1, mask, mean, sigma, nodes, star_features(planet_fit.star, estimate, amplitude))


def predict(
    *,
    data: Path | str,
    split: str,
    weights: Path | str,
    out: Path | str,
    light_curves: Path | str | None = None,
    workers: int = 1,
    budget: Budget | None = None,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = logger.info,
) -> dict:
    """Write a submission for every planet of the split, and beside it what is known of each.

    The file stands from the first minute, all training means, and is rewritten after every round of planets.
    light_curves    folder that `spectramind calibrate` wrote; default: as fit_planets finds or makes them
    budget          the session's clock: what it leaves no time for is given up and listed under "skipped"
    Returns {"submission", "planets", "fallbacks": {planet: reason}, "notes", "flags": {planet: [words]}, "skipped"}, JSON-able.
    Raises ArchiveError for a data set without planets, StorageError for weights that are damaged or that the manifest beside
    them disowns.
    """
    out, archive, budget = Path(out), Archive(data), budget or Budget(None)
    with local_pool(workers, imports=(fit_planets.__module__,)) as pool:
        pool.start()  # they load their libraries while the checkpoint is read
        return _predict(out, archive, budget, split, Path(weights), light_curves, pool, progress, log)


def _predict(out, archive, budget, split, weights, light_curves, pool, progress, log) -> dict:
    checkpoint = _load_checkpoint(weights, log)
    _require_same_axis(archive, checkpoint, weights)
    planets = _wanted(archive, split, light_curves)
    fallback = checkpoint.fallback_mean, checkpoint.fallback_sigma
    submission_file = SubmissionFile(out, planets, fallback, {"weights": sha256(weights), "data": str(archive.root.resolve())})
    log(f"{len(planets)} planets to answer for; a valid submission stands after {budget}")
    if torch.cuda.is_available():
        checkpoint.network.cuda()
    threads = checkpoint.config["training"]["threads"]
    torch.set_num_threads(threads)
    answers: dict[str, Answer] = {}
    reasons: dict[str, str] = {}
    settings = CalibrationSettings(airs_samples=checkpoint.config["calibration"]["airs_samples"])
    rounds = fit_batches(
        archive, split, planets, budget, workers=pool, scratch=out.parent, light_curves=light_curves, settings=settings
    )
    for finished in rounds:
        with threadpool_limits(threads):
            began = budget.clock()
            _answer_batch(finished, checkpoint, answers, reasons)
        budget.measure(MEMBER, len(finished.planet_fits.fits) * len(checkpoint.network.members), budget.clock() - began)
        _skip_members(checkpoint.network, budget, finished.total - finished.settled)
        log(f"{finished.settled} of {finished.total} planets, {len(answers)} answered, {len(reasons)} not; {budget}")
        if not _update(submission_file, answers, reasons, budget, log):
            break
        if progress:
            progress(finished.settled, finished.total)
    return _conclude(submission_file, answers, reasons, budget, log)


def _answer_batch(finished: PlanetBatch, checkpoint: Checkpoint, answers: dict[str, Answer], reasons: dict[str, str]) -> None:
    """Enter the round's planets into answers, or their reason into reasons; a planet that had an answer keeps it."""
    planet_fits = finished.planet_fits
    for planet, planet_fit in planet_fits.fits.items():
        try:
            reason = rejection_reason(planet_fit.estimate)
            found = None if reason else answer(_conditioned(planet_fit, checkpoint), checkpoint)
        except PLANET_ERRORS as error:
            found, reason = None, f"{type(error).__name__}: {error}"
        if found is None:
            reasons[planet] = "; ".join(filter(None, [reason, planet_fits.notes.get(planet)]))
            continue
        note = "; ".join(filter(None, [planet_fits.notes.get(planet), found.note]))
        answers[planet] = replace(found, note=note)
    reasons |= planet_fits.failures
    for planet in answers:
        reasons.pop(planet, None)


def _skip_members(network: Ensemble, budget: Budget, waiting: int) -> None:
    """Leave the planets that are still to come to the first network where there is no time for all."""
    optional = {"ensemble members": budget.cost(MEMBER, (len(network.members) - 1) * waiting)}
    if "ensemble members" in budget.choose(budget.cost(VISIT, waiting), optional):
        budget.skip("ensemble members", f"{waiting} of the planets were left to one of {len(network.members)} networks")
        network.members = network.members[:1]


def _conditioned(planet_fit: PlanetFit, checkpoint: Checkpoint) -> PlanetFit:
    return replace(planet_fit, estimate=checkpoint.condition(planet_fit.estimate))


def _update(submission_file: SubmissionFile, answers: Mapping[str, Answer], reasons: Mapping[str, str], budget: Budget, log) -> bool:
    """Put the answers on disk; False where the disk does not take them. What stands there stays valid."""
    facts = {
        "fallbacks": {planet: reasons.get(planet, "not looked at yet") for planet in submission_file.planets if planet not in answers},
        "notes": {planet: answers[planet].note for planet in answers if answers[planet].note},
        "flags": {planet: list(answers[planet].flags) for planet in answers},
        "skipped": budget.skipped,
    }  # fmt: skip
    try:
        submission_file.update({planet: (found.mean, found.sigma) for planet, found in answers.items()}, facts)
        arrays = {name: np.stack([getattr(found, name) for found in answers.values()]) for name in EXTRAS if answers}
        save_arrays(submission_file.path.with_suffix(".safetensors"), arrays, {"planet_ids": json.dumps(list(answers))})
    except OSError as error:
        log(f"cannot write ({error}); the submission stands with {submission_file.answered} answers")
        budget.skip("planets", f"the disk took no more after {submission_file.answered} answers: {error}")
        return False
    return True


def _conclude(submission_file: SubmissionFile, answers: dict[str, Answer], reasons: dict[str, str], budget: Budget, log) -> dict:
    """Say what became of the planets that have no answer of their own, and of what was given up."""
    fallbacks = {planet: reasons.get(planet, "no answer") for planet in submission_file.planets if planet not in answers}
    for planet, reason in fallbacks.items():
        logger.warning("planet %s takes the training mean: %s", planet, reason)
    notes = {planet: found.note for planet, found in answers.items() if found.note}
    flags = {planet: list(found.flags) for planet, found in answers.items() if found.flags}
    for planet in sorted(notes | flags):
        logger.warning("planet %s: %s", planet, "; ".join(filter(None, [notes.get(planet), *flags.get(planet, ())])))
    for what, why in budget.skipped.items():
        log(f"given up: {what}: {why}")
    return {
        "submission": str(submission_file.path), "planets": len(submission_file.planets), "fallbacks": fallbacks, "notes": notes,
        "flags": flags, "skipped": dict(budget.skipped),
    }  # fmt: skip


def _wanted(archive: Archive, split: str, light_curves: Path | str | None) -> Sequence[str]:
    """Planets that the submission must hold: the sample submission's, else all that have frames or light curves."""
    planets = archive.requested_planets() if split == "test" else archive.planets(split)
    folder = Path(light_curves) if light_curves is not None else archive.root / "lightcurves"
    planets = planets or tuple(list_light_curves(folder, split))
    if not planets:
        raise ArchiveError(archive.root / split, "planets to predict", "none")
    for planet in sorted(set(archive.planets(split)) - set(planets)):
        logger.warning("planet %s lies under %s but is not asked for; it is left out", planet, archive.root / split)
    return planets


def _require_same_axis(archive: Archive, checkpoint: Checkpoint, weights: Path | str) -> None:
    found, expected = len(archive.wavelengths()), len(checkpoint.wavelength)
    if found != expected:
        raise ArchiveError(archive.root / "wavelengths.csv", f"{expected} wavelengths as in {weights}", f"{found}")
