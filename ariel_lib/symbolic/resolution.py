"""No structure finer than the instrument resolves: a ripple from bin to bin is noise or an artefact, not an atmosphere.

The optics blur neighbouring columns together, so a spectrum's power above one cycle in four columns is not the planet's.
"""

from torch import Tensor

from ariel_lib.symbolic.context import Context, high_pass, high_pass_matrix

REFERENCE = "Tinetti et al. 2018, ExA 46, 135: resolving power of AIRS; Nyquist–Shannon"
TOLERANCE = 0.06  # of the planet's amplitude, one standard deviation: five of it exceed what the 2025 labels show


def deviation(mu: Tensor, context: Context) -> Tensor:
    """The part of the spectrum above the resolution, (planet, wavelength); FGS1 zero."""
    return high_pass(mu)


def scale(context: Context) -> Tensor:
    """Its standard deviation for independent errors, and what nature does."""
    bins = context.sigma.shape[1] - 1
    left = high_pass_matrix(bins).diagonal().mean().sqrt().item()
    return ((left * context.sigma) ** 2 + (TOLERANCE * context.amplitude[:, None]) ** 2).sqrt()
