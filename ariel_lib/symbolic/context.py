"""Input of the physical rules besides the spectra: uncertainties, scales and depth biases of each planet. No labels.

All rules split a spectrum at the instrument's resolution: structure above it is tested by one rule, structure below it by the
others, so that one defect is not reported several times.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ariel_lib.errors import SpectraMindError

CUTOFF = 0.25  # cycles per bin: a period of four columns, the width of the point-spread function at 3.9 micron (3.6 pixels)
SMALLEST_AMPLITUDE = 1e-6  # 1 ppm, lower limit for flat spectra


@dataclass(frozen=True)
class Context:
    """Uncertainties and scales against which the rules test spectra.

    wavelength       (wavelength,)         micron, FGS1 first
    sigma            (planet, wavelength)  standard deviation of the spectra
    amplitude        (planet,)             half of the 16–84 % range of the AIRS spectrum
    bin_weight       (planet, wavelength)  weight of each bin in fits to a spectrum, 1 unless down-weighted as an outlier
    reference        (planet, wavelength)  spectrum from a fit to the light curves that includes any bump
    bump_depth_bias  (planet, wavelength)  depth that an achromatic bump in the light curves adds; 0 without a bump
    """

    wavelength: Tensor
    sigma: Tensor
    amplitude: Tensor
    bin_weight: Tensor
    reference: Tensor
    bump_depth_bias: Tensor


def make_context(
    mean: Tensor, sigma: Tensor, wavelength: Tensor, bump_depth_bias: Tensor | None = None, reference: Tensor | None = None
) -> Context:
    """Context from spectra mean ± sigma (planet, wavelength), in training those from which the network starts.

    reference (planet, wavelength): default mean; bump_depth_bias (planet, wavelength): default 0.
    Raises SpectraMindError for inconsistent shapes.
    """
    if mean.shape != sigma.shape or mean.ndim != 2 or wavelength.shape != mean.shape[1:]:
        raise SpectraMindError(
            f"expected mean and sigma (planet, wavelength) and wavelength (wavelength,), found {tuple(mean.shape)}, "
            f"{tuple(sigma.shape)} and {tuple(wavelength.shape)}"
        )
    bump_depth_bias = torch.zeros_like(mean) if bump_depth_bias is None else bump_depth_bias
    reference = mean if reference is None else reference
    return Context(wavelength, sigma, spread_of(low_pass(mean)), torch.ones_like(mean), reference, bump_depth_bias)


def spread_of(spectra: Tensor) -> Tensor:
    """Half of the 16–84 % range over AIRS of spectra (planet, wavelength), at least SMALLEST_AMPLITUDE, (planet,)."""
    shares = torch.tensor([0.16, 0.84], dtype=torch.float64, device=spectra.device)
    low, high = torch.quantile(spectra[:, 1:].double(), shares, dim=1)
    return (0.5 * (high - low)).clamp_min(SMALLEST_AMPLITUDE).to(spectra.dtype)


def low_pass(mu: Tensor) -> Tensor:
    """Structure of AIRS below the cutoff frequency, FGS1 unchanged; (planet, wavelength)."""
    return mu - high_pass(mu)


def high_pass(mu: Tensor) -> Tensor:
    """Structure of AIRS above the cutoff frequency, finer than the resolution; FGS1 zero; (planet, wavelength)."""
    return torch.nn.functional.pad(mu[:, 1:] @ high_pass_matrix(mu.shape[1] - 1).to(mu), (1, 0))


@lru_cache
def high_pass_matrix(bins: int) -> Tensor:
    """Symmetric projection (bin, bin) on the high frequencies of a cosine transform, whose even ends suppress leakage of slopes."""
    place = (np.arange(bins) + 0.5) / bins
    order = np.arange(bins)[:, None]
    cosines = np.sqrt(np.where(order == 0, 1, 2) / bins) * np.cos(np.pi * order * place)
    fast = cosines[order[:, 0] / (2 * bins) > CUTOFF]
    return torch.from_numpy(fast.T @ fast)
