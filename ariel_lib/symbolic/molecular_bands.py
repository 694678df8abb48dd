"""Which molecules explain a spectrum, and what remains.

Source: Lecavelier des Etangs et al. 2008 (A&A 481, L83): z(λ) = H ln σ(λ) + const. A spectrum of small features is a mean
depth plus ΔD ∝ z(λ), so it is projected on ln σ of every molecule, once by itself and once half drowned in a grey opacity,
with the scale heights free. Only AIRS is judged, below its resolution.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ariel_lib.molecules import BANDS, RAYLEIGH_H2, cross_section
from ariel_lib.symbolic.context import Context, low_pass, spread_of

REFERENCE = "Lecavelier des Etangs et al. 2008, A&A 481, L83"
TOLERANCE = 0.6  # of the amplitude, one standard deviation: templates are not the line lists behind real spectra
RIDGE = 1e-9  # of the templates' power: two of them may be alike on a coarse grid
ROUNDS = 12


def templates(wavelength: tuple[float, ...]) -> tuple[tuple[str, ...], Tensor]:
    """Owner of each template, and templates (bin, template), zero mean and unit length but for the constant first one.

    wavelength (bin,) micron, AIRS only.
    """
    grid = np.array(wavelength)
    owners, columns = ["grey", "haze"], [np.ones(len(grid)), np.log(RAYLEIGH_H2[0] * (grid / RAYLEIGH_H2[1]) ** -4)]
    for molecule in BANDS:
        opacity = cross_section(molecule, grid)
        floor = np.sqrt(opacity.min() * opacity.max())
        owners += [molecule, molecule]
        columns += [np.log(opacity), np.log(opacity + floor)]
    shapes = np.array(columns[1:])
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes = np.vstack([columns[:1], shapes])
    return tuple(owners), torch.from_numpy((shapes / np.linalg.norm(shapes, axis=1, keepdims=True)).T)


def deviation(mu: Tensor, context: Context) -> Tensor:
    """What no mixture of the molecules explains, (planet, wavelength); FGS1 zero. Bins weigh by context.trust."""
    smooth = low_pass(mu)[:, 1:]
    return torch.nn.functional.pad(smooth - _explained(smooth, context.trust[:, 1:], _basis(context)), (1, 0))


def scale(context: Context) -> Tensor:
    return (context.sigma**2 + (TOLERANCE * context.amplitude[:, None]) ** 2).sqrt()


def with_trust(mu: Tensor, context: Context) -> Context:
    """The context for judging: bins that the others contradict lose their say (Cauchy weights), so that a false band is
    found where it stands and not smeared over the spectrum by the fit; and the planet's amplitude is that of what molecules
    explain, so that a fault does not excuse itself."""
    with torch.no_grad():
        for _ in range(ROUNDS):
            left = deviation(mu, context)[:, 1:]
            spread = 1.5 * left.abs().median(dim=1, keepdim=True).values + 0.3 * context.sigma[:, 1:]
            trust = torch.nn.functional.pad(1 / (1 + (left / (2 * spread)) ** 2), (1, 0), value=1.0)
            context = replace(context, trust=trust)
        explained = low_pass(mu) - deviation(mu, context)
    return replace(context, amplitude=torch.minimum(context.amplitude, spread_of(explained)))


def molecule_shares(mu: Tensor, context: Context) -> dict[str, Tensor]:
    """How much each molecule explains: the AIRS variance that is lost without it, and what no molecule explains ("rest").

    Shares (planet,) of the variance of the spectrum below the resolution; molecules overlap, so they need not add to one.
    """
    smooth, trust = low_pass(mu)[:, 1:], context.trust[:, 1:]
    owners, basis = templates(tuple(context.wavelength[1:].tolist()))
    basis = basis.to(mu)
    centred = smooth - smooth.mean(dim=1, keepdim=True)
    total = (centred**2).sum(dim=1).clamp_min(1e-30)

    def left(columns: list[int]) -> Tensor:
        return ((smooth - _explained(smooth, trust, basis[:, columns])) ** 2).sum(dim=1) / total

    rest = left(list(range(len(owners))))
    without = {name: left([n for n, owner in enumerate(owners) if owner != name]) for name in dict.fromkeys(owners[1:])}
    return {name: share - rest for name, share in without.items()} | {"rest": rest}


def _basis(context: Context) -> Tensor:
    return _templates_of(tuple(context.wavelength[1:].tolist())).to(context.sigma)


@lru_cache
def _templates_of(wavelength: tuple[float, ...]) -> Tensor:
    return templates(wavelength)[1]


def _explained(spectra: Tensor, trust: Tensor, basis: Tensor) -> Tensor:
    """Weighted least-squares fit of templates (bin, template) to spectra (planet, bin)."""
    n = basis.shape[1]
    products = (basis[:, :, None] * basis[:, None, :]).flatten(1)
    gram = (trust @ products).view(-1, n, n) + RIDGE * torch.eye(n, dtype=basis.dtype, device=basis.device)
    right = (trust * spectra) @ basis
    return torch.linalg.solve(gram.double(), right.double()).to(basis) @ basis.T
