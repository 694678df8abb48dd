"""Population corrections: each is applied to an estimate once and in one order, and none is fitted to its own result."""

import numpy as np
import pytest

from ariel_lib.errors import SpectraMindError
from ariel_lib.transit.population.corrections import PopulationCorrections
from ariel_lib.transit.population.multiplicative_bias import MultiplicativeBias, fit_multiplicative_bias
from ariel_lib.transit.population.nuisance_prior import NuisancePrior, fit_nuisance_prior
from ariel_lib.transit.result import (
    B_SQUARED_KIND,
    KINDS,
    LOG_A_KIND,
    CorrectionKind,
    DepthEstimate,
    load_estimate,
    save_estimate,
)

N = 5
NUISANCE, BIAS = NuisancePrior(0.3 * np.eye(KINDS)), MultiplicativeBias(np.full(N, 0.02), 1e-6 * np.eye(N))
UNKNOWN, NONE = NuisancePrior.unknown(), MultiplicativeBias.none(N)


@pytest.fixture
def estimate():
    rng = np.random.default_rng(0)
    return DepthEstimate(
        "7", np.full(N, 0.01), 1e-8 * np.eye(N), np.full(N, 1e-4), np.ones(N), np.ones(N), np.zeros(8), np.array([0.1, -0.2]),
        np.diag([0.5, 0.4]), 1e-5 * rng.standard_normal((N, 2)), np.array([LOG_A_KIND, B_SQUARED_KIND]), (), (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (NUISANCE, NUISANCE), (BIAS, BIAS), (BIAS, NUISANCE), (UNKNOWN, NUISANCE), (NONE, NUISANCE), (NONE, BIAS),
        (PopulationCorrections(NUISANCE, BIAS), PopulationCorrections(NUISANCE, BIAS)),
    ],
)  # fmt: skip
def test_a_correction_is_applied_once_and_the_nuisance_prior_first(estimate, first, second):
    once = first.condition(estimate)
    with pytest.raises(SpectraMindError, match=r"planet 7, .*: expected an estimate without this population correction or a later one"):
        second.condition(once)


def test_both_corrections_in_their_order_and_their_marks_on_disk(estimate, tmp_path):
    found = PopulationCorrections(NUISANCE, BIAS).condition(estimate)
    assert estimate.corrections == () and found.corrections == tuple(CorrectionKind)
    assert (found.sigma < estimate.sigma).all() and np.abs(found.depth / estimate.depth - 1 / 1.02).max() < 0.01
    save_estimate(tmp_path / "e.safetensors", found, "source")
    assert load_estimate(tmp_path / "e.safetensors").corrections == found.corrections


def test_corrections_that_say_nothing_change_no_value(estimate):
    found = PopulationCorrections(UNKNOWN, NONE).condition(estimate)
    for name in ("depth", "covariance", "sigma_uncorrelated"):
        assert getattr(found, name) is getattr(estimate, name)


def test_no_correction_is_fitted_to_estimates_that_it_corrected(estimate):
    by_nuisance, wavelength = NUISANCE.condition(estimate), np.array([0.7, 2.0, 2.5, 3.0, 3.5])
    with pytest.raises(SpectraMindError, match="nuisance prior: expected an estimate without"):
        fit_nuisance_prior([estimate, by_nuisance])
    truth = np.full((1, N), 0.01)
    assert not fit_multiplicative_bias([by_nuisance], truth, wavelength).mean.any()
    with pytest.raises(SpectraMindError, match="multiplicative bias: expected an estimate without"):
        fit_multiplicative_bias([BIAS.condition(by_nuisance)], truth, wavelength)
