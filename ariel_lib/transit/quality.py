"""What makes a planet's physical estimate unfit to be catalogue_mean: it comes from damaged data whatever its error bars say.

Knows estimates, no files and no network. The bounds are far outside what real and simulated planets show.
"""

import numpy as np

from ariel_lib.transit.result import DepthEstimate, Flag

DEEPEST = 0.25  # (Rp/Rs)²: half the star's radius; the deepest label of 2025 is well below
QUIETEST = 0.1  # residual variance over propagated variance: photons cannot be quieter than Poisson


def rejection_reason(estimate: DepthEstimate) -> str | None:
    """Why no spectrum should be read off this estimate, or None."""
    weight = estimate.sigma_uncorrelated**-2
    if not (np.isfinite(estimate.depth).all() and np.isfinite(estimate.covariance).all() and np.isfinite(weight).all()):
        return "the fit gave no finite depths"
    if (np.diag(estimate.covariance) <= 0).any():
        return "the fit gave a variance that is not positive"
    if Flag.NO_TRANSIT in estimate.flags:
        return "no transit was found, and every star here has one"
    if not (estimate.level > 0).any():
        return "no light at any wavelength"
    depth = float(np.average(estimate.depth, weights=weight))
    if not 0 < depth < DEEPEST:
        return f"a mean depth of {depth:.3g} is not a planet's"
    quiet = [curve.instrument for curve in estimate.white if curve.chi2 < QUIETEST]
    if quiet:
        return f"{', '.join(sorted(set(quiet)))} is quieter than light can be"
    return None
