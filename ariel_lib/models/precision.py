"""Mixed precision: matrix products in bfloat16 where a GPU does them faster, all else in float32.

Knows devices, not what is computed. Only training uses it: a prediction must not depend on the machine beyond rounding,
and bfloat16 has 8 bits.
"""

from contextlib import AbstractContextManager

import torch

AMPERE = (8, 0)  # the first compute capability with bfloat16; a T4 is 7.5 and stays with float32


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager:
    """Autocast to bfloat16 where that is asked for and the device is a GPU that has it; else nothing changes."""
    wanted = precision == "bfloat16" and device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
