"""The star's disc as the planet sees it: unocculted spots and faculae, and limb darkening that is not the fit's.

Both change the transit, not the light outside it; they are drawn once for a planet. ranges.py has sizes and sources.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from ariel_lib.io.layout import Star
from ariel_lib.simulator.star import planck_photons
from ariel_lib.simulator.systematics.occultation import LimbDarkening
from ariel_lib.simulator.systematics.ranges import draw_parameters
from ariel_lib.simulator.systematics.terms import contrast

_MU = np.linspace(0.05, 1.0, 20)
_DEPTHS, _DEPTH_WEIGHTS = np.polynomial.laguerre.laggauss(24)
_KNOTS = np.array([0.7, 1.9, 2.4, 2.9, 3.4, 4.0])  # micron, where profiles are fitted; FGS1, then AIRS
DISC_FAMILIES = ("unocculted_spots", "limb_darkening")


@dataclass(frozen=True)
class Disc:
    """A star's disc. depth_factor (wavelength,): true over geometric transit depth; limb_darkening None: the planet's own.

    parameters: as drawn, by family and name.
    """

    depth_factor: np.ndarray
    limb_darkening: LimbDarkening | None
    parameters: dict[str, dict[str, float]]


def draw_disc(families: Sequence[str], star: Star, wavelength: np.ndarray, rng: np.random.Generator) -> Disc:
    """Draw what the families that change the transit do to it; wavelength (wavelength,) micron, FGS1 first."""
    factor, law, drawn = np.ones(len(wavelength)), None, {}
    for family in DISC_FAMILIES:
        p = draw_parameters(family, rng)  # drawn for families left out too, so that the others' do not depend on the choice
        if family not in families:
            continue
        drawn[family] = p
        if family == "unocculted_spots":
            factor = contamination(wavelength, star.Ts, p)
        else:
            law = darkened_disc(wavelength, star.Ts, p)
    return Disc(factor, law, drawn)


def contamination(wavelength: np.ndarray, temperature: float, p: dict[str, float]) -> np.ndarray:
    """ε(λ) = 1 / (1 − f_s (1 − F_s/F) − f_f (1 − F_f/F)), by which the depth is multiplied, (wavelength,).

    The transit light source effect (Rackham et al. 2018, ApJ 853, 122) of spots and faculae off the transit chord, as black bodies.
    """
    spots = p["spot_coverage"] * contrast(wavelength, (1 - p["spot_deficit"]) * temperature, temperature)
    faculae = p["facula_coverage"] * contrast(wavelength, temperature + p["facula_excess"], temperature)
    return 1 / (1 - spots - faculae)


def grey_intensity(mu: np.ndarray, wavelength: np.ndarray, temperature: float, opacity: np.ndarray, hopf: float) -> np.ndarray:
    """I(μ)/I(1) of a grey atmosphere in radiative equilibrium, T⁴ = ¾ T_eff⁴ (τ + q), (wavelength, mu).

    Eddington 1926; Mihalas 1978, Stellar Atmospheres, ch. 3. The emergent intensity is ∫ B(T(τ)) e^(−κτ/μ) κ dτ/μ.

    mu (mu,); wavelength, opacity κ over the Rosseland mean (wavelength,); hopf q.
    """
    depth = _DEPTHS * np.append(mu, 1.0)[:, None] / opacity[:, None, None]  # (wavelength, mu, node)
    source = planck_photons(wavelength[:, None, None], temperature * (0.75 * (depth + hopf)) ** 0.25)
    light = source @ _DEPTH_WEIGHTS
    return light[:, :-1] / light[:, -1:]


def darkened_disc(wavelength: np.ndarray, temperature: float, p: dict[str, float]) -> LimbDarkening:
    """Power-2 or four-parameter law fitted to a grey atmosphere with the opacity of H⁻, smooth in wavelength over AIRS.

    The opacity grows as λ² in the infrared (free-free absorption). The fit's own tables come from ATLAS models.
    """
    opacity = np.where(_KNOTS < 1.0, p["visible_opacity"], p["infrared_opacity"] * (_KNOTS / 2.0) ** 2)
    profile = grey_intensity(_MU, _KNOTS, temperature, opacity, p["hopf"])
    if p["law"] < 1:
        return LimbDarkening.power2(*_between_knots(np.array([_fit_power2(row) for row in profile]), wavelength).T)
    halves = np.arange(1, 5) / 2
    c = np.linalg.lstsq(1 - _MU[:, None] ** halves, (1 - profile).T, rcond=None)[0].T
    return LimbDarkening.four_parameter(_between_knots(c, wavelength))


def _fit_power2(profile: np.ndarray) -> np.ndarray:
    """c and α of the power-2 law closest to a profile at _MU, (2,)."""

    def residual(x: np.ndarray) -> np.ndarray:
        return 1 - x[0] * (1 - _MU ** np.exp(x[1])) - profile

    c, log_alpha = least_squares(residual, (0.5, -0.4)).x
    return np.array([c, np.exp(log_alpha)])


def _between_knots(values: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
    """Coefficients at each wavelength from those at _KNOTS: the first knot for FGS1, a cubic in wavelength over the others."""
    airs = np.polynomial.polynomial.polyfit(_KNOTS[1:] - 2.9, values[1:], 3)
    return np.where((wavelength < 1.0)[:, None], values[0], np.polynomial.polynomial.polyval(wavelength - 2.9, airs).T)


def closest_quadratic(law: LimbDarkening) -> np.ndarray:
    """u1, u2 of the quadratic law closest to another, (wavelength, 2), by least squares in μ."""
    basis = np.stack([1 - _MU, (1 - _MU) ** 2], axis=1)
    return np.linalg.lstsq(basis, 1 - law.intensity(_MU).T, rcond=None)[0].T
