"""Exported programs agree with the network for every operator, for another planet than the example of the export."""

import pytest
import torch

from ariel_lib.models.ensemble import Ensemble
from ariel_lib.models.exported import export_network, tensors_of
from ariel_lib.models.inputs import Inputs
from ariel_lib.models.v50 import V50, Hyperparameters

WAVELENGTH = [0.7, 2.0, 2.2, 2.5, 2.7, 2.9, 3.3, 3.5, 3.8]


def network(operator, seed):
    small = {"d_model": 8, "d_state": 4, "headdim": 8, "hidden": 8, "gnn_layers": 1, "embedding": 8, "bin_width": 4}
    built = V50(Hyperparameters(channels=5, node_features=7, star_features=3, wavelength=WAVELENGTH, operator=operator, seed=seed, **small))
    torch.nn.init.normal_(built.decoder.delta.weight, generator=torch.Generator().manual_seed(seed))
    torch.nn.init.normal_(built.decoder.log_scale.weight, generator=torch.Generator().manual_seed(seed + 1))
    return built.eval()


def planet(seed):
    g, n = torch.Generator().manual_seed(seed), len(WAVELENGTH)
    mean, sigma = 0.01 * torch.rand(1, n, generator=g), 1e-5 + 1e-4 * torch.rand(1, n, generator=g)
    mask = torch.rand(1, 200, generator=g) < 0.1
    fgs1, nodes, star = (torch.randn(*shape, generator=g) for shape in ((1, 200, 5), (1, n, 7), (1, 3)))
    return Inputs(fgs1, mask, mean, sigma, nodes, star)


@pytest.mark.parametrize("operator", ["rgcn", "gatv2", "nnconv"])
def test_the_exported_program_agrees_with_the_network(operator):
    ensemble = Ensemble([network(operator, 0), network(operator, 5)])
    program, other = export_network(ensemble, planet(0)).module(), planet(1)
    with torch.no_grad():
        expected = ensemble(other)
        mean, sigma = program(*tensors_of(other))
    assert (expected.mean - other.mean).abs().max() > 1e-6  # the correction is not zero
    torch.testing.assert_close(mean, expected.mean, rtol=1e-5, atol=0)
    torch.testing.assert_close(sigma, expected.sigma, rtol=1e-5, atol=0)
