"""Fixtures of the transit tests: a star, a planet, simulated visits and their fits."""

from types import SimpleNamespace

import numpy as np
import pytest

from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurve, LightCurves
from ariel_lib.transit.estimate import estimate_depths, make_problem
from ariel_lib.transit.fit import linearise
from ariel_lib.transit.limb_darkening import airs_coefficients, limb_darkening_prior
from ariel_lib.transit.occultation import transit_flux
from ariel_lib.transit.orbit import orbit_prior, separation
from ariel_lib.transit.search import Candidate
from ariel_lib.transit.segments import make_segments

WAVELENGTH = np.concatenate([[0.7], np.linspace(1.95, 3.9, 12)])
STAR = Star("1", Rs=1.0, Ms=1.0, Ts=5500.0, Mp=1.0, e=0.0, P=3.5, sma=9.0, i=88.0)
DEPTH = 0.012 + 2e-4 * np.sin(3 * WAVELENGTH)
LEVEL = np.concatenate([[2e6], np.linspace(3e5, 3e4, 12)])  # electrons a sample


@pytest.fixture(scope="session")
def scene():
    """observe(rng, …) → LightCurves; fit(rng, …) → DepthEstimate; and the star, depth and wavelengths simulated."""

    def fit(rng, *, star=STAR, wavelength=WAVELENGTH, **options):
        return estimate_depths([observe_visit(rng, star=star, wavelength=wavelength, **options)], star, wavelength)

    return SimpleNamespace(observe=observe_visit, fit=fit, star=STAR, depth=DEPTH, wavelength=WAVELENGTH, level=LEVEL)


@pytest.fixture(scope="session")
def problem_of():
    """(rng, …) → the Problem of one visit, and its linearisation near the solution."""

    def build(rng, *, star=STAR, **options):
        segments = make_segments([observe_visit(rng, star=star, **options)], WAVELENGTH)
        candidate = Candidate({0: 3.7}, np.log(star.sma), 0.012, 0.0)
        problem = make_problem(segments, len(WAVELENGTH), orbit_prior(star.P, star.sma, star.i), star.Ts, candidate)
        return problem, linearise(problem, DEPTH, problem.prior_mean)

    return build


def observe_visit(
    rng, *, t0=3.7, depth=DEPTH, star=STAR, visit=0, n=240, window=7.5, noise=1.0, inclination=88.0, drift=1e-3,
    extra=None, common=None, level=LEVEL, wavelength=WAVELENGTH,
):  # fmt: skip
    """Simulate one visit: limb darkening drawn from the prior, the catalogue's orbit, drift, Poisson-like noise.

    extra   factor on the flux, a function of (time (time, 1), wavelength (wavelength,))
    common  (time,)  relative noise common to all wavelengths
    """
    mean, width = limb_darkening_prior(star.Ts)
    u = mean + 0.5 * width * rng.standard_normal(6)
    time = np.linspace(0, window, n)
    b_squared = (star.sma * np.cos(np.radians(inclination))) ** 2
    z, _ = separation(time[:, None], t0, 24 * star.P, np.log(star.sma), b_squared)
    u1, u2, _ = airs_coefficients(u[2:], wavelength)
    u1[0], u2[0] = u[:2]
    flux = transit_flux(z, np.sqrt(depth), u1, u2)[0].T
    x = 2 * time / window - 1
    curve = 1 + drift * rng.standard_normal(3) @ np.stack([x, x**2, x**3])
    expected = level * flux * curve[:, None]
    if extra is not None:
        expected = expected * extra(time[:, None], wavelength)
    observed = expected * (1 + (0 if common is None else common[:, None]))
    observed = observed + noise * np.sqrt(expected) * rng.standard_normal(expected.shape)
    centroid = 0.01 * rng.standard_normal((n, 2))

    def part(columns):
        values = observed[:, columns]
        return LightCurve(
            time, values, np.maximum(expected[:, columns], 1), np.zeros_like(values), centroid, np.zeros(n),
            np.zeros(values.shape, bool),
        )  # fmt: skip

    return LightCurves(star.planet_id, visit, part(0), part(slice(1, None)))
