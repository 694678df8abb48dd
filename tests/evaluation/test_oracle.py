"""evaluation.oracle: fewer free parameters give smaller sigmas, and the sigmas match the errors."""

from itertools import pairwise

import numpy as np
import pytest

from ariel_lib.evaluation.oracle import (
    ORACLES,
    Truth,
    in_drift_functions,
    oracle_answers,
    read_nuisances,
    read_truth,
    true_problem,
)
from ariel_lib.io.archive import Archive
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.tables import read_spectra


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from ariel_lib.simulator import dataset
    root = tmp_path_factory.mktemp("data")
    dataset.simulate_dataset(root, n_planets=14, n_test=6, seed=8, size="toy", level="lightcurves")
    return root


def test_sigmas_grow_with_the_free_parameters_and_match_the_errors(data):
    archive = Archive(data)
    planets = sorted(read_truth(data, "test"))
    truth = read_spectra(data / "test.csv").of(planets)
    found = oracle_answers(Dataset(data, planets=planets), archive.labels().depth)
    for (_, sigma), (_, wider) in pairwise(found[name] for name in ORACLES):
        assert np.median(sigma / wider) < 1 and (sigma < 1.05 * wider).mean() > 0.9
    for mean, stated in found.values():
        z = (mean - truth) / stated
        assert 0.5 < np.sqrt(np.mean(z**2)) < 1.8  # six planets, the bins of each correlated


@pytest.fixture(scope="module")
def disturbed(data, tmp_path_factory):
    """The planets and the noise of `data`, whose light has systematics."""
    from ariel_lib.simulator import dataset
    root = tmp_path_factory.mktemp("disturbed")
    families = "polynomial+ramp+thermal+granulation"
    dataset.simulate_dataset(root, n_planets=14, n_test=6, seed=8, size="toy", level="lightcurves", systematics=families)
    return root


def test_who_knows_the_systematics_answers_as_if_there_were_none(data, disturbed):
    labels = Archive(data).labels().depth
    planets = sorted(read_truth(data, "test"))[:2]
    without, found = (oracle_answers(Dataset(root, planets=planets), labels) for root in (data, disturbed))
    difference = np.abs(found["oracle"][0] - without["oracle"][0]) / without["oracle"][1]
    assert difference.max() < 0.1  # several standard deviations where the baseline is not taken out
    assert np.median(found["oracle_but_drift"][1] / without["oracle_but_drift"][1]) > 1


def test_drifts_of_a_split_have_their_second_moments_and_a_remainder_that_is_noise(disturbed):
    dataset, truth = Dataset(disturbed), Truth.read(disturbed, "test")
    found = read_nuisances(dataset, truth)
    segment = true_problem(dataset, truth, dataset.planets[0]).problem.segments[0]
    drifts = [in_drift_functions(segment, truth.baseline(p, v, segment)) for p, r in truth.planets.items() for v in range(len(r["drifts"]))]
    first = np.array([coefficients for coefficients, _ in drifts])
    np.testing.assert_allclose(found.drift[: first.shape[1], : first.shape[1]], first.T @ first / len(first))
    np.testing.assert_allclose(found.remainder["FGS1"], np.mean([left**2 for _, left in drifts]))
    assert 1e-11 < found.remainder["FGS1"] < 1e-8


def test_a_baseline_that_the_drift_spans_leaves_no_remainder_and_a_level_no_coefficient(disturbed):
    dataset, truth = Dataset(disturbed), Truth.read(disturbed, "test")
    segment = true_problem(dataset, truth, dataset.planets[0]).problem.segments[1]
    wanted, _ = in_drift_functions(segment, truth.baseline(dataset.planets[0], 0, segment))
    baseline = truth.baseline(dataset.planets[0], 0, segment)
    spanned = baseline - in_drift_functions(segment, baseline)[1]
    coefficients, remainder = in_drift_functions(segment, spanned + np.linspace(-1, 1, spanned.shape[1]))
    np.testing.assert_allclose(coefficients, wanted, atol=1e-12)
    assert np.abs(remainder).max() < 1e-12


def test_truth_is_empty_without_a_simulation_and_by_split_with_one(data, tmp_path):
    assert read_truth(tmp_path, "test") == {}
    assert not set(read_truth(data, "train")) & set(read_truth(data, "test"))
