"""The state of a training run on disk after every epoch, so that a killed run goes on where it stopped."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ariel_lib.io.storage import StorageError, load_arrays, save_arrays
from ariel_lib.models.v50 import V50
from ariel_lib.training import distributed


class RunState:
    """What a killed training run needs to go on: weights, their running mean, the best so far, optimiser, history.

    Written after every epoch; taken up again only by a run of the same fingerprint (training.resolution).
    decay a step is that of the mean, an exponential one that starts at the initial weights.
    """

    def __init__(self, path: Path, fingerprint: str, network: V50, optimizer: torch.optim.Optimizer, decay: float):
        self.path, self.fingerprint, self.network, self.optimizer = path, fingerprint, network, optimizer
        self.history: list[dict] = []
        # Buffers are copied, not averaged: the only one is a table of positions, which no step changes.
        self._mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.average()  # the first update copies: from here on the initial weights are part of the mean
        self._best = _copy(network)

    @property
    def best_score(self) -> float:
        return max(entry["score"] for entry in self.history)

    @property
    def since_best(self) -> int:
        """Epochs that have passed since the best score."""
        scores = [entry["score"] for entry in self.history]
        return len(scores) - 1 - int(np.argmax(scores))

    @property
    def averaged(self) -> V50:
        """A network that holds the running mean of the weights."""
        return self._mean.module

    def average(self) -> None:
        """Move the running mean towards the weights of the moment."""
        self._mean.update_parameters(self.network)

    def note(self, loss: float | None, score: float) -> None:
        """Record an epoch, keep its averaged weights if they are the best, and write everything down."""
        if not self.history or score > self.best_score:
            self._best = _copy(self.averaged)
        self.history.append({"epoch": len(self.history), "loss": loss, "score": score})
        weights = {"now": self.network.state_dict(), "mean": self.averaged.state_dict(), "best": self._best}
        arrays = {f"{kind}.{name}": tensor for kind, tensors in weights.items() for name, tensor in tensors.items()}
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

    def begin(self, score: Callable[[V50], float], start: str, log: Callable[[str], None]) -> None:
        """Take up a killed run; else record epoch 0, with the score of the network as it is.

        start  name of the initial estimate, for the log
        """
        if self.resume():
            log(f"goes on after epoch {len(self.history) - 1} of an interrupted run")
            return
        if self.path.is_file():
            log(f"starts over: {self.path} is damaged, or of another configuration, version or data")
        self.note(None, score(self.network))
        log(f"epoch 0: score of the choosing planets {self.best_score:.4f} ({start})")

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
        self.averaged.load_state_dict(_under(tensors, "mean."))
        for name, value in _under(tensors, "best.").items():
            self._best[name].copy_(value)
        slots: dict[int, dict] = {}
        for name, value in _under(tensors, "optimizer.").items():
            index, _, slot = name.partition(".")
            slots.setdefault(int(index), {})[slot] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        self.history = json.loads(text["history"])
        return True

    def restore_best(self) -> None:
        self.network.load_state_dict(self._best)


def _copy(network: V50) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
