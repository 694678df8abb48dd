"""The state of a training run on disk after every epoch, so that a killed run goes on where it stopped."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ariel_lib.io.storage import StorageError, load_arrays, save_arrays
from ariel_lib.models.v50 import V50
from ariel_lib.training import distributed


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
