"""A spectrum bends no faster than its own bands do, and does not jump between the instruments.

Curvature is judged against the planet's own amplitude: 50 ppm of bend is nothing to a hot Jupiter in a clear sky and
impossible for a planet whose whole spectrum varies by 10. Only what lies below the resolution is judged here.
"""

import torch
from torch import Tensor

from ariel_lib.symbolic.context import Context, low_pass

REFERENCE = "second-difference penalty: Whittaker 1923, Proc. Edinb. Math. Soc. 41, 63; Eilers 2003, Anal. Chem. 75, 3631"
STEP = 2  # bins: half of the resolution element
NEAREST = 10  # AIRS bins that FGS1 is compared with
# One standard deviation of what nature does, in amplitudes; five of them exceed what all but a few 2025 labels show.
CURVATURE_TOLERANCE = 0.35
JUMP_TOLERANCE = 4.0
JUMP_FLOOR = 5e-5  # flat spectra in AIRS may still have a haze that FGS1 sees


def deviation(mu: Tensor, context: Context) -> Tensor:
    """Second difference over STEP bins in AIRS, and FGS1 minus the nearest AIRS bins; (planet, wavelength)."""
    smooth = low_pass(mu)
    airs = smooth[:, 1:]
    jump = mu[:, :1] - airs[:, :NEAREST].mean(dim=1, keepdim=True)
    bend = airs[:, : -2 * STEP] - 2 * airs[:, STEP:-STEP] + airs[:, 2 * STEP :]
    return torch.cat([jump, torch.nn.functional.pad(bend, (STEP, STEP))], dim=1)


def scale(context: Context) -> Tensor:
    """Its standard deviation for independent errors (√(1 + 4 + 1)), and what nature does."""
    own = context.amplitude[:, None] * torch.full_like(context.sigma, CURVATURE_TOLERANCE)
    own[:, :1] = ((JUMP_TOLERANCE * context.amplitude) ** 2 + JUMP_FLOOR**2).sqrt()[:, None]
    errors = 6**0.5 * context.sigma
    errors = torch.cat([context.sigma[:, :1], errors[:, 1:]], dim=1)
    return (errors**2 + own**2).sqrt()
