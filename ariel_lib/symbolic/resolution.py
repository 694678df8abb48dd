"""Rule: a spectrum has no structure finer than the instrument resolves.

The point-spread function spans several columns, so variation above one cycle in four columns is noise or an artefact.
"""

from torch import Tensor

from ariel_lib.symbolic.context import Context, high_pass, high_pass_matrix

REFERENCE = "Tinetti et al. 2018, ExA 46, 135: resolving power of AIRS; Nyquist–Shannon"
LIMIT = 5.0  # of |deviation| / scale, beyond which a bin violates the rule
TOLERANCE = 0.06  # standard deviation in amplitudes of the planet; five of them exceed the structure in the 2025 labels


def deviation(mu: Tensor, context: Context) -> Tensor:
    """Structure of the spectrum finer than the resolution, (planet, wavelength); FGS1 zero."""
    return high_pass(mu)


def scale(context: Context) -> Tensor:
    """Standard deviation of the deviation from independent errors and from real spectra, (planet, wavelength)."""
    bins = context.sigma.shape[1] - 1
    passed = high_pass_matrix(bins).diagonal().mean().sqrt().item()  # fraction of white noise that the filter passes
    return ((passed * context.sigma) ** 2 + (TOLERANCE * context.amplitude[:, None]) ** 2).sqrt()
