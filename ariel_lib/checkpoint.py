"""What training leaves and prediction needs, in one safetensors file: network, spectral prior, memory, temperature, configuration.

Never a pickle. Knows the network's class, not how it was trained.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import ariel_lib
from ariel_lib import distributed
from ariel_lib.models.ensemble import Ensemble
from ariel_lib.models.memory import Memory, memorise
from ariel_lib.models.v50 import V50
from ariel_lib.storage import StorageError, load_arrays, part, save_arrays
from ariel_lib.transit.estimate import DepthEstimate
from ariel_lib.transit.learned import Learned
from ariel_lib.transit.prior import SpectralPrior, fit_prior
from ariel_lib.transit.scale_height import Labelled
from ariel_lib.uncertainty.corel import Corel
from ariel_lib.uncertainty.temperature import Temperature

FORMAT = "spectramind-v50-6"


@dataclass(frozen=True)
class Checkpoint:
    """network on the CPU, one member or several; wavelength (wavelength,) micron; fallback mean and sigma (wavelength,): the
    answer for a planet without usable data; config: the resolved configuration of the run; held_out: for each member the
    planets that it has not seen; corel: intervals that make the sigmas in place of the network's, or None."""

    network: Ensemble
    prior: SpectralPrior
    memory: Memory
    learned: Learned
    temperature: Temperature
    wavelength: np.ndarray
    fallback_mean: np.ndarray
    fallback_sigma: np.ndarray
    config: dict
    held_out: tuple[tuple[str, ...], ...] = ()
    corel: Corel | None = None

    @property
    def origin(self) -> str:
        """model.origin of the run."""
        return self.config.get("model", {}).get("origin", "memory")

    def as_held_out(self, known: Labelled) -> dict[str, "Checkpoint"]:
        """By planet, the checkpoint as its held-out planets may meet it: the member that has not seen it, and prior and memory of
        the other labels only. A planet whose own spectrum is remembered is answered better than a new one.

        known  the training set, all of it
        """
        found = {}
        if not self.config.get("model", {}).get("scale_height", True):
            known = known.unscaled()
        for member, planets in zip(self.network.members, self.held_out):
            others = known.without(planets)
            memory = memorise(others.labels.depth, self.wavelength, others.scale)
            prior = fit_prior(others.labels.depth, self.wavelength)
            alone = replace(self, network=Ensemble([member]), prior=prior, memory=memory, held_out=(planets,))
            found |= dict.fromkeys(planets, alone)
        return found

    def condition(self, estimate: DepthEstimate) -> DepthEstimate:
        """A new planet's estimate, given what the training planets' fits have in common."""
        return self.learned.condition(estimate)

    def save(self, path: Path | str) -> Path:
        arrays = {
            f"network.{name}": tensor.detach().cpu().numpy() for name, tensor in self.network.state_dict().items()
        }
        for name in ("prior", "memory", "learned"):
            arrays |= {f"{name}.{key}": array for key, array in getattr(self, name).to_arrays().items()}
        arrays |= {
            "wavelength": self.wavelength,
            "fallback_mean": self.fallback_mean,
            "fallback_sigma": self.fallback_sigma,
        }
        if self.corel is not None:
            arrays |= {f"corel.{name}": array for name, array in self.corel.to_arrays().items()}
        text = {
            "format": FORMAT,
            "version": ariel_lib.__version__,
            "hyperparameters": json.dumps([m.hyperparameters for m in self.network.members], sort_keys=True),
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
        network = Ensemble([V50(**sizes) for sizes in json.loads(text["hyperparameters"])])
        network.load_state_dict({name: torch.from_numpy(array) for name, array in part(arrays, "network").items()})
        kinds = {"prior": SpectralPrior, "memory": Memory, "learned": Learned}
        known = (kind.from_arrays(part(arrays, name)) for name, kind in kinds.items())
        temperature = Temperature.from_dict(json.loads(text["temperature"]))
        rest = (arrays[name] for name in ("wavelength", "fallback_mean", "fallback_sigma"))
        intervals = part(arrays, "corel")
        return cls(
            network.eval(), *known, temperature, *rest, json.loads(text["config"]),
            tuple(tuple(planets) for planets in json.loads(text["held_out"])), Corel.from_arrays(intervals) if intervals else None,
        )  # fmt: skip


class RunState:
    """What a killed training run needs to go on: weights, their running mean, the best so far, optimiser, history.

    Written after every epoch; taken up again only by a run of the same fingerprint (configuration and planets).
    """

    def __init__(self, path: Path, fingerprint: str, network: V50, optimizer: torch.optim.Optimizer, decay: float):
        self.path, self.fingerprint, self.network, self.optimizer, self.decay = (
            path,
            fingerprint,
            network,
            optimizer,
            decay,
        )
        self.history: list[dict] = []
        self.best = self._copy()
        self.mean = self._copy()

    @property
    def best_score(self) -> float:
        return max(entry["score"] for entry in self.history)

    @property
    def since_best(self) -> int:
        """Epochs that have passed since the best held-out score."""
        scores = [entry["score"] for entry in self.history]
        return len(scores) - 1 - int(np.argmax(scores))

    def average(self) -> None:
        """Move the running mean towards the weights of the moment."""
        for name, value in self.network.state_dict().items():
            self.mean[name].lerp_(value.detach(), 1 - self.decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the network holds the running mean of its weights."""
        current = self._copy()
        self.network.load_state_dict(self.mean)
        try:
            yield
        finally:
            self.network.load_state_dict(current)

    def note(self, loss: float | None, score: float) -> None:
        """Record an epoch, keep its averaged weights if they are the best, and write everything down."""
        if not self.history or score > self.best_score:
            self.best = {name: value.clone() for name, value in self.mean.items()}
        self.history.append({"epoch": len(self.history), "loss": loss, "score": score})
        arrays = {
            f"{kind}.{name}": tensor for kind in ("now", "mean", "best") for name, tensor in self._weights(kind).items()
        }
        for index, slots in self.optimizer.state_dict()["state"].items():
            arrays |= {
                f"optimizer.{index}.{name}": torch.as_tensor(value)
                for name, value in slots.items()
                if value is not None
            }
        if distributed.rank() > 0:
            return
        text = {"fingerprint": self.fingerprint, "history": json.dumps(self.history)}
        save_arrays(self.path, {name: tensor.detach().cpu().numpy() for name, tensor in arrays.items()}, text)

    def resume(self) -> bool:
        """Take up a killed run; False where there is none of this fingerprint."""
        try:
            arrays, text = load_arrays(self.path)
        except StorageError:
            return False
        if text.get("fingerprint") != self.fingerprint:
            return False
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        self.network.load_state_dict(_under(tensors, "now."))
        for kind in ("mean", "best"):
            for name, value in _under(tensors, f"{kind}.").items():
                getattr(self, kind)[name].copy_(value)
        slots: dict[int, dict] = {}
        for name, value in _under(tensors, "optimizer.").items():
            index, _, slot = name.partition(".")
            slots.setdefault(int(index), {})[slot] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        self.history = json.loads(text["history"])
        return True

    def restore_best(self) -> None:
        self.network.load_state_dict(self.best)

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def _weights(self, kind: str) -> dict[str, torch.Tensor]:
        return self.network.state_dict() if kind == "now" else getattr(self, kind)


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
