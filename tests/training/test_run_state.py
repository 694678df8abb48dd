"""ariel_lib.training.run_state: the running mean of the weights, and what survives a killed run."""

import numpy as np
import pytest
import torch

from ariel_lib.models.v50 import V50, Hyperparameters
from ariel_lib.training.run_state import RunState

DECAY = 0.9


def make_state(path, seed=0, fingerprint="one"):
    network = V50(Hyperparameters(
        channels=2, node_features=3, star_features=2, wavelength=[0.7, 2.0, 2.1, 2.2],
        d_model=16, d_state=4, depth=1, hidden=8, gnn_layers=1, seed=seed,
    ))  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    return RunState(path, fingerprint, network, optimizer, DECAY)


def step(state, rng):
    """A step of the optimiser along a random gradient."""
    for parameter in state.network.parameters():
        parameter.grad = torch.from_numpy(rng.standard_normal(parameter.shape).astype(np.float32))
    state.optimizer.step()
    state.average()


def assert_same_weights(network, expected):
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), expected[name].numpy(), err_msg=name)


def test_the_mean_is_exponential_and_starts_at_the_initial_weights(tmp_path):
    state, rng = make_state(tmp_path / "state.safetensors"), np.random.default_rng(0)
    expected = {name: value.clone() for name, value in state.network.state_dict().items()}
    for _ in range(4):
        step(state, rng)
        for name, value in state.network.state_dict().items():
            expected[name].lerp_(value, 1 - DECAY)
    assert_same_weights(state.averaged, expected)


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path, epochs):
    whole, rng = make_state(tmp_path / "whole.safetensors"), np.random.default_rng(0)
    killed, same = make_state(tmp_path / "killed.safetensors"), np.random.default_rng(0)
    for epoch in range(epochs):
        for state, draws in ((whole, rng), (killed, same)):
            step(state, draws)
            state.note(1.0, -float(epoch))
    taken_up = make_state(tmp_path / "killed.safetensors", seed=1)
    assert taken_up.resume() and taken_up.history == whole.history
    for state, draws in ((whole, rng), (taken_up, same)):
        step(state, draws)
        state.note(1.0, -9.0)
    assert_same_weights(taken_up.network, whole.network.state_dict())
    assert_same_weights(taken_up.averaged, whole.averaged.state_dict())
    for state in (whole, taken_up):
        state.restore_best()
    assert_same_weights(taken_up.network, whole.network.state_dict())


def test_a_run_of_another_fingerprint_is_not_taken_up(tmp_path):
    make_state(tmp_path / "state.safetensors").note(None, 0.0)
    assert not make_state(tmp_path / "state.safetensors", fingerprint="other").resume()


@pytest.mark.parametrize("fingerprint, said", [("one", ["goes on after epoch 1"]), ("other", ["starts over", "epoch 0"])])
def test_the_log_says_whether_a_run_goes_on_or_starts_over(tmp_path, fingerprint, said):
    state, lines = make_state(tmp_path / "state.safetensors"), []
    state.begin(lambda network: 0.5, "fit", lines.append)
    assert lines == ["epoch 0: score of the choosing planets 0.5000 (fit)"]
    state.note(1.0, 0.6)
    again, lines = make_state(tmp_path / "state.safetensors", fingerprint=fingerprint), []
    again.begin(lambda network: 0.5, "fit", lines.append)
    assert len(lines) == len(said) and all(line.startswith(start) for line, start in zip(lines, said))
    assert len(again.history) == 3 - len(said)
