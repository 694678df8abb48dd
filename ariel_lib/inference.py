"""A trained checkpoint and a data set → a submission that is complete and valid whatever the data hold.

Knows the order of the stages, not their insides.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ariel_lib.archive import Archive, ArchiveError
from ariel_lib.calibration.light_curves import list_light_curves
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.checkpoint import Checkpoint
from ariel_lib.models.features import fgs1_channels, make_inputs, node_features, star_features
from ariel_lib.models.inputs import Inputs
from ariel_lib.storage import save_arrays, write_atomically
from ariel_lib.submission import write_submission
from ariel_lib.survey import Observation, Survey, survey_planets
from ariel_lib.training import predict_inputs
from ariel_lib.uncertainty.corel import corel_features

BATCH = 16  # planets: bounds the memory of light curves at full cadence
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answers:
    """Per planet, in the order of planet_ids: V50's mean and calibrated sigma, the closed-form posterior it started from,
    and the physical estimate (depth, depth_sigma); each (planet, wavelength)."""

    planet_ids: tuple[str, ...]
    mean: np.ndarray
    sigma: np.ndarray
    posterior_mean: np.ndarray
    posterior_sigma: np.ndarray
    depth: np.ndarray
    depth_sigma: np.ndarray


def answer(observations: dict[str, Observation], checkpoint: Checkpoint) -> Answers:
    """Run the network over observed planets."""
    planet_ids = tuple(observations)
    rows = []
    for first in range(0, len(planet_ids), BATCH):
        batch = [observations[planet] for planet in planet_ids[first : first + BATCH]]
        inputs = Inputs.stack([planet_inputs(observation, checkpoint) for observation in batch])
        mean, sigma = predict_inputs(checkpoint.network, inputs)
        posterior = (inputs.mean.double().numpy(), inputs.sigma.double().numpy())
        depth = [np.stack([getattr(o.estimate, name) for o in batch]) for name in ("depth", "sigma")]
        if checkpoint.corel is not None:
            independent = np.stack([o.estimate.independent for o in batch])
            sigma = checkpoint.corel.sigmas(corel_features(mean, sigma, *depth, independent), mean, sigma)
        rows.append((mean, checkpoint.temperature.apply(sigma), *posterior, *depth))
    n = len(checkpoint.wavelength)
    columns = [np.concatenate(column) for column in zip(*rows)] if rows else [np.zeros((0, n))] * 6
    return Answers(planet_ids, *columns)


def planet_inputs(observation: Observation, checkpoint: Checkpoint) -> Inputs:
    """One planet as the network sees it."""
    estimate = observation.estimate
    posterior = checkpoint.prior.posterior(estimate.depth, estimate.covariance)
    amplitude = float(posterior.amplitude_weights @ checkpoint.prior.amplitudes)
    nodes = node_features(estimate.depth, estimate, posterior.mean, posterior.sigma)
    fgs1, mask = fgs1_channels(estimate, observation.visits())
    return make_inputs(
        fgs1, mask, posterior.mean, posterior.sigma, nodes, star_features(observation.star, estimate, amplitude)
    )


def predict(
    *,
    data: Path | str,
    split: str,
    weights: Path | str,
    out: Path | str,
    light_curves: Path | str | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Write a submission for every planet of the split, and beside it what is known of each (predictions and failures).

    light_curves    folder that `spectramind calibrate` wrote; default: as survey_planets finds or makes them
    Returns {"submission", "planets", "fallbacks": {planet: reason}, "flags": {planet: [words]}}, JSON-able.
    Raises ArchiveError for a data set without planets, StorageError for an unusable checkpoint.
    """
    out, archive, checkpoint = Path(out), Archive(data), Checkpoint.load(weights)
    wavelength = archive.wavelengths()
    if len(wavelength) != len(checkpoint.wavelength):
        raise ArchiveError(
            archive.root / "wavelengths.csv",
            f"{len(checkpoint.wavelength)} wavelengths as in {weights}",
            f"{len(wavelength)}",
        )
    planets = _wanted(archive, split, light_curves)
    settings = CalibrationSettings(airs_samples=checkpoint.config["calibration"]["airs_samples"])
    survey = survey_planets(
        archive,
        split,
        scratch=out.parent,
        light_curves=light_curves,
        planets=planets,
        settings=settings,
        workers=workers,
        progress=progress,
    )
    threads = checkpoint.config["training"]["threads"]
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        answers = answer(survey.given(checkpoint.drift).observations, checkpoint)
    write_submission(
        out, answers.planet_ids, answers.mean, answers.sigma,
        fallback_mean=checkpoint.fallback_mean, fallback_sigma=checkpoint.fallback_sigma, order=planets,
    )  # fmt: skip
    fallbacks = {
        planet: survey.failures.get(planet, "no answer") for planet in planets if planet not in survey.observations
    }
    for planet, reason in fallbacks.items():
        log.warning("planet %s takes the training mean: %s", planet, reason)
    _write_extras(out, answers, survey, fallbacks)
    flags = {planet: list(o.estimate.flags) for planet, o in survey.observations.items() if o.estimate.flags}
    return {"submission": str(out), "planets": len(planets), "fallbacks": fallbacks, "flags": flags}


def _wanted(archive: Archive, split: str, light_curves: Path | str | None) -> Sequence[str]:
    """Planets that the submission must hold: the sample submission's, else all that have frames or light curves."""
    planets = archive.requested_planets() if split == "test" else archive.planets(split)
    folder = Path(light_curves) if light_curves is not None else archive.root / "lightcurves"
    planets = planets or tuple(list_light_curves(folder, split))
    if not planets:
        raise ArchiveError(archive.root / split, "planets to predict", "none")
    return planets


def _write_extras(out: Path, answers: Answers, survey: Survey, fallbacks: dict[str, str]) -> None:
    arrays = {name: getattr(answers, name) for name in ("posterior_mean", "posterior_sigma", "depth", "depth_sigma")}
    save_arrays(out.with_suffix(".safetensors"), arrays, {"planet_ids": json.dumps(answers.planet_ids)})
    record = {
        "fallbacks": fallbacks,
        "failed_visits": {planet: reason for planet, reason in survey.failures.items() if planet not in fallbacks},
        "flags": {planet: list(o.estimate.flags) for planet, o in survey.observations.items()},
    }
    write_atomically(out.with_suffix(".json"), json.dumps(record, indent=1).encode())
