"""What held-out planets say: answers of V50 and of simpler methods, and their figures, each method with a temperature of its own.

The temperature step is the same for all methods: the figures of a planet have the factors fitted to the other held-out planets.
"""

from collections.abc import Mapping

import numpy as np

from ariel_lib.metrics import summary
from ariel_lib.models.baselines import ConstantSpectrum, white_depth
from ariel_lib.models.ensemble import predict_inputs
from ariel_lib.models.inputs import Inputs
from ariel_lib.models.v50 import V50
from ariel_lib.priors.gaussian import SpectralPrior
from ariel_lib.priors.registry import INITIAL_NAMES
from ariel_lib.training.examples import Example, Examples
from ariel_lib.uncertainty.temperature import PRIOR_STRENGTH, Temperature, cross_fitted_sigma, fit_temperature

Answers = dict[str, tuple[np.ndarray, np.ndarray]]


def answers_of(network: V50, examples: Examples, prior: SpectralPrior, initial_estimate: str = "library") -> dict[str, tuple]:
    """Mean and sigma (planet, wavelength) of the held-out planets by method, without temperature, and under "truth" the labels.

    prior  Gaussian prior, fitted without the held-out planets

    Methods: v50, its initial estimate, gaussian_posterior, where the initial estimate is a mixture library_posterior, gls_fit and a
    constant spectrum fitted to the other planets.
    """
    truth = np.stack([example.truth for example in examples.held_out])
    estimates = [example.planet_fit.estimate for example in examples.held_out]
    inputs = Inputs.stack([example.inputs(e.depth) for example, e in zip(examples.held_out, estimates)])
    posteriors = [prior.posterior(e.depth, e.covariance) for e in estimates]
    others = [*examples.fitting, *examples.choosing]
    constant = ConstantSpectrum.fit(_white_depths(others), np.stack([example.truth for example in others]))
    answers = {
        "truth": (truth,),
        "v50": predict_inputs(network, inputs),
        "gaussian_posterior": (np.maximum([p.mean for p in posteriors], 0.0), np.array([p.sigma for p in posteriors])),
        "gls_fit": (np.maximum([e.depth for e in estimates], 0.0), np.array([e.sigma for e in estimates])),
        "constant": constant.predict(_white_depths(examples.held_out), truth.shape[1]),
        INITIAL_NAMES[initial_estimate]: (np.maximum(inputs.mean.double().numpy(), 0.0), inputs.sigma.double().numpy()),
    }
    if initial_estimate == "mixture":
        known = [example.conditioned_prior.library.moments(e.depth[None]) for example, e in zip(examples.held_out, estimates)]
        answers["library_posterior"] = (np.maximum([mean[0] for mean, _, _ in known], 0.0), np.array([sigma[0] for _, sigma, _ in known]))
    return answers


def _white_depths(examples: list[Example]) -> np.ndarray:
    return np.array([white_depth(e.planet_fit.estimate.depth, e.planet_fit.estimate.sigma_uncorrelated) for e in examples])


def joined(parts: list[dict[str, tuple]]) -> tuple[np.ndarray, Answers]:
    """Truth and answers of the held-out planets of all networks, concatenated."""
    found = {name: tuple(np.concatenate(arrays) for arrays in zip(*(part[name] for part in parts))) for name in parts[0]}
    return found.pop("truth")[0], found


def judge(
    truth: np.ndarray, answers: Answers, naive: Mapping[str, float], *, temperature: bool = True
) -> tuple[dict[str, dict[str, float]], dict[str, Temperature]]:
    """metrics.summary of each method, and the temperature of each, fitted to all held-out planets, for new ones.

    truth        (planet, wavelength)
    temperature  False: sigmas stay as they are

    A single held-out planet has no others: its figures have no temperature.
    """
    if not temperature:
        return {name: summary(truth, *answer, **naive) for name, answer in answers.items()}, dict.fromkeys(answers, Temperature())
    settings, scores, temperatures = {**naive, "prior_strength": PRIOR_STRENGTH}, {}, {}
    for name, (mean, sigma) in answers.items():
        scores[name] = summary(truth, mean, cross_fitted_sigma(mean, sigma, truth, **settings), **naive)
        temperatures[name] = fit_temperature(mean, sigma, truth, **settings)
    return scores, temperatures
