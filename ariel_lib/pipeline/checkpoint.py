"""A trained model in one safetensors file: networks, spectral priors, population corrections, temperature, configuration.

No pickle: loading a checkpoint runs no code of its own.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

import ariel_lib
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.io.storage import StorageError, Stored, load_arrays, part, save_arrays
from ariel_lib.models.ensemble import Ensemble
from ariel_lib.models.v50 import V50, Hyperparameters
from ariel_lib.priors.gaussian import SpectralPrior, fit_prior
from ariel_lib.priors.registry import fit_initial_prior, prior_class
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.transit.population.corrections import PopulationCorrections
from ariel_lib.transit.population.multiplicative_bias import MultiplicativeBias
from ariel_lib.transit.result import DepthEstimate
from ariel_lib.uncertainty.corel import Corel
from ariel_lib.uncertainty.temperature import Temperature

FORMAT = "spectramind-v50-10"


@dataclass(frozen=True)
class Checkpoint:
    """All that prediction needs.

    network                        ensemble of one or more members, on the CPU
    prior                          Gaussian prior of spectra
    initial_prior                  prior of model.initial_estimate, see priors.registry
    corrections                    population corrections of transit fits
    temperature                    calibration of the sigmas
    wavelength                     (wavelength,) micron
    fallback_mean, fallback_sigma  (wavelength,) the answer for a planet without usable data
    config                         the resolved configuration of the run
    held_out                       for each member the planets that neither its weights nor its epoch were fitted to
    held_out_biases                for each member the multiplicative bias fitted without their labels
    corel                          conformal quantile network that replaces the sigmas of the ensemble, or None
    device                         the torch device on which the network predicts; not part of the file
    """

    network: Ensemble
    prior: SpectralPrior
    initial_prior: Stored
    corrections: PopulationCorrections
    temperature: Temperature
    wavelength: np.ndarray
    fallback_mean: np.ndarray
    fallback_sigma: np.ndarray
    config: dict
    held_out: tuple[tuple[str, ...], ...] = ()
    held_out_biases: tuple[MultiplicativeBias, ...] = ()
    corel: Corel | None = None
    device: str = "cpu"

    @cached_property
    def network_on_device(self) -> Ensemble:
        """The network where device is the CPU, else a copy on it: the one on the CPU stays, for when the device fails."""
        return self.network if self.device == "cpu" else copy.deepcopy(self.network).to(self.device)

    @property
    def initial_estimate(self) -> str:
        """The setting model.initial_estimate of the run."""
        return self.config.get("model", {}).get("initial_estimate", "library")

    @property
    def calibration_settings(self) -> CalibrationSettings:
        """With which the light curves of the training planets were made."""
        return CalibrationSettings(airs_samples=self.config["calibration"]["airs_samples"])

    def as_held_out(self, known: LabelledSpectra) -> dict[str, "Checkpoint"]:
        """For each held-out planet, a checkpoint without its label, to condition its fit and to predict it.

        known  all labels of the training set

        It has the member, the spectral priors and the multiplicative bias fitted without the planet, and neither temperature nor COREL,
        which are fitted to the held-out planets. The nuisance prior stays: it is fitted to light curves, without labels. Predictions
        from the full checkpoint would be optimistic, since its priors contain the planet's own spectrum.
        """
        found = {}
        if not self.config.get("model", {}).get("scale_height", True):
            known = known.unscaled()
        for member, planets, bias in zip(self.network.members, self.held_out, self.held_out_biases, strict=True):
            others = known.without(planets)
            initial = fit_initial_prior(self.initial_estimate, others.labels.depth, self.wavelength, others.scale)
            prior = fit_prior(others.labels.depth, self.wavelength)
            alone = replace(
                self, network=Ensemble([member]), prior=prior, initial_prior=initial, corrections=replace(self.corrections, bias=bias),
                temperature=Temperature(), held_out=(planets,), held_out_biases=(bias,), corel=None,
            )  # fmt: skip
            found |= dict.fromkeys(planets, alone)
        return found

    def condition(self, estimate: DepthEstimate) -> DepthEstimate:
        """A new planet's estimate, conditioned on the population corrections of the training planets."""
        return self.corrections.condition(estimate)

    def updated_by(self, estimates: Sequence[DepthEstimate]) -> "Checkpoint":
        """The same with the population of nuisance parameters updated by new planets; itself where their visits are too few.

        estimates  as the transit fit leaves them
        """
        corrections = self.corrections.updated_by(estimates)
        return self if corrections is self.corrections else replace(self, corrections=corrections)

    def save(self, path: Path | str) -> Path:
        arrays = {
            f"network.{name}": tensor.detach().cpu().numpy() for name, tensor in self.network.state_dict().items()
        }
        for name in ("prior", "initial_prior", "corrections"):
            arrays |= {f"{name}.{key}": array for key, array in getattr(self, name).to_arrays().items()}
        arrays |= {
            "wavelength": self.wavelength,
            "fallback_mean": self.fallback_mean,
            "fallback_sigma": self.fallback_sigma,
        }
        for member, bias in enumerate(self.held_out_biases):
            arrays |= {f"held_out_bias.{member}.{key}": array for key, array in bias.to_arrays().items()}
        if self.corel is not None:
            arrays |= {f"corel.{name}": array for name, array in self.corel.to_arrays().items()}
        text = {
            "format": FORMAT,
            "version": ariel_lib.__version__,
            "hyperparameters": json.dumps([asdict(m.hyperparameters) for m in self.network.members], sort_keys=True),
            "temperature": json.dumps(self.temperature.to_dict(), sort_keys=True),
            "config": json.dumps(self.config, sort_keys=True),
            "held_out": json.dumps(self.held_out),
        }
        return save_arrays(path, arrays, text)

    @classmethod
    def load(cls, path: Path | str) -> "Checkpoint":
        """Raises StorageError for a file that is missing, damaged or not a checkpoint of this library."""
        arrays, text = load_arrays(path)
        if text.get("format") != FORMAT:
            raise StorageError(
                f"{path}: expected a checkpoint of format {FORMAT}, found {text.get('format', 'none')}. Train again."
            )
        network = Ensemble([V50(Hyperparameters(**sizes)) for sizes in json.loads(text["hyperparameters"])])
        network.load_state_dict({name: torch.from_numpy(array) for name, array in part(arrays, "network").items()})
        config = json.loads(text["config"])
        initial = prior_class(config.get("model", {}).get("initial_estimate", "library"))
        kinds = {"prior": SpectralPrior, "initial_prior": initial, "corrections": PopulationCorrections}
        known = (kind.from_arrays(part(arrays, name)) for name, kind in kinds.items())
        temperature = Temperature.from_dict(json.loads(text["temperature"]))
        rest = (arrays[name] for name in ("wavelength", "fallback_mean", "fallback_sigma"))
        held_out, intervals = tuple(map(tuple, json.loads(text["held_out"]))), part(arrays, "corel")
        biases = tuple(MultiplicativeBias.from_arrays(part(arrays, f"held_out_bias.{member}")) for member in range(len(held_out)))
        return cls(
            network.eval(), *known, temperature, *rest, config, held_out, biases, Corel.from_arrays(intervals) if intervals else None,
        )  # fmt: skip
