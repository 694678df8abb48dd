"""State-space encoder: scans agree with the recurrence, causality, masks, binning, kernel of mamba-ssm."""

import importlib.util
import math
import os
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ariel_lib.models import ssm
from ariel_lib.models.ssm import FGS1Encoder, Mamba2, bin_time, pool_time, scan_chunked, scan_sequential

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
CHUNK = 16


def system(length, dtype, step_spread=1.0, planets=2, heads=3, headdim=4, d_state=5, seed=0):
    """Random x, dt, A, B, C of a recurrence, with gradients."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, dtype=dtype, generator=generator)

    x = draw(planets, length, heads, headdim)
    dt = F.softplus(step_spread * draw(planets, length, heads) - 1)
    A = -torch.rand(heads, dtype=dtype, generator=generator) * 4
    return [v.requires_grad_() for v in (x, dt, A, draw(planets, length, d_state), draw(planets, length, d_state))]


def relative_error(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("length", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 100])
def test_scan_chunked_and_its_gradients_equal_those_of_the_recurrence(length, dtype):
    arguments = system(length, dtype)
    expected = scan_sequential(*arguments)
    found = scan_chunked(*arguments, chunk=CHUNK)
    cotangent = torch.cos(torch.arange(found.numel(), dtype=dtype)).view_as(found)
    # With a single step there is no decay, hence no gradient with respect to A.
    inputs = arguments if length > 1 else [v for i, v in enumerate(arguments) if i != 2]
    assert relative_error(found, expected) < TOLERANCE[dtype]
    for a, b in zip(
        torch.autograd.grad(found, inputs, cotangent), torch.autograd.grad(expected, inputs, cotangent), strict=True
    ):
        assert relative_error(a, b) < TOLERANCE[dtype]


def test_scan_chunked_is_accurate_for_steps_that_differ_by_orders_of_magnitude():
    arguments = system(500, torch.float32, step_spread=20.0)
    reference = scan_sequential(*(v.double() for v in arguments))
    assert relative_error(scan_chunked(*arguments), reference) < 1e-6


@pytest.mark.parametrize("scan", [scan_sequential, scan_chunked])
def test_scan_of_a_constant_step_is_the_geometric_series(scan):
    length, dt, A = 40, 0.3, -0.7
    ones = torch.ones(1, length, 1, dtype=torch.float64)
    y = scan(ones[..., None], dt * ones, torch.tensor([A], dtype=torch.float64), ones, ones).flatten()
    decay = math.exp(dt * A)
    expected = dt * (1 - decay ** torch.arange(1, length + 1, dtype=torch.float64)) / (1 - decay)
    assert torch.allclose(y, expected, rtol=1e-12)


@pytest.mark.parametrize("scan", [scan_sequential, scan_chunked])
def test_scan_leaves_its_inputs_unchanged(scan):
    arguments = system(20, torch.float32)
    before = [v.detach().clone() for v in arguments]
    scan(*arguments).sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(arguments, before, strict=True))


class CountedElements(TorchDispatchMode):
    """Counts the elements of all tensors created while it is active."""

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        outputs = result if isinstance(result, tuple | list) else [result]
        self.total += sum(v.numel() for v in outputs if isinstance(v, torch.Tensor))
        return result


def test_the_cost_of_the_backward_pass_is_linear_in_length():
    def elements(length):
        y = scan_chunked(*system(length, torch.float32), chunk=4).sum()
        with CountedElements() as counted:
            y.backward()
        return counted.total

    # Ten times the steps: a backward pass that writes all states at each chunk writes a hundred times as much.
    assert elements(4000) == pytest.approx(10 * elements(400), rel=0.05)


def test_mamba2_has_the_parameters_of_mamba_ssm():
    d_model, d_state, headdim, d_inner = 16, 8, 4, 32
    heads, width = d_inner // headdim, d_inner + 2 * d_state
    shapes = {name: tuple(value.shape) for name, value in Mamba2(d_model, d_state, headdim).state_dict().items()}
    assert shapes == {
        "dt_bias": (heads,),
        "A_log": (heads,),
        "D": (heads,),
        "in_proj.weight": (2 * d_inner + 2 * d_state + heads, d_model),
        "conv1d.weight": (width, 1, 4),
        "conv1d.bias": (width,),
        "norm.weight": (d_inner,),
        "out_proj.weight": (d_model, d_inner),
    }


def test_mamba2_is_causal():
    block = Mamba2(8, 4, 4, chunk=CHUNK).double()
    u = torch.randn(1, 50, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = u.clone()
    changed[:, 30:] += 1
    before, after = block(u), block(changed)
    assert torch.allclose(before[:, :30], after[:, :30], atol=1e-12)
    assert not torch.allclose(before[:, 30:], after[:, 30:], atol=1e-6)


def test_mamba2_raises_for_a_headdim_that_does_not_divide_the_width():
    with pytest.raises(ValueError, match="headdim"):
        Mamba2(8, 4, headdim=5)


def light_curves(planets, length, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(planets, length, generator=generator) < 0.2
    return torch.randn(planets, length, channels, generator=generator), mask


@pytest.fixture(params=[1, 4], ids=["every_sample", "binned_by_4"])
def encoder(request):
    return FGS1Encoder(3, d_model=8, depth=2, d_state=4, embedding=6, headdim=8, bin_width=request.param)


@pytest.mark.parametrize("length", [1, 2, 7, 64, 65, 201])
def test_the_encoder_accepts_any_number_of_steps(encoder, length):
    values, mask = light_curves(2, length)
    assert encoder(values, mask).shape == (2, 6)


@pytest.mark.parametrize("padding", [1, 3, 64, 200])
def test_padding_at_the_end_has_no_effect(encoder, padding):
    values, mask = light_curves(2, 130)
    longer = F.pad(values, (0, 0, 0, padding), value=1e3)
    assert torch.allclose(
        encoder(longer, F.pad(mask, (0, padding), value=True)), encoder(values, mask), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("value", [0.0, 1e6, math.nan, math.inf])
def test_the_value_of_a_masked_sample_has_no_effect(encoder, value):
    values, mask = light_curves(2, 90)
    assert torch.equal(encoder(values.masked_fill(mask[..., None], value), mask), encoder(values, mask))


def test_planets_are_encoded_independently(encoder):
    values, mask = light_curves(3, 70)
    alone = torch.cat([encoder(values[i : i + 1], mask[i : i + 1]) for i in range(3)])
    assert torch.allclose(encoder(values, mask), alone, rtol=1e-5, atol=1e-6)


def test_a_planet_without_samples_has_a_finite_embedding_and_gradient(encoder):
    values, mask = light_curves(2, 20)
    mask[0] = True
    embedding = encoder(values, mask)
    embedding.square().sum().backward()
    assert embedding.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_the_shapes_of_the_weights_do_not_depend_on_the_bin_width():
    shapes = [
        {name: value.shape for name, value in FGS1Encoder(3, 8, 1, 4, 6, 8, bin_width=width).state_dict().items()}
        for width in (1, 10)
    ]
    assert shapes[0] == shapes[1]


def test_bin_time_is_the_mean_of_usable_samples():
    values = torch.tensor([1.0, 2.0, 3.0, math.nan, 5.0, math.nan, math.nan])[None, :, None]
    mask = values.isnan()[..., 0]
    binned, binned_mask = bin_time(values, mask, 2)
    assert binned_mask.tolist() == [[False, False, False, True]]
    assert binned[0, :3, 0].tolist() == [1.5, 3.0, 5.0]


def test_bin_time_of_width_one_keeps_usable_samples():
    values, mask = light_curves(2, 9)
    binned, binned_mask = bin_time(values, mask, 1)
    assert torch.equal(binned[~mask], values[~mask])
    assert torch.equal(binned_mask, mask)


def test_gradient_checkpointing_does_not_change_the_gradients():
    torch.manual_seed(0)
    encoder = ssm.FGS1Encoder(2, 16, 2, 4, 8, headdim=16).train()
    light_curve, mask = torch.randn(2, 30, 2), torch.rand(2, 30) < 0.1
    gradients = []
    for encoder.recompute in (False, True):
        encoder.zero_grad()
        encoder(light_curve, mask).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in encoder.parameters()])
    for plain, recomputed in zip(*gradients):
        torch.testing.assert_close(plain, recomputed)


def test_pool_time_is_mean_and_maximum_of_usable_steps():
    u = torch.tensor([[[1.0], [9.0], [3.0]], [[4.0], [5.0], [6.0]]])
    mask = torch.tensor([[False, True, False], [True, True, True]])
    assert pool_time(u, mask).tolist() == [[2.0, 3.0], [0.0, 0.0]]


@pytest.mark.slow
def test_triton_kernel_under_its_interpreter_equals_scan_chunked(tmp_path):
    """The kernel's source under Triton's interpreter on a CPU. Needs triton, einops and mamba-ssm."""
    pytest.importorskip("triton")
    pytest.importorskip("einops")
    if importlib.util.find_spec("mamba_ssm") is None:
        pytest.skip("mamba-ssm is not installed")
    program = """
import contextlib, types, torch
torch.cuda.device = lambda index: contextlib.nullcontext()
torch.cuda.get_device_properties = lambda index: types.SimpleNamespace(multi_processor_count=1)
from ariel_lib.models.ssm import kernel_error, load_kernel
kernel = load_kernel("cpu")
assert kernel is not None
assert load_kernel.__wrapped__("cpu") is kernel
assert kernel_error(kernel, "cpu") < 1e-5
"""
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "MAMBA_DETERMINISTIC": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_load_kernel_is_none_without_mamba_ssm(monkeypatch):
    monkeypatch.setattr(ssm.importlib.util, "find_spec", lambda name: None)
    assert ssm.load_kernel.__wrapped__("cpu") is None
