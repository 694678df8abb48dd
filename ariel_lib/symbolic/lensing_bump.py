"""Rule: a spectrum is free of the depth bias that an achromatic bump in the light curves causes in a transit fit.

Lensing by a compact body is achromatic (Agol 2003, astro-ph/0303457). The depth bias is part of the context; transit.bumps
computes it from light curves.
"""

from torch import Tensor

from ariel_lib.symbolic.context import Context

REFERENCE = "Agol 2003, ApJ 594, 449 (astro-ph/0303457)"
LIMIT = 1.0  # of |deviation| / scale, beyond which a bin violates the rule


def deviation(mu: Tensor, context: Context) -> Tensor:
    """Projection of mu − reference on the bump's depth bias, (planet, wavelength); zero without a bump."""
    weighted = context.bump_depth_bias / context.sigma**2
    power = (weighted * context.bump_depth_bias).sum(dim=1, keepdim=True)
    share = ((mu - context.reference) * weighted).sum(dim=1, keepdim=True) / power.clamp_min(1e-30)
    return share * context.bump_depth_bias


def scale(context: Context) -> Tensor:
    """Standard deviation of the spectrum, (planet, wavelength)."""
    return context.sigma
