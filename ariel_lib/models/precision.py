"""Mixed precision: matrix products in bfloat16 on GPUs that support it, all else in float32.

Used in training only: with the 8 bits of bfloat16 predictions would depend on the machine.
"""

from contextlib import AbstractContextManager

import torch

AMPERE = (8, 0)  # first compute capability with bfloat16; a T4 (7.5) uses float32


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager:
    """Context of autocast to bfloat16 if precision is "bfloat16" and the device is a GPU that supports it, else without effect."""
    return torch.autocast(device.type, torch.bfloat16, enabled=effective_precision(precision, device) == "bfloat16")


def effective_precision(precision: str, device: torch.device) -> str:
    """The precision that a device computes in where this one is asked for."""
    if precision == "bfloat16" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < AMPERE):
        return "float32"
    return precision
