"""The device that networks run on: a GPU that has passed a test, else the CPU.

A GPU may be listed and yet be of no use: too old for the kernels of the installed PyTorch, out of memory, broken.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from ariel_lib.errors import SpectraMindError
from ariel_lib.models.ssm import Mamba2, load_kernel

DEVICES = ("auto", "cpu", "cuda")
DEVICE_ERRORS = (RuntimeError, AssertionError)  # of a device that fails; the latter from a torch without CUDA
WIDTH, STEPS = 16, 96  # of the sequence in the test
T = TypeVar("T")


class DeviceError(SpectraMindError):
    """A device that was asked for and cannot be used."""


def choose_device(wanted: str, log: Callable[[str], None]) -> str:
    """ "cuda" where it is wanted and passes the test, else "cpu"; one line in the log says which, and why.

    wanted  auto: CUDA where it works, cpu, or cuda

    Raises DeviceError for cuda where it does not work, SpectraMindError for another name.
    """
    if wanted not in DEVICES:
        raise SpectraMindError(f"device: expected one of {', '.join(DEVICES)}, found {wanted!r}")
    if wanted == "cpu":
        log("device: CPU, as asked for")
        return "cpu"
    fault = find_fault("cuda") if torch.cuda.is_available() else "PyTorch finds no GPU"
    if fault is None:
        log(f"device: {torch.cuda.get_device_name()}, {_scan('cuda')}")
        return "cuda"
    if wanted == "cuda":
        raise DeviceError(f"device: expected a GPU that works, as asked for, found none: {fault}. Ask for auto or cpu.")
    log(f"device: CPU: {fault}")
    return "cpu"


def find_fault(device: str) -> str | None:
    """Why a device cannot be used, or None: a Mamba-2 block is run on it forward and backward. torch's random state stays as it was."""
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            torch.manual_seed(0)
            block, u = Mamba2(WIDTH, WIDTH).to(device), torch.randn(1, STEPS, WIDTH).to(device)
            loss = block(u).square().mean()
            loss.backward()
            found = torch.stack([loss.detach(), *(parameter.grad.abs().sum() for parameter in block.parameters())])
            if not torch.isfinite(found).all().item():  # .item() waits for the device
                return f"{device} computes values that are not finite"
    except DEVICE_ERRORS as error:
        return describe(device, error)
    return None


def describe(device: str, error: Exception) -> str:
    """A failure of a device in one line; CUDA's messages go on with advice for its developers."""
    lines = str(error).strip().splitlines() or [""]
    return f"{device} fails: {type(error).__name__}: {lines[0].strip()}"


def _scan(device: str) -> str:
    """How the recurrence of the encoder runs on a GPU."""
    if load_kernel(device) is not None:
        return "with mamba-ssm's scan"
    return "with the chunked scan, which is slow there: install mamba-ssm, as by pip install 'spectramind[cuda]'"


@dataclass
class Device:
    """A device by its name, which becomes "cpu" once it has failed for good."""

    name: str

    def run(self, work: Callable[[str], T], log: Callable[[str], None]) -> T:
        """work(name); where that fails on a GPU, work("cpu") from its beginning, with one line in the log.

        A GPU that then fails the test of find_fault too is not used again: not one that only lacked the memory.
        """
        if self.name == "cpu":
            return work("cpu")
        try:
            return work(self.name)
        except DEVICE_ERRORS as error:
            log(f"{describe(self.name, error)}; this goes on on the CPU")
        if find_fault(self.name):
            self.name = "cpu"
        return work("cpu")
