"""A loose prior of quadratic limb darkening from the star's temperature.

Means are straight lines through the tables of Claret & Bloemen 2011 (A&A 529, A75; log g 4.5, solar metallicity, 4500–6500 K):
R band for FGS1, K and Spitzer 3.6/4.5 micron for AIRS. The lines are read off by hand, so the widths are larger than
the tables' own scatter; the light curve decides.
"""

import numpy as np

AIRS_PIVOT = 2.9  # micron, middle of the AIRS band
AIRS_HALF_WIDTH = 1.0  # micron: AIRS limb darkening is u(λ) = u_pivot + u_slope (λ − pivot) / half width


def limb_darkening_prior(temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of (FGS1 u1, u2, AIRS u1 pivot, u1 slope, u2 pivot, u2 slope), each (6,).

    temperature K, clipped to the tables' range.
    """
    x = (np.clip(temperature, 4000.0, 7000.0) - 5500.0) / 1000.0
    mean = np.array([0.40 - 0.13 * x, 0.22 + 0.05 * x, 0.09 - 0.04 * x, -0.02, 0.16 - 0.01 * x, -0.04])
    width = np.array([0.10, 0.10, 0.06, 0.04, 0.06, 0.04])
    return mean, width


def airs_coefficients(parameters: np.ndarray, wavelength: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u1, u2 (wavelength,) of AIRS from (u1 pivot, u1 slope, u2 pivot, u2 slope), and the scaled wavelength they are linear in."""
    x = (wavelength - AIRS_PIVOT) / AIRS_HALF_WIDTH
    return parameters[0] + parameters[1] * x, parameters[2] + parameters[3] * x, x
