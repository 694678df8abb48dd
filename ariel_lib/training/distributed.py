"""Data-parallel training under torchrun: each process takes its share of every batch, and gradients are averaged.

    torchrun --nproc-per-node 2 --no-python spectramind train …

Where the machine's own name does not resolve, as in a bare container, torchrun itself waits for minutes: give --local-addr 127.0.0.1.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as group

ANY_TIME = timedelta(days=365)
T = TypeVar("T")


def size() -> int:
    """Number of processes; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """Index of this process; process 0 writes files and logs."""
    return int(os.environ.get("RANK", 0)) if size() > 1 else 0


@contextmanager
def joined() -> Iterator[None]:
    """Join the process group and leave it at the end. With CUDA each process uses its own GPU, NCCL between them, else gloo."""
    if size() == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    group.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        group.destroy_process_group()


def from_leader(work: Callable[[], T]) -> T:
    """The result of `work` in process 0, sent to the others, which do not call it. It is pickled.

    They wait for any time: a calibration may last longer than the 30 minutes of gloo's time limit or the 10 of NCCL's. torchrun ends
    them when process 0 fails.
    """
    if size() == 1:
        return work()
    waiting = group.new_group(backend="gloo", timeout=ANY_TIME)
    result = [work() if rank() == 0 else None]
    group.broadcast_object_list(result, 0, group=waiting)
    group.destroy_process_group(waiting)
    return result[0]


def average_gradients(network: torch.nn.Module) -> None:
    """Replace every gradient by its mean over the processes."""
    if size() == 1:
        return
    for parameter in network.parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        group.all_reduce(gradient)
        parameter.grad = gradient / size()


def decided(here: bool) -> bool:
    """Process 0's decision, broadcast to all: clocks differ a little between processes."""
    if size() == 1:
        return here
    device = "cuda" if torch.cuda.is_available() else "cpu"
    flag = torch.tensor([float(here)], device=device)
    group.broadcast(flag, 0)
    return bool(flag.item())
