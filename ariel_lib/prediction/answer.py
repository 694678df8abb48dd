"""The spectrum of one planet from its transit fit and a checkpoint: V50's prediction and the closed-form estimates behind it.

A network that fails on a GPU is run again on the CPU. Depths that the Gaussian spectral prior does not explain are flagged, with a note.
"""

from dataclasses import dataclass, replace

import numpy as np

from ariel_lib.errors import SpectraMindError
from ariel_lib.execution.workers import attempt
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
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import PlanetFit
from ariel_lib.priors.predictive_check import is_unusual, log_evidence_against
from ariel_lib.priors.registry import INITIAL_NAMES
from ariel_lib.transit.result import DepthEstimate, Flag
from ariel_lib.uncertainty.corel import corel_features

UNUSUAL = "its spectrum is unlike the training spectra (others are 10^{:.0f} times as likely): its sigmas may be too small"


class InvalidSpectrumError(SpectraMindError):
    """A spectrum that cannot be submitted, such as one that is not finite."""


@dataclass(frozen=True)
class Answer:
    """The spectra of one planet, each (wavelength,), (Rp/Rs)².

    mean, sigma                    V50's, or those of initial_answer; sigma calibrated
    initial_mean, initial_sigma    V50's initial estimate, which the network corrects
    gaussian_mean, gaussian_sigma  the transit fit's posterior under the Gaussian spectral prior
    depth, depth_sigma             the transit fit alone (generalised least squares), conditioned on the population corrections
    flags                          of the fit, and UNUSUAL_SPECTRUM
    initial_estimate               what the initial estimate is, a value of priors.registry.INITIAL_NAMES
    note                           a remark, or ''
    """

    mean: np.ndarray
    sigma: np.ndarray
    initial_mean: np.ndarray
    initial_sigma: np.ndarray
    gaussian_mean: np.ndarray
    gaussian_sigma: np.ndarray
    depth: np.ndarray
    depth_sigma: np.ndarray
    flags: tuple[Flag, ...]
    initial_estimate: str
    note: str = ""


def answer(planet_fit: PlanetFit, checkpoint: Checkpoint) -> Answer:
    """V50's prediction for one planet.

    planet_fit  with its estimate conditioned on the checkpoint's population corrections

    The network runs on one planet at a time: the last bits do not depend on the other planets of a batch. Where it fails on the
    checkpoint's device, it is run again on the CPU, with a note. What it raises there is raised, InvalidSpectrumError included.
    """
    initial = _initial_estimate(planet_fit, checkpoint)
    inputs, found, note = _inputs(planet_fit, *initial), None, ""
    if checkpoint.device != "cpu":
        found, failure = attempt(lambda: _predict(checkpoint.network_on_device, checkpoint, planet_fit.estimate, inputs))
        if failure is not None:
            note = f"predicted on the CPU, since the network failed on {checkpoint.device}: {failure}"
    mean, sigma = found or _predict(checkpoint.network, checkpoint, planet_fit.estimate, inputs)
    closed = _closed_forms(planet_fit, checkpoint, *initial)
    return replace(closed, mean=mean, sigma=sigma, note="; ".join(filter(None, [closed.note, note])))


def initial_answer(planet_fit: PlanetFit, checkpoint: Checkpoint) -> Answer:
    """The answer without the network, and without the light curves that it reads: V50's initial estimate, sigma calibrated.

    Raises InvalidSpectrumError.
    """
    found = _closed_forms(planet_fit, checkpoint, *_initial_estimate(planet_fit, checkpoint))
    _require_valid("initial estimate", planet_fit.estimate, found.mean, found.sigma)
    return found


def planet_inputs(planet_fit: PlanetFit, checkpoint: Checkpoint) -> Inputs:
    """The network's inputs for one planet."""
    return _inputs(planet_fit, *_initial_estimate(planet_fit, checkpoint))


def _initial_estimate(planet_fit: PlanetFit, checkpoint: Checkpoint) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and sigma (wavelength,), and amplitude."""
    estimate = planet_fit.estimate
    conditioned_prior = checkpoint.initial_prior.conditioned_on(estimate.covariance, scale_of(planet_fit.star, estimate))
    return make_initial_estimate(checkpoint.initial_estimate, estimate.depth, estimate, conditioned_prior)


def _inputs(planet_fit: PlanetFit, mean: np.ndarray, sigma: np.ndarray, amplitude: float) -> Inputs:
    """The network's inputs; mean, sigma, amplitude: the initial estimate."""
    estimate = planet_fit.estimate
    nodes = node_features(estimate.depth, estimate, mean, sigma)
    fgs1, mask = fgs1_channels(estimate, planet_fit.visits())
    return make_inputs(fgs1, mask, mean, sigma, nodes, star_features(planet_fit.star, estimate, amplitude))


def _predict(network: Ensemble, checkpoint: Checkpoint, estimate: DepthEstimate, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Mean and calibrated sigma of the network, (wavelength,). Raises InvalidSpectrumError."""
    mean, sigma = predict_inputs(network, inputs)
    if checkpoint.corel is not None:
        observables = (x[None] for x in (estimate.depth, estimate.sigma, estimate.sigma_uncorrelated))
        sigma = checkpoint.corel.sigmas(corel_features(mean, sigma, *observables), mean, sigma)
    mean, sigma = mean[0], checkpoint.temperature.apply(sigma)[0]
    _require_valid("network's spectrum", estimate, mean, sigma)
    return mean, sigma


def _closed_forms(planet_fit: PlanetFit, checkpoint: Checkpoint, mean: np.ndarray, sigma: np.ndarray, _: float) -> Answer:
    """An answer without the network; mean, sigma: the initial estimate."""
    estimate = planet_fit.estimate
    conditional = checkpoint.prior.conditioned_on(estimate.covariance)
    gaussian = conditional.posterior(estimate.depth)
    against = float(log_evidence_against(checkpoint.prior, conditional, checkpoint.wavelength, estimate.depth[None])[0])
    flags, note = ((Flag.UNUSUAL_SPECTRUM,), UNUSUAL.format(against / np.log(10))) if is_unusual(against) else ((), "")
    return Answer(
        np.maximum(mean, 0.0), checkpoint.temperature.apply(sigma), mean, sigma, gaussian.mean, gaussian.sigma, estimate.depth,
        estimate.sigma, (*estimate.flags, *flags), INITIAL_NAMES[checkpoint.initial_estimate], note,
    )  # fmt: skip


def _require_valid(what: str, estimate: DepthEstimate, mean: np.ndarray, sigma: np.ndarray) -> None:
    if fault := find_fault(mean, sigma):
        raise InvalidSpectrumError(f"planet {estimate.planet_id}: the {what} is invalid: {fault}")
