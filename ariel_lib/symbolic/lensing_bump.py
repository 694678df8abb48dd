"""A spectrum must not follow the depth that an achromatic bump in the light curves adds where it is not told from the transit.

Lensing by a compact body is achromatic (Agol 2003, astro-ph/0303457). The bump, and the bias in depth that it causes, come with
the context: transit.bumps finds them in light curves.
"""

from torch import Tensor

from ariel_lib.symbolic.context import Context

REFERENCE = "Agol 2003, ApJ 594, 449 (astro-ph/0303457)"


def deviation(mu: Tensor, context: Context) -> Tensor:
    """The part of mu − reference that follows the bump's bump_depth_bias, (planet, wavelength); zero where there is no bump."""
    weighted = context.bump_depth_bias / context.sigma**2
    power = (weighted * context.bump_depth_bias).sum(dim=1, keepdim=True)
    share = ((mu - context.reference) * weighted).sum(dim=1, keepdim=True) / power.clamp_min(1e-30)
    return share * context.bump_depth_bias


def scale(context: Context) -> Tensor:
    return context.sigma
