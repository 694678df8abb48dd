"""COREL: ascending quantiles, pinball loss, and nominal coverage of new planets for any state of the network."""

import numpy as np
import pytest
import torch

from ariel_lib.uncertainty import corel
from ariel_lib.uncertainty.conformal import JOINT, TooFewPlanets
from ariel_lib.uncertainty.corel import Corel, QuantileNetwork, corel_features, halves, pinball_loss, train_corel

BINS = 12


def make_planets(rng, planets):
    """Errors depend on a feature that the sigmas do not include: for half of the planets they are twice as large as stated."""
    mean = rng.uniform(0.005, 0.03, (planets, BINS))
    sigma = np.full_like(mean, 1e-4)
    loud = rng.random((planets, 1)) < 0.5
    truth = mean + sigma * np.where(loud, 2.0, 1.0) * rng.standard_normal(mean.shape)
    depth = mean + 2e-4 * rng.standard_normal(mean.shape)
    features = corel_features(mean, sigma, depth, 2e-4 * np.ones_like(mean), 1e-4 * np.where(loud, 2.0, 1.0) * np.ones_like(mean))
    return features, mean, sigma, truth


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return train_corel(*make_planets(np.random.default_rng(0), 300), level=0.8, steps=200)


def test_new_planets_are_covered_marginally_and_jointly(trained):
    rng, marginal, joint = np.random.default_rng(1), [], []
    for _ in range(60):
        fitted = trained.recalibrated(*make_planets(rng, 59), 0.8)
        features, mean, sigma, truth = make_planets(rng, 100)
        marginal.append(fitted.intervals(features, mean, sigma).hits(truth).mean())
        joint.append(fitted.intervals(features, mean, sigma, JOINT).hits(truth).all(axis=1).mean())
    assert np.mean(marginal) == pytest.approx(0.8, abs=0.01)
    assert np.mean(joint) == pytest.approx(0.8, abs=3 * np.std(joint) / np.sqrt(60))


def test_coverage_is_nominal_with_an_untrained_network():
    blank = Corel(QuantileNetwork(BINS), np.zeros(5), np.ones(5), 0.8, np.ones(BINS), 1.0)
    rng, covered = np.random.default_rng(2), []
    for _ in range(60):
        fitted = blank.recalibrated(*make_planets(rng, 59), 0.9)
        features, mean, sigma, truth = make_planets(rng, 100)
        covered.append(fitted.intervals(features, mean, sigma).hits(truth).mean())
    assert np.mean(covered) == pytest.approx(54 / 60, abs=0.01)


def test_widths_follow_a_feature_that_the_sigmas_do_not_include(trained):
    features, mean, sigma, _ = make_planets(np.random.default_rng(3), 200)
    width = np.ptp([getattr(trained.intervals(features, mean, sigma), side) for side in ("lower", "upper")], axis=0).mean(axis=1)
    loud = features[:, 0, 3] > 0.3
    assert 1.5 < width[loud].mean() / width[~loud].mean() < 2.5


def test_quantiles_ascend_and_the_graph_is_sparse_without_self_loops():
    network = QuantileNetwork(BINS)
    torch.nn.init.normal_(network.read.weight)
    quantiles = network(torch.randn(3, BINS, 5))
    assert (quantiles.diff(dim=-1) >= 0).all()
    graph = network.graph().detach()
    assert (graph.diagonal() == 0).all()
    assert ((graph > 1e-6).sum(dim=1) == corel.NEIGHBOURS).all()
    assert graph.sum(dim=1) == pytest.approx(np.ones(BINS), abs=1e-5)
    network.graph().square().sum().backward()
    assert network.source.grad.abs().sum() > 0  # the choice of neighbours is trainable


def test_the_pinball_loss_is_smallest_at_the_quantile():
    draws = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    level = torch.tensor([0.9])
    losses = [pinball_loss(torch.full((4000, 1, 1), value), draws, level).item() for value in (1.0, 1.2816, 1.6)]
    assert min(losses) == losses[1]


def test_one_seed_gives_the_same_network_and_arrays_restore_it(trained):
    again = train_corel(*make_planets(np.random.default_rng(0), 300), level=0.8, steps=200)
    planets = make_planets(np.random.default_rng(4), 5)[:3]
    expected = trained.intervals(*planets)
    for other in (again, Corel.from_arrays(trained.to_arrays())):
        assert np.array_equal(other.intervals(*planets).upper, expected.upper)
    assert all(set(np.concatenate(halves(n, 0))) == set(range(n)) for n in (3, 9))


def test_few_planets_give_infinite_intervals_or_an_error():
    with pytest.warns(TooFewPlanets):
        few = train_corel(*make_planets(np.random.default_rng(5), 20), level=0.95, steps=0)
    planets = make_planets(np.random.default_rng(6), 3)[:3]
    assert np.isinf(few.intervals(*planets).upper).all()
    assert np.array_equal(few.sigmas(*planets), planets[2])
    with pytest.warns(TooFewPlanets):
        fewest = train_corel(*make_planets(np.random.default_rng(5), 3), level=0.8, steps=20)
    assert np.isinf(fewest.intervals(*planets).upper).all() and np.isfinite(fewest.recalibrated(*make_planets(
        np.random.default_rng(7), 4), 0.8).intervals(*planets).upper).all()  # fmt: skip
    features, mean, sigma, truth = make_planets(np.random.default_rng(5), 20)
    for row in range(20):  # in the half that trains the network as in the one that calibrates it
        mean[row, 3] = np.nan
        with pytest.raises(ValueError, match=rf"expected finite mean, found others in rows \[{row}\] of 20 planets"):
            train_corel(features, mean, sigma, truth, level=0.8, steps=0)
        mean[row, 3] = 0.01
    with pytest.raises(ValueError, match="at least 3 planets"):
        train_corel(*make_planets(np.random.default_rng(5), 2), level=0.8)
    with pytest.raises(ValueError, match="coverage level"):
        train_corel(*make_planets(np.random.default_rng(5), 30), level=80)
