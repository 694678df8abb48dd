"""diagnostics.attribution: attributions of functions with a known result, and of V50."""

import numpy as np
import pytest
import torch

from ariel_lib.diagnostics.attribution import BANDS, band_corrections, explain, gradient_shap, integrated_gradients
from ariel_lib.models.decoder import EXPERTS
from ariel_lib.models.inputs import Inputs
from ariel_lib.models.v50 import V50, Hyperparameters
from ariel_lib.plots.explanation_charts import GATE_NAMES

WAVELENGTH = [0.7, *torch.linspace(1.95, 3.9, 24).tolist()]


def make_planets(n=3):
    random = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(1, *shape, generator=random)

    return [
        Inputs(draw(40, 5), torch.zeros(1, 40, dtype=bool), 0.01 + 1e-4 * draw(25), torch.full((1, 25), 1e-4), draw(25, 7), draw(11))
        for _ in range(n)
    ]


def make_network(operator="rgcn"):
    network = V50(Hyperparameters(
        channels=5, node_features=7, star_features=11, wavelength=WAVELENGTH, hidden=16, d_model=16, headdim=16, seed=1,
        operator=operator,
    ))  # fmt: skip
    with torch.no_grad():  # zero at initialisation: the correction would vanish
        network.decoder.delta.weight.fill_(0.3)
    return network


def test_both_methods_are_exact_for_a_linear_function():
    weights, x = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.5, 1.0, 2.0])
    baselines = torch.tensor([[0.1, 0.2, 0.3]])
    found, error = integrated_gradients(lambda rows: rows @ weights, x, baselines[0])
    shap, shap_error = gradient_shap(lambda rows: rows @ weights, x, baselines, torch.Generator().manual_seed(0))
    expected = weights * (x - baselines[0])
    assert torch.allclose(found, expected) and torch.allclose(shap, expected)
    assert error < 1e-5 and shap_error < 1e-5


def test_integrated_gradients_of_a_product_and_its_completeness_error():
    x, zero = torch.tensor([2.0, 3.0]), torch.zeros(2)
    found, error = integrated_gradients(lambda rows: rows[:, 0] * rows[:, 1], x, zero)
    assert torch.allclose(found, torch.tensor([3.0, 3.0]), atol=1e-5) and error < 1e-5
    _, coarse = integrated_gradients(lambda rows: rows[:, 0] ** 4, x, zero, steps=2)
    assert coarse > 0.1  # two steps do not integrate a fourth power


def test_band_corrections_equals_the_networks_correction():
    network, planet = make_network(), make_planets(1)[0]
    with torch.no_grad():
        prediction = network.eval()(planet)
        function, point = band_corrections(network, planet, prediction.embedding)
        moved = 1e6 * (prediction.mean - planet.mean)[0, 1:]
    assert torch.allclose(function(point[None])[0], torch.stack([p.mean() for p in moved.tensor_split(BANDS)]), atol=1e-2)
    assert function(point[None]).abs().max() > 1


def test_explain_is_complete_and_reproducible():
    network, planets = make_network(), make_planets()
    first, second = (explain(network, planets, 2, seed=5) for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)
    assert first["embedding"].shape == (3, 32) and first["gates"].shape == (3, 25, len(EXPERTS))
    assert first["ig"].shape == first["shap"].shape == (2, BANDS, 25)
    assert first["ig_error"].max() < 0.05 * abs(first["correction"]).max()


def test_the_charts_order_the_gates_as_the_decoder_does():
    assert GATE_NAMES == EXPERTS


@pytest.mark.parametrize("operator", ["rgcn", "gatv2"])
def test_edge_shares_of_each_target_sum_to_one(operator):
    network, planets = make_network(operator), make_planets()
    arrays = explain(network, planets, 2, seed=5)
    edges = arrays["edge_index"].shape[1]
    assert arrays["edge_share"].shape == (2, 3, edges) and arrays["edge_type"].shape == (edges,)
    assert ("attention" in arrays) is (operator == "gatv2")
    reached = np.zeros(len(WAVELENGTH))
    np.add.at(reached, arrays["edge_index"][1], arrays["edge_share"][0, 0])
    assert np.allclose(reached[reached > 0], 1, atol=1e-5)
    assert abs(arrays["edge_share"][0] - arrays["edge_share"][1]).max() > 1e-4  # different for each planet
    assert not network.gnn._forward_pre_hooks
