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
CPU = torch.device("cpu")
T = TypeVar("T")


def size() -> int:
    """Number of processes; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """Index of this process; process 0 writes files and logs."""
    return int(os.environ.get("RANK", 0)) if size() > 1 else 0


@contextmanager
def joined(device: str = "auto") -> Iterator[None]:
    """Join the process group and leave it at the end.

    device  training.device: unless it is cpu, each process uses a GPU of its own where there are some, and NCCL between them

    A process waits for the others for any time: the one that writes may have a slow disk, and who started them ends them when one fails.
    """
    if size() == 1:
        yield
        return
    backend = "gloo"
    if device != "cpu" and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    group.init_process_group(backend, timeout=ANY_TIME)
    try:
        yield
    finally:
        group.destroy_process_group()


def from_leader(work: Callable[[], T]) -> T:
    """The result of `work` in process 0, sent to the others, which do not call it. It is pickled.

    They wait for any time: a calibration may last longer than the 30 minutes of gloo's own time limit.
    """
    if size() == 1:
        return work()
    result = [work() if rank() == 0 else None]
    group.broadcast_object_list(result, 0, device=CPU)
    return result[0]


def agreed(device: str) -> str:
    """The device of all processes: cuda where each of them has one that works, else cpu."""
    if size() == 1:
        return device
    works = torch.tensor(device == "cuda", dtype=torch.int32)
    group.all_reduce(works, group.ReduceOp.MIN)
    return "cuda" if works.item() else "cpu"


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
    flag = torch.tensor([float(here)])
    group.broadcast(flag, 0)
    return bool(flag.item())
