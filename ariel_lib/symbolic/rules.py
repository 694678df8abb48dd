"""The physical rules, one module each, listed in config.SymbolicConfig; for each a training penalty, its gradient and a map of violations.

A rule is a deviation (planet, wavelength) in (Rp/Rs)², differentiable in the spectrum, and the scale of such deviations in real
spectra with noise. Penalty: mean square of their ratio. Violation: a ratio above the module's LIMIT.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from importlib import import_module

import torch
from torch import Tensor

from ariel_lib.config import SymbolicConfig
from ariel_lib.symbolic import molecular_bands, nonnegativity
from ariel_lib.symbolic.context import Context

PRECEDENCE = ("resolution", "molecular_bands", "smoothness")  # a bin flagged by one is not flagged by later ones
REACH = 8  # bins: two resolution elements


@dataclass(frozen=True)
class Rule:
    """A physical rule: deviation(mu, context) and scale(context), both (planet, wavelength); limit in scales; literature reference."""

    deviation: Callable[[Tensor, Context], Tensor]
    scale: Callable[[Context], Tensor]
    limit: float
    reference: str


@dataclass(frozen=True)
class Violations:
    """Result of one rule, each (planet, wavelength).

    ppm      deviation in ppm
    sigmas   deviation in scales of the rule, clipped to its limit where a rule of higher precedence is violated
    flagged  True where |sigmas| exceeds the limit
    """

    ppm: Tensor
    sigmas: Tensor
    flagged: Tensor


def _load(name: str) -> Rule:
    module = import_module(f"ariel_lib.symbolic.{name}")
    return Rule(module.deviation, module.scale, module.LIMIT, module.REFERENCE)


RULES = {field.name: _load(field.name) for field in fields(SymbolicConfig)}


def penalty(name: str, mu: Tensor, context: Context) -> Tensor:
    """Mean over planets and bins of (deviation / scale)² of rule name for spectra mu (planet, wavelength), a scalar."""
    rule = RULES[name]
    return ((rule.deviation(mu, context) / rule.scale(context)) ** 2).mean()


def total_penalty(mu: Tensor, context: Context, weights: Mapping[str, float]) -> Tensor:
    """Σ weight · penalty over the rules with non-zero weight; others are not computed."""
    terms = [weight * penalty(name, mu, context) for name, weight in weights.items() if weight]
    return torch.stack(terms).sum() if terms else mu.new_zeros(())


def penalty_gradient(name: str, mu: Tensor, context: Context) -> Tensor:
    """Gradient of a rule's penalty by the spectra mu, (planet, wavelength)."""
    mu = mu.detach().requires_grad_()
    return torch.autograd.grad(penalty(name, mu, context), mu)[0]


def find_violations(mu: Tensor, context: Context) -> dict[str, Violations]:
    """Violations of each rule by spectra mu (planet, wavelength), with each defect attributed to one rule.

    Negative bins are filled from their neighbours before the other rules are applied. Where a rule of PRECEDENCE flags an AIRS
    bin, later rules do not flag it or its neighbours: the low-pass filter leaves traces at the ends of a ripple, and a spurious
    band has steep flanks.
    """
    filled = nonnegativity.fill_negative(mu)
    robust = molecular_bands.reweight(filled, context)
    found = {}
    for name, rule in RULES.items():
        tested, its_context = mu if name == "nonnegativity" else filled, robust if name == "molecular_bands" else context
        deviation = rule.deviation(tested, its_context)
        sigmas = deviation / rule.scale(its_context)
        found[name] = Violations(1e6 * deviation, sigmas, sigmas.abs() > rule.limit)
    attributed = torch.zeros_like(mu, dtype=torch.bool)
    for name in PRECEDENCE:
        limit, sigmas = RULES[name].limit, found[name].sigmas
        sigmas = torch.where(attributed, sigmas.clamp(-limit, limit), sigmas)
        found[name] = replace(found[name], sigmas=sigmas, flagged=sigmas.abs() > limit)
        attributed[:, 1:] |= _dilate(found[name].flagged[:, 1:])
    return found


def _dilate(flagged: Tensor) -> Tensor:
    """Bins (planet, bin) that are flagged or less than REACH bins from a flagged one."""
    window = 2 * REACH - 1
    return torch.nn.functional.max_pool1d(flagged[:, None].float(), window, stride=1, padding=REACH - 1)[:, 0] > 0
