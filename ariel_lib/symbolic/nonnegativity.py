"""Rule: a transit depth is an area ratio and cannot be negative; the challenge rejects submissions with a negative depth."""

import torch
from torch import Tensor

from ariel_lib.symbolic.context import Context

REFERENCE = "Seager & Mallén-Ornelas 2003, ApJ 585, 1038: depth = (Rp/Rs)²"
LIMIT = 0.0  # of |deviation| / scale, beyond which a bin violates the rule


def deviation(mu: Tensor, context: Context) -> Tensor:
    """Amount by which the depth is below zero, (planet, wavelength)."""
    return torch.relu(-mu)


def scale(context: Context) -> Tensor:
    """Standard deviation of the spectrum, (planet, wavelength)."""
    return context.sigma


def fill_negative(mu: Tensor) -> Tensor:
    """Replace negative bins of spectra (planet, wavelength): AIRS by interpolation, FGS1 by the first AIRS bin.

    A spectrum negative in all AIRS bins is returned unchanged.
    """
    out = mu.clone()
    for planet in (mu < 0).any(dim=1).nonzero().flatten().tolist():
        airs = mu[planet, 1:]
        bad, place = airs < 0, torch.arange(len(airs), dtype=mu.dtype)
        if bad.all():
            continue
        good = (~bad).nonzero().flatten()
        after = torch.searchsorted(good, bad.nonzero().flatten()).clamp(max=len(good) - 1)
        before = (after - 1).clamp(min=0)
        left, right = good[before], good[after]
        share = ((place[bad] - left) / (right - left).clamp(min=1)).clamp(0, 1)
        out[planet, 1:][bad] = airs[left] * (1 - share) + airs[right] * share
        if mu[planet, 0] < 0:
            out[planet, 0] = out[planet, 1]
    return out
