"""Rule: a spectrum is a combination of molecular bands, haze and grey opacity.

Source: Lecavelier des Etangs et al. 2008 (A&A 481, L83): z(λ) = H ln σ(λ) + const. A spectrum with small features is a mean
depth plus ΔD ∝ z(λ); it is fitted by ln σ of every molecule, alone and above a grey opacity, with free scale heights. Only AIRS
is tested, below its resolution.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ariel_lib.molecules import MOLECULES, RAYLEIGH_H2, cross_section
from ariel_lib.symbolic.context import Context, low_pass, spread_of

REFERENCE = "Lecavelier des Etangs et al. 2008, A&A 481, L83"
LIMIT = 5.0  # of |deviation| / scale, beyond which a bin violates the rule
TOLERANCE = 0.6  # standard deviation, in amplitudes, of the mismatch between the templates and real line lists
RIDGE = 1e-9  # regularisation relative to the templates' power: two may be degenerate on a coarse grid
ITERATIONS = 12  # of reweighting


def templates(wavelength: tuple[float, ...]) -> tuple[tuple[str, ...], Tensor]:
    """Names of the absorbers, one per template, and templates (bin, template): a constant, the others with zero mean; unit norm.

    wavelength (bin,) micron, AIRS only.
    """
    grid = np.array(wavelength)
    names, columns = ["grey", "haze"], [np.ones(len(grid)), np.log(RAYLEIGH_H2[0] * (grid / RAYLEIGH_H2[1]) ** -4)]
    for molecule in MOLECULES:
        opacity = cross_section(molecule, grid)
        floor = np.sqrt(opacity.min() * opacity.max())
        names += [molecule, molecule]
        columns += [np.log(opacity), np.log(opacity + floor)]
    shapes = np.array(columns[1:])
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes = np.vstack([columns[:1], shapes])
    return tuple(names), torch.from_numpy((shapes / np.linalg.norm(shapes, axis=1, keepdims=True)).T)


def deviation(mu: Tensor, context: Context) -> Tensor:
    """Residual of the fit of all templates to the spectra, weighted by context.bin_weight, (planet, wavelength); FGS1 zero."""
    airs = low_pass(mu)[:, 1:]
    return torch.nn.functional.pad(airs - _fitted(airs, context.bin_weight[:, 1:], _basis(context)), (1, 0))


def scale(context: Context) -> Tensor:
    """Standard deviation of the residual from noise and template mismatch, (planet, wavelength)."""
    return (context.sigma**2 + (TOLERANCE * context.amplitude[:, None]) ** 2).sqrt()


def reweight(mu: Tensor, context: Context) -> Context:
    """Context with robust bin weights (Cauchy) and the amplitude of the fitted spectrum, for the detection of violations.

    Down-weighting outlying bins keeps a spurious band from distorting the fit elsewhere; the amplitude of the fit, where smaller,
    keeps it from increasing its own tolerance.
    """
    with torch.no_grad():
        for _ in range(ITERATIONS):
            residual = deviation(mu, context)[:, 1:]
            spread = 1.5 * residual.abs().median(dim=1, keepdim=True).values + 0.3 * context.sigma[:, 1:]
            weight = torch.nn.functional.pad(1 / (1 + (residual / (2 * spread)) ** 2), (1, 0), value=1.0)
            context = replace(context, bin_weight=weight)
        fitted = low_pass(mu) - deviation(mu, context)
    return replace(context, amplitude=torch.minimum(context.amplitude, spread_of(fitted)))


def molecule_shares(mu: Tensor, context: Context) -> dict[str, Tensor]:
    """Fraction of the AIRS variance attributed to each absorber, (planet,) by name, and the unexplained fraction ("rest").

    The fraction of an absorber is the increase of the residual variance without its templates, relative to the variance of the
    spectrum below the resolution. Absorbers overlap, hence the fractions need not add up to one. All are NaN for a spectrum that does
    not vary by more than its rounding, such as a row of training means.
    """
    airs, weight = low_pass(mu)[:, 1:], context.bin_weight[:, 1:]
    names, basis = templates(tuple(context.wavelength[1:].tolist()))
    basis = basis.to(mu)
    centred = airs - airs.mean(dim=1, keepdim=True)
    lowest, highest = mu[:, 1:].aminmax(dim=1)
    varies = highest - lowest > 8 * torch.finfo(mu.dtype).eps * highest.abs()
    total = (centred**2).sum(dim=1).where(varies, torch.nan)

    def residual(columns: list[int]) -> Tensor:
        return ((airs - _fitted(airs, weight, basis[:, columns])) ** 2).sum(dim=1) / total

    rest = residual(list(range(len(names))))
    without = {name: residual([n for n, other in enumerate(names) if other != name]) for name in dict.fromkeys(names[1:])}
    return {name: share - rest for name, share in without.items()} | {"rest": rest}


def _basis(context: Context) -> Tensor:
    """Templates (bin, template) on the context's grid, type and device."""
    return _templates_of(tuple(context.wavelength[1:].tolist())).to(context.sigma)


@lru_cache
def _templates_of(wavelength: tuple[float, ...]) -> Tensor:
    return templates(wavelength)[1]


def _fitted(spectra: Tensor, weight: Tensor, basis: Tensor) -> Tensor:
    """Weighted least-squares fit of templates (bin, template) to spectra (planet, bin), evaluated at the bins."""
    n = basis.shape[1]
    products = (basis[:, :, None] * basis[:, None, :]).flatten(1)
    gram = (weight @ products).view(-1, n, n) + RIDGE * torch.eye(n, dtype=basis.dtype, device=basis.device)
    right = (weight * spectra) @ basis
    return torch.linalg.solve(gram.double(), right.double()).to(basis) @ basis.T
