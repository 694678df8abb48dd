"""Training examples from labelled planets, by the parts of a split, and random draws of them.

A draw adds noise of the planet's own depth covariance to its label, or to a mixed and rescaled spectrum. Its initial estimate comes from a
spectral prior, and its depth from a multiplicative bias, fitted without the planet's fold, so that no label enters its own input.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ariel_lib.config import Config, ConfigError
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Spectra
from ariel_lib.io.storage import Stored
from ariel_lib.models.features import (
    fgs1_channels,
    make_initial_estimate,
    make_inputs,
    node_features,
    scale_of,
    star_features,
)
from ariel_lib.models.inputs import Inputs
from ariel_lib.pipeline.planet_fits import PlanetFit, PlanetFits
from ariel_lib.priors.registry import fit_initial_prior
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.training.split import PlanetSplit
from ariel_lib.transit.population.multiplicative_bias import MultiplicativeBias, bias_information, sum_information

FOLDS = 5  # of the training planets; the prior of a planet's initial estimate is fitted without its fold
REAL_SHARE = 0.25  # of the draws: the fitted depth itself, with its label
MIXED_SHARE = 0.5  # of the other draws: a spectrum mixed from the planet's fold
AMPLITUDE_SPREAD = 0.4  # standard deviation of ln(amplitude) of mixed spectra
MIN_PLANETS = 5


@dataclass(frozen=True)
class Example:
    """A labelled planet: its transit fit, the prior of its initial estimate, spectra to mix from, and FGS1 features.

    truth              (wavelength,) label
    conditioned_prior  prior of the initial estimate, fitted without the planet's fold (see priors.registry)
    root               (wavelength, wavelength) Cholesky factor of the depth covariance
    mixing_pool        (planet, wavelength) spectra of its fold minus their white depths, rescaled to this planet's scale height
    fgs1, fgs1_mask    channels of the FGS1 light curves, as features.fgs1_channels gives them
    bump_depth_bias    (wavelength,) bias of the fitted depth by an achromatic bump in its light curves; mostly zero
    """

    planet_fit: PlanetFit
    truth: np.ndarray
    conditioned_prior: object
    root: np.ndarray
    mixing_pool: np.ndarray
    fgs1: np.ndarray
    fgs1_mask: np.ndarray
    bump_depth_bias: np.ndarray
    initial_estimate: str = "library"  # model.initial_estimate

    def inputs(self, depth: np.ndarray) -> Inputs:
        """The network's inputs for a fitted depth `depth` (wavelength,) in place of the planet's own."""
        estimate = self.planet_fit.estimate
        mean, sigma, amplitude = make_initial_estimate(self.initial_estimate, depth, estimate, self.conditioned_prior)
        star = star_features(self.planet_fit.star, estimate, amplitude)
        return make_inputs(self.fgs1, self.fgs1_mask, mean, sigma, node_features(depth, estimate, mean, sigma), star)

    def draw(self, rng: np.random.Generator) -> tuple[Inputs, np.ndarray, np.ndarray]:
        """Random inputs, the true spectrum (wavelength,) behind them, and the bump_depth_bias (wavelength,) that they contain."""
        if rng.random() < REAL_SHARE:
            return self.inputs(self.planet_fit.estimate.depth), self.truth, self.bump_depth_bias
        truth = self._mix(rng) if rng.random() < MIXED_SHARE else self.truth
        return self.inputs(truth + self.root @ rng.standard_normal(len(truth))), truth, np.zeros_like(truth)

    def _mix(self, rng: np.random.Generator) -> np.ndarray:
        """The planet's white depth plus a combination of two shapes of its mixing pool, rescaled; never negative."""
        first, second = self.mixing_pool[rng.integers(len(self.mixing_pool), size=2)]
        angle = rng.uniform(0, np.pi / 2)
        shape = np.cos(angle) * first + np.sin(angle) * second
        return np.maximum(self.truth[1:].mean() + shape * np.exp(AMPLITUDE_SPREAD * rng.standard_normal()), 1e-6)


def training_set(config: Config) -> Dataset:
    """The labelled split of a configuration (data.root, data.split), with training.out as its scratch folder.

    Raises ConfigError where data.root is not set, ArchiveError where the folder does not exist, or one of light curves that was given
    holds none of the split.
    """
    if config.data.root is None:
        raise ConfigError("data.root: expected a data folder, found none. Give data.root=DIR or +data.split=toy.")
    dataset = Dataset(config.data.root, config.data.folder, light_curves=config.data.light_curves, scratch=config.training.out)
    dataset.require_light_curves()
    return dataset


def labelled_planets(planet_fits: PlanetFits, labels: Spectra) -> list[str]:
    """Planets with a fit and a label. Raises ConfigError when they are fewer than MIN_PLANETS, with a reason why one has no fit."""
    known = set(labels.planet_ids)
    planets = [planet for planet in planet_fits.fits if planet in known]
    if len(planets) < MIN_PLANETS:
        without = {planet: why for planet, why in planet_fits.failures.items() if planet in known}
        example = "; {} have no fit to train on, such as {}: {}".format(len(without), *next(iter(without.items()))) if without else ""
        raise ConfigError(f"training: expected at least {MIN_PLANETS} planets with light curves and labels, found {len(planets)}{example}")
    return planets


@dataclass(frozen=True)
class Examples:
    """The examples of one network by the part of its split; bias: the multiplicative bias of the held-out ones."""

    fitting: list[Example]
    choosing: list[Example]
    held_out: list[Example]
    bias: MultiplicativeBias


def make_examples(
    planet_fits: PlanetFits, known: LabelledSpectra, wavelength: np.ndarray, split: PlanetSplit, rng: np.random.Generator,
    initial_estimate: str = "library",
) -> Examples:  # fmt: skip
    """Examples of a split. Spectral prior and multiplicative bias of a planet are fitted without the label of its group.

    planet_fits       conditioned on the nuisance prior, not on a multiplicative bias
    known             labels and scale heights
    wavelength        (wavelength,) micron
    initial_estimate  model.initial_estimate

    The groups are FOLDS folds of the fitting planets, the choosing and the held-out ones. The labels of the choosing planets enter the
    inputs of the held-out ones alone, and those of the held-out planets enter none.
    """
    rest = sorted(split.fitting)
    rest = [rest[n] for n in rng.permutation(len(rest))]
    folds = [list(fold) for fold in np.array_split(rest, min(FOLDS, len(rest))) if len(fold)]
    groups = [*folds, list(split.choosing), list(split.held_out)]
    choosing, held_out = len(folds), len(folds) + 1
    information = [
        bias_information([planet_fits.fits[planet].estimate for planet in group], known.labels.of(group), len(wavelength))
        for group in groups
    ]

    def examples(group: int, without: set[int]) -> tuple[list[Example], MultiplicativeBias]:
        others = known.without([planet for n in without for planet in groups[n]])
        prior = fit_initial_prior(initial_estimate, others.labels.depth, wavelength, others.scale)
        bias = sum_information(information[n] for n in range(len(groups)) if n not in without).posterior(wavelength)
        fits = {planet: planet_fits.fits[planet].conditioned_on(bias) for planet in groups[group]}
        return _examples(fits, known, prior, initial_estimate), bias

    fitting = [example for n in range(len(folds)) for example in examples(n, {n, choosing, held_out})[0]]
    return Examples(fitting, examples(choosing, {choosing, held_out})[0], *examples(held_out, {held_out}))


def _examples(fits: Mapping[str, PlanetFit], known: LabelledSpectra, prior: Stored, initial_estimate: str) -> list[Example]:
    """Examples of the planets of `fits`, which are each other's mixing pool, with one prior."""
    truth = known.labels.of(fits)
    of = dict(zip(known.labels.planet_ids, known.scale))
    shapes, scales = truth - truth[:, 1:].mean(axis=1, keepdims=True), np.array([of[planet] for planet in fits])
    return [
        _example(planet_fit, truth[n], prior, _rescaled(shapes, scales, scales[n]), initial_estimate)
        for n, planet_fit in enumerate(fits.values())
    ]


def _rescaled(shapes: np.ndarray, scales: np.ndarray, scale: float) -> np.ndarray:
    """Shapes (planet, wavelength) times the ratio of scale heights, `scale` over `scales` (planet,); unchanged where it is unknown."""
    ratio = scale / scales
    return shapes * np.where(np.isfinite(ratio), ratio, 1.0)[:, None]


def _example(planet_fit: PlanetFit, truth: np.ndarray, prior: Stored, mixing_pool: np.ndarray, initial_estimate: str) -> Example:
    estimate = planet_fit.estimate
    fgs1, mask = fgs1_channels(estimate, planet_fit.visits())
    return Example(
        planet_fit, truth, prior.conditioned_on(estimate.covariance, scale_of(planet_fit.star, estimate)),
        np.linalg.cholesky(estimate.covariance), mixing_pool, fgs1.astype(np.float32), mask, np.zeros_like(truth), initial_estimate,
    )  # fmt: skip
