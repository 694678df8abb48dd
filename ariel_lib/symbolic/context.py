"""What the rules may know of planets beside the spectra they judge. Never the truth.

All rules separate a spectrum in the same way: what lies above the instrument's resolution belongs to one rule, what lies
below it to the others, so that one fault is not reported by all of them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ariel_lib.errors import SpectraMindError

CUTOFF = 0.25  # cycles a bin: four columns, the width of the point-spread function at 3.9 micron (3.6 pixels)
SMALLEST_AMPLITUDE = 1e-6  # 1 ppm: a flat spectrum still has a scale


@dataclass(frozen=True)
class Context:
    """wavelength (wavelength,) micron, FGS1 first; the others a row a planet.

    sigma      (planet, wavelength)  standard deviation of the spectra
    amplitude  (planet,)             how much the planet's AIRS spectrum varies: half of its 16–84 % range
    trust      (planet, wavelength)  weight of each bin in fits to a spectrum, ones unless a bin is refuted
    reference  (planet, wavelength)  the spectrum that the light curves give with any bump in them fitted away
    bump_depth_bias      (planet, wavelength)  by how much an achromatic bump in the light curves would move the spectrum; mostly zero
    """

    wavelength: Tensor
    sigma: Tensor
    amplitude: Tensor
    trust: Tensor
    reference: Tensor
    bump_depth_bias: Tensor


def make_context(
    mean: Tensor, sigma: Tensor, wavelength: Tensor, bump_depth_bias: Tensor | None = None, reference: Tensor | None = None
) -> Context:
    """mean, sigma (planet, wavelength): the spectra as they were before training or judging touches them. reference: where
    the light curves give another one, else the mean."""
    if mean.shape != sigma.shape or mean.ndim != 2 or wavelength.shape != mean.shape[1:]:
        raise SpectraMindError(
            f"rules need mean and sigma (planet, wavelength) and wavelength (wavelength,); found {tuple(mean.shape)}, "
            f"{tuple(sigma.shape)} and {tuple(wavelength.shape)}"
        )
    bump_depth_bias = torch.zeros_like(mean) if bump_depth_bias is None else bump_depth_bias
    return Context(wavelength, sigma, spread_of(low_pass(mean)), torch.ones_like(mean), mean if reference is None else reference, bump_depth_bias)


def spread_of(smooth: Tensor) -> Tensor:
    """Half of the 16–84 % range of AIRS, at least a millionth, (planet,)."""
    shares = torch.tensor([0.16, 0.84], dtype=torch.float64, device=smooth.device)
    low, high = torch.quantile(smooth[:, 1:].double(), shares, dim=1)
    return (0.5 * (high - low)).clamp_min(SMALLEST_AMPLITUDE).to(smooth.dtype)


def low_pass(mu: Tensor) -> Tensor:
    """AIRS below the instrument's resolution, FGS1 as it is; (planet, wavelength)."""
    return mu - high_pass(mu)


def high_pass(mu: Tensor) -> Tensor:
    """AIRS above the instrument's resolution, FGS1 zero; (planet, wavelength)."""
    return torch.nn.functional.pad(mu[:, 1:] @ high_pass_matrix(mu.shape[1] - 1).to(mu), (1, 0))


@lru_cache
def high_pass_matrix(bins: int) -> Tensor:
    """(bin, bin), symmetric: drops the slow part of a cosine transform (even at both ends, so that slopes do not leak)."""
    place = (np.arange(bins) + 0.5) / bins
    order = np.arange(bins)[:, None]
    cosines = np.sqrt(np.where(order == 0, 1, 2) / bins) * np.cos(np.pi * order * place)
    fast = cosines[order[:, 0] / (2 * bins) > CUTOFF]
    return torch.from_numpy(fast.T @ fast)
