"""comparison.py and rivals.py: every answer is scored on the same planets, and a rival that could know better does."""

import numpy as np
import pytest

from ariel_lib.comparison import as_csv, as_markdown, bootstrap_error, tabulate
from ariel_lib.metrics import naive_statistics, score
from ariel_lib.models.rivals import NetworkRival, RidgeRival, answer_of


def planets(n, rng, wavelengths=12):
    """Spectra that a linear map of three features gives, around a white depth."""
    hidden = rng.standard_normal((n, 3))
    white = 0.01 + 1e-3 * rng.standard_normal(n)
    mixing = np.random.default_rng(5).standard_normal((3, wavelengths))
    truth = white[:, None] + 1e-4 * hidden @ mixing + 1e-6 * rng.standard_normal((n, wavelengths))
    return hidden, white, truth


@pytest.mark.parametrize("rival", [RidgeRival(), NetworkRival(2, 32, epochs=60, learning_rate=5e-3, noise=0.0)], ids=["ridge", "mlp"])
def test_a_rival_learns_what_its_features_tell_and_states_what_it_leaves_over(rival):
    if isinstance(rival, RidgeRival):
        pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    features, white, truth = planets(200, rng)
    others, white_others, truth_others = planets(200, rng)
    mean, sigma = answer_of(rival, features, white, truth, others, white_others)
    left = np.sqrt(np.mean((truth_others - mean) ** 2))
    assert left < 0.35 * np.std(truth_others - white_others[:, None])
    assert 0.5 < left / np.sqrt(np.mean(sigma**2)) < 1.4
    assert (sigma == sigma[0]).all()


def test_a_network_rival_gives_the_same_answer_twice():
    features, white, truth = planets(40, np.random.default_rng(1))
    one, two = (answer_of(NetworkRival(2, 8, epochs=3), features, white, truth, features, white) for _ in range(2))
    for a, b in zip(one, two):
        np.testing.assert_array_equal(a, b)


def test_table_scores_as_the_challenge_does_and_pairs_the_leads():
    rng = np.random.default_rng(2)
    truth = 0.01 + 1e-3 * rng.standard_normal((50, 12))
    noise = rng.standard_normal(truth.shape)
    naive = dict(zip(("naive_mean", "naive_sigma"), naive_statistics(truth)))

    def answer(size):
        return truth + size * noise, np.full_like(truth, size)

    table = tabulate(truth, {"worse": answer(2e-4), "v50": answer(1e-4)}, naive)
    for name, size in (("worse", 2e-4), ("v50", 1e-4)):
        assert table[name]["score"] == pytest.approx(score(truth, *answer(size), **naive))
    assert table["worse"]["v50_lead"] == pytest.approx(table["v50"]["score"] - table["worse"]["score"])
    # the same noise in both: their difference is far surer than each score
    assert 0 < table["worse"]["v50_lead_error"] < 0.2 * table["worse"]["score_error"]
    assert table["v50"]["v50_lead"] == 0
    assert as_csv(table).splitlines()[1].startswith("worse,")
    assert as_markdown(table).splitlines()[-1].startswith("| v50 |")


def test_bootstrap_error_is_that_of_a_mean():
    values = np.random.default_rng(3).standard_normal(400)
    assert bootstrap_error(values) == pytest.approx(values.std() / 20, rel=0.1)
