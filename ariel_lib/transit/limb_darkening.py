"""A loose prior on quadratic limb darkening from the star's effective temperature.

Means are rounded values after the tables of Claret & Bloemen 2011 (A&A 529, A75; log g 4.5, solar metallicity): R and I
for FGS1, K and Spitzer 3.6/4.5 micron for AIRS. They are not a fit to the tables, hence the widths are several times the
scatter of the tables and the light curves dominate. Check on external data: fitted u1/3 + u2/6 at 2.9 micron is 0.061 for
an ExoSim planet (prior 0.059) and 0.056 for the real planet 244787369 (prior 0.064).
"""

import numpy as np

AIRS_PIVOT = 2.9  # micron, middle of the AIRS band
AIRS_HALF_WIDTH = 1.0  # micron: AIRS limb darkening is u(λ) = u_pivot + u_slope (λ − pivot) / half width


def limb_darkening_prior(temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of (FGS1 u1, u2, AIRS u1 pivot, u1 slope, u2 pivot, u2 slope), each (6,).

    temperature K, clipped to the tables' range.
    """
    x = (np.clip(temperature, 4000.0, 7000.0) - 5750.0) / 1000.0
    mean = np.array([0.40 - 0.13 * x, 0.24 + 0.05 * x, 0.096 - 0.04 * x, -0.026, 0.19, -0.032])
    width = np.array([0.06, 0.06, 0.04, 0.02, 0.04, 0.02])
    return mean, width


def airs_coefficients(parameters: np.ndarray, wavelength: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """AIRS u1, u2 (wavelength,) from (u1 pivot, u1 slope, u2 pivot, u2 slope), and the scaled wavelength in which they are linear.

    wavelength (wavelength,) micron.
    """
    x = (wavelength - AIRS_PIVOT) / AIRS_HALF_WIDTH
    return parameters[0] + parameters[1] * x, parameters[2] + parameters[3] * x, x
