"""Fixtures of the transit tests: the fit's problem and a point near its solution."""

import numpy as np
import pytest

from ariel_lib.transit.estimate import make_problem
from ariel_lib.transit.fit import linearise
from ariel_lib.transit.physical_priors import catalogue_priors
from ariel_lib.transit.search import Candidate
from ariel_lib.transit.segments import make_segments


@pytest.fixture(scope="session")
def problem_of(scene):
    """(rng, …) → the Problem of one visit, and its linearisation near the solution."""

    def build(rng, *, star=scene.star, **options):
        segments = make_segments([scene.observe(rng, star=star, **options)], scene.wavelength)
        candidate = Candidate({0: 3.7}, np.log(star.sma), 0.012, 0.0)
        problem = make_problem(segments, len(scene.wavelength), catalogue_priors(star), candidate)
        return problem, linearise(problem, scene.depth, problem.prior_mean)

    return build
