"""The rules by name, and what each gives alike: a penalty for training, its gradient, and a map of violations.

A rule is a deviation (planet, wavelength) in (Rp/Rs)², differentiable in the spectrum, and the scale on which nature and
noise make such deviations. Penalty: mean square of their ratio. Violation: a ratio beyond the limit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ariel_lib.symbolic import lensing_bump, molecular_bands, nonnegativity, resolution, smoothness
from ariel_lib.symbolic.context import Context

LIMIT = 5.0
PRECEDENCE = ("resolution", "molecular_bands", "smoothness")
REACH = 8  # bins: two resolution elements


@dataclass(frozen=True)
class Rule:
    """deviation(mu, context) and scale(context), both (planet, wavelength); limit in scales; reference to read."""

    deviation: Callable[[Tensor, Context], Tensor]
    scale: Callable[[Context], Tensor]
    limit: float
    reference: str


@dataclass(frozen=True)
class Violations:
    """deviation (planet, wavelength) in ppm; sigmas the same in scales of the rule, at most its limit where another rule has
    spoken; flagged where they pass the limit."""

    ppm: Tensor
    sigmas: Tensor
    flagged: Tensor


RULES = {
    name: Rule(module.deviation, module.scale, limit, module.REFERENCE)
    for name, module, limit in (
        ("smoothness", smoothness, LIMIT),
        ("nonnegativity", nonnegativity, 0.0),
        ("resolution", resolution, LIMIT),
        ("molecular_bands", molecular_bands, LIMIT),
        ("lensing_bump", lensing_bump, 1.0),
    )
}


def penalty(name: str, mu: Tensor, context: Context) -> Tensor:
    """Mean over planets and bins of (deviation / scale)², a scalar: zero for a spectrum that the rule has nothing against."""
    rule = RULES[name]
    return ((rule.deviation(mu, context) / rule.scale(context)) ** 2).mean()


def total_penalty(mu: Tensor, context: Context, weights: Mapping[str, float]) -> Tensor:
    """Σ weight · penalty over the rules with a weight; rules without one are not computed."""
    terms = [weight * penalty(name, mu, context) for name, weight in weights.items() if weight]
    return torch.stack(terms).sum() if terms else mu.new_zeros(())


def penalty_gradient(name: str, mu: Tensor, context: Context) -> Tensor:
    """∂penalty/∂μ, (planet, wavelength): which way each bin would have to move."""
    mu = mu.detach().requires_grad_()
    return torch.autograd.grad(penalty(name, mu, context), mu)[0]


def find_violations(mu: Tensor, context: Context) -> dict[str, Violations]:
    """What each rule has against the spectra mu (planet, wavelength), every fault by one rule alone.

    A negative bin is refuted already: the other rules judge the spectrum with it filled from its neighbours. Where a rule of
    PRECEDENCE flags an AIRS bin, the later ones keep silent about it and its neighbours: a ripple leaks into what is left
    of the spectrum at its ends, and a false band has steep flanks.
    """
    filled = nonnegativity.fill_negative(mu)
    trusted = molecular_bands.with_trust(filled, context)
    found = {}
    for name, rule in RULES.items():
        judged, known = mu if name == "nonnegativity" else filled, trusted if name == "molecular_bands" else context
        deviation = rule.deviation(judged, known)
        sigmas = deviation / rule.scale(known)
        found[name] = Violations(1e6 * deviation, sigmas, sigmas.abs() > rule.limit)
    refuted = torch.zeros_like(mu, dtype=torch.bool)
    for name in PRECEDENCE:
        limit, sigmas = RULES[name].limit, found[name].sigmas
        sigmas = torch.where(refuted, sigmas.clamp(-limit, limit), sigmas)
        found[name] = replace(found[name], sigmas=sigmas, flagged=sigmas.abs() > limit)
        refuted[:, 1:] |= _beside(found[name].flagged[:, 1:])
    return found


def _beside(flagged: Tensor) -> Tensor:
    """Bins (planet, bin) that are flagged or less than REACH away from one."""
    window = 2 * REACH - 1
    return torch.nn.functional.max_pool1d(flagged[:, None].float(), window, stride=1, padding=REACH - 1)[:, 0] > 0
