"""ariel_lib.training.network: every configuration that is accepted makes a network."""

import numpy as np
import pytest

from ariel_lib.config import Config, ConfigError, ModelConfig
from ariel_lib.training.network import make_network


@pytest.mark.parametrize("operator", ["rgcn", "gatv2", "nnconv"])
def test_a_network_can_be_made_of_every_size_that_the_configuration_takes(operator):
    for depth, layers in ((1, 0), (0, 1)):
        for size in (6, 12, 16):
            sizes = {"d_model": size, "hidden": size, "ssm_depth": depth, "gnn_layers": layers, "bin_width": 1, "operator": operator}
            try:
                config = Config(model=ModelConfig(**sizes))
            except ConfigError as error:
                assert size % 16 if depth else size % 4
                assert f"model.{'d_model' if depth else 'hidden'}: expected a multiple" in str(error)
            else:
                make_network(config, np.array([0.7, 2.0, 2.1, 2.2]))
