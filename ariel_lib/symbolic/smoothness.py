"""Rule: the curvature of a spectrum is limited, and so is the step between FGS1 and AIRS.

Both are measured relative to the amplitude of the planet's spectrum: a curvature of 50 ppm is small for a clear hot Jupiter but
impossible for a planet whose whole spectrum varies by 10 ppm. Only structure below the resolution is tested.
"""

import torch
from torch import Tensor

from ariel_lib.symbolic.context import Context, low_pass

REFERENCE = "second-difference penalty: Whittaker 1923, Proc. Edinb. Math. Soc. 41, 63; Eilers 2003, Anal. Chem. 75, 3631"
LIMIT = 5.0  # of |deviation| / scale, beyond which a bin violates the rule
STEP = 2  # bins: half of a resolution element
NEAREST = 10  # AIRS bins with which FGS1 is compared
# Standard deviations in real spectra, in amplitudes; five of them exceed the values of all but a few 2025 labels.
CURVATURE_TOLERANCE = 0.35
JUMP_TOLERANCE = 4.0
JUMP_FLOOR = 5e-5  # a spectrum flat in AIRS may have a haze slope towards FGS1


def deviation(mu: Tensor, context: Context) -> Tensor:
    """Second difference over STEP bins in AIRS, and FGS1 minus the mean of the nearest AIRS bins; (planet, wavelength)."""
    airs = low_pass(mu)[:, 1:]
    jump = mu[:, :1] - airs[:, :NEAREST].mean(dim=1, keepdim=True)
    bend = airs[:, : -2 * STEP] - 2 * airs[:, STEP:-STEP] + airs[:, 2 * STEP :]
    return torch.cat([jump, torch.nn.functional.pad(bend, (STEP, STEP))], dim=1)


def scale(context: Context) -> Tensor:
    """Standard deviation of the deviation from independent errors (√(1 + 4 + 1) σ) and from real spectra, (planet, wavelength)."""
    tolerance = context.amplitude[:, None] * torch.full_like(context.sigma, CURVATURE_TOLERANCE)
    tolerance[:, :1] = ((JUMP_TOLERANCE * context.amplitude) ** 2 + JUMP_FLOOR**2).sqrt()[:, None]
    errors = 6**0.5 * context.sigma
    errors = torch.cat([context.sigma[:, :1], errors[:, 1:]], dim=1)
    return (errors**2 + tolerance**2).sqrt()
