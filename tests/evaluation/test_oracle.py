"""evaluation.oracle: fewer free parameters give smaller sigmas, and the sigmas match the errors."""

from itertools import pairwise

import numpy as np
import pytest

from ariel_lib.evaluation.oracle import ORACLES, oracle_answers, read_truth
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


def test_truth_is_empty_without_a_simulation_and_by_split_with_one(data, tmp_path):
    assert read_truth(tmp_path, "test") == {}
    assert not set(read_truth(data, "train")) & set(read_truth(data, "test"))
