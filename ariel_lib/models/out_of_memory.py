"""Batches that fit: what exceeds a GPU's memory is halved and tried again, with the same result.

Knows slices of a batch, not what is computed.
"""

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def forward_in_parts(work: Callable[[slice], T], size: int, most: int) -> list[T]:
    """work on slices of at most `most` of `size` pieces; one that does not fit into memory is halved, down to one."""
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
    """Gradients of the mean loss of a batch of `size` planets, added up over parts of at most `most`; a part that does not
    fit into memory is halved. Returns the loss and the size that fitted.

    loss_of   mean loss of the planets in a slice
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
    """Half of a part; inside an except block: raises on where one piece alone did not fit."""
    if most == 1:
        raise
    torch.cuda.empty_cache()
    return (min(most, size) + 1) // 2
