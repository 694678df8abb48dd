"""The spectrum of one planet from its transit fit and a checkpoint: V50's prediction and the closed-form estimates behind it."""

from dataclasses import dataclass

import numpy as np

from ariel_lib.io.submission import find_fault
from ariel_lib.models.ensemble import predict_inputs
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
from ariel_lib.priors.registry import INITIAL_NAMES
from ariel_lib.transit.result import Flag
from ariel_lib.uncertainty.corel import corel_features


@dataclass(frozen=True)
class Answer:
    """The spectra of one planet, each (wavelength,), (Rp/Rs)².

    mean, sigma                    V50's, sigma calibrated
    initial_mean, initial_sigma    V50's initial estimate, which the network corrects
    gaussian_mean, gaussian_sigma  the transit fit's posterior under the Gaussian spectral prior
    depth, depth_sigma             the transit fit alone (generalised least squares), conditioned on the population corrections
    flags                          of the fit
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

    The network runs on one planet at a time: the last bits do not depend on the other planets of a batch. Where its spectrum
    is invalid, mean and sigma are those of the Gaussian posterior, with a note.
    """
    inputs, estimate = planet_inputs(planet_fit, checkpoint), planet_fit.estimate
    mean, sigma = predict_inputs(checkpoint.network, inputs)
    if checkpoint.corel is not None:
        observables = (x[None] for x in (estimate.depth, estimate.sigma, estimate.sigma_uncorrelated))
        sigma = checkpoint.corel.sigmas(corel_features(mean, sigma, *observables), mean, sigma)
    mean, sigma = mean[0], checkpoint.temperature.apply(sigma)[0]
    gaussian = checkpoint.prior.posterior(estimate.depth, estimate.covariance)
    fault, note = find_fault(mean, sigma), ""
    if fault:
        mean, sigma = np.maximum(gaussian.mean, 0.0), checkpoint.temperature.apply(gaussian.sigma[None])[0]
        note = f"Gaussian posterior in place of the network's spectrum: {fault}"
    initial = (x[0].double().numpy() for x in (inputs.mean, inputs.sigma))
    return Answer(
        mean, sigma, *initial, gaussian.mean, gaussian.sigma, estimate.depth, estimate.sigma, estimate.flags,
        INITIAL_NAMES[checkpoint.initial_estimate], note,
    )  # fmt: skip


def planet_inputs(planet_fit: PlanetFit, checkpoint: Checkpoint) -> Inputs:
    """The network's inputs for one planet."""
    estimate = planet_fit.estimate
    conditioned_prior = checkpoint.initial_prior.conditioned_on(estimate.covariance, scale_of(planet_fit.star, estimate))
    mean, sigma, amplitude = make_initial_estimate(checkpoint.initial_estimate, estimate.depth, estimate, conditioned_prior)
    nodes = node_features(estimate.depth, estimate, mean, sigma)
    fgs1, mask = fgs1_channels(estimate, planet_fit.visits())
    return make_inputs(fgs1, mask, mean, sigma, nodes, star_features(planet_fit.star, estimate, amplitude))
