"""Recovery from GPU out-of-memory errors: a batch that does not fit is halved and repeated, with the same result."""

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def forward_in_parts(work: Callable[[slice], T], size: int, most: int) -> list[T]:
    """Results of work on consecutive slices of 0 … size, each of at most `most` items.

    The slice length is halved after an out-of-memory error; that of a single item is raised.
    """
    parts, first = [], 0
    while first < size:
        try:
            parts.append(work(slice(first, min(first + most, size))))
            first += most
        except torch.cuda.OutOfMemoryError:
            most = _halved(most, size)
    return parts


def backward_in_parts(
    network: torch.nn.Module, loss_of: Callable[[slice], torch.Tensor], size: int, most: int
) -> tuple[float, int]:
    """Accumulate gradients of the mean loss of a batch of size planets over parts of at most `most` planets.

    loss_of: mean loss of the planets in a slice. Part sizes are halved after an out-of-memory error; that of a single planet is
    raised. Returns the loss and the part size that fitted.
    """
    while True:
        try:
            total = 0.0
            for first in range(0, size, most):
                last = min(first + most, size)
                loss = loss_of(slice(first, last)) * ((last - first) / size)
                loss.backward()
                total += loss.item()
            return total, most
        except torch.cuda.OutOfMemoryError:
            most = _halved(most, size)
            network.zero_grad()


def _halved(most: int, size: int) -> int:
    """Half of the part size. Called in an except block: re-raises the error for a part of one item."""
    if most == 1:
        raise
    torch.cuda.empty_cache()
    return (min(most, size) + 1) // 2
