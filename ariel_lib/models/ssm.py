"""State-space encoder of the FGS1 light curve: Mamba-2 (Dao & Gu 2024, arXiv:2405.21060, state-space duality).

Symbols of the paper; time is the second axis everywhere:
    u   (planet, time, d_model)         input and output of a block
    x   (planet, time, head, headdim)   input of the recurrence (P = headdim)
    dt  (planet, time, head)            step size Δ, positive
    A   (head,)                         decay rate, negative: one scalar per head ("scalar times identity")
    B   (planet, time, d_state)         input matrix of the state (N = d_state, one group)
    C   (planet, time, d_state)         output matrix of the state
    h   (planet, head, headdim, d_state)  the state: h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_tᵀ,  y_t = h_t C_t
    z   (planet, time, d_inner)         gate of the output norm, d_inner = head × headdim
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import os
import sys
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ariel_lib.errors import SpectraMindError

CHUNK = 64
SEGMENT = 4096  # steps computed together: their temporaries, some 10 MB, fit into a cache and are reused


def scan_sequential(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The recurrence step by step, the reference for scan_chunked. Shapes as in the module's glossary; returns y as x."""
    decay = torch.exp(dt * A)[..., None, None].unbind(1)
    gain = torch.einsum("blh,blhp,bln->blhpn", dt, x, B).unbind(1)
    h = torch.zeros_like(gain[0])
    y = []
    for decay_t, gain_t, C_t in zip(decay, gain, C.unbind(1), strict=True):
        h = decay_t * h + gain_t
        y.append(torch.einsum("bhpn,bn->bhp", h, C_t))
    return torch.stack(y, 1)


def scan_chunked(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int = CHUNK) -> Tensor:
    """The recurrence by chunks (section 6 of the paper): a masked matrix product within each chunk, and a recurrence over
    the states at the chunk borders. Linear in time, for any length; y as x.

    Long sequences are processed in segments. Otherwise the allocator returns each of the large temporaries to the system, and
    most of the time is spent on fresh pages: twice the cost per step at 135000 steps.
    """
    steps = chunk * max(1, SEGMENT // (chunk * len(x)))
    h, found = x.new_zeros(*x.shape[:1], *x.shape[2:], B.shape[-1]), []
    for segment in zip(*(v.split(steps, 1) for v in (x, dt, B, C)), strict=True):
        y, h = _scan_segment(*segment, A, h, chunk)
        found.append(y)
    return torch.cat(found, 1) if len(found) > 1 else found[0]


def _scan_segment(
    x: Tensor, dt: Tensor, B: Tensor, C: Tensor, A: Tensor, h: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Output y of a segment with initial state h, and its final state."""
    length = x.shape[1]
    chunk = min(chunk, length)
    missing = -length % chunk
    # Padding with dt = 0 is exact: the state neither decays nor changes.
    x, dt, B, C = (
        F.pad(v, (0, 0) * (v.ndim - 2) + (0, missing)).unflatten(1, (-1, chunk)) for v in (x * dt[..., None], dt, B, C)
    )
    x = x.transpose(2, 3)
    # Differences of long sums: float64 keeps the decays accurate to float32 for any step sizes.
    log_decay = (dt * A).double().cumsum(2).transpose(2, 3)

    between = log_decay[..., :, None] - log_decay[..., None, :]
    future = torch.ones(chunk, chunk, dtype=torch.bool, device=x.device).triu(1)
    weight = between.to(x.dtype).masked_fill_(future, -math.inf).exp_()
    inside = (weight * (C @ B.transpose(-1, -2))[:, :, None]) @ x

    to_end = (log_decay[..., -1:] - log_decay).to(x.dtype).exp()[..., None]
    added = (x * to_end).transpose(-1, -2) @ B[:, :, None]
    starts, h = _carry(added, log_decay[..., -1].to(x.dtype).exp()[..., None, None], h)
    from_start = log_decay.to(x.dtype).exp()[..., None]
    outside = (C[:, :, None] @ starts.transpose(-1, -2)) * from_start
    return (inside + outside).transpose(2, 3).flatten(1, 2)[:, :length], h


def _carry(added: Tensor, decay: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """State at the start of each chunk and at the end, from the contribution and decay of each chunk.

    Slicing added[:, i] in this loop would write a full-size gradient at each step and make the backward pass quadratic; unbind
    writes one.
    """
    starts = []
    for added_chunk, decay_chunk in zip(added.unbind(1), decay.unbind(1), strict=True):
        starts.append(h)
        h = decay_chunk * h + added_chunk
    return torch.stack(starts, 1), h


@functools.cache
def load_kernel(device: str) -> Callable | None:
    """Triton scan of mamba-ssm, if it imports and agrees with scan_chunked on a small example, else None.

    `import mamba_ssm` needs a compiled extension that the scan does not; the package is therefore registered without being
    executed. MAMBA_DETERMINISTIC selects one kernel configuration, which fits small GPUs and compiles in seconds.
    """
    spec = importlib.util.find_spec("mamba_ssm")
    if spec is None or importlib.util.find_spec("triton") is None:
        return None
    if "mamba_ssm" not in sys.modules:
        sys.modules["mamba_ssm"] = importlib.util.module_from_spec(spec)
    os.environ.setdefault("MAMBA_DETERMINISTIC", "1")
    try:
        from triton.runtime.errors import TritonError

        kernel = importlib.import_module("mamba_ssm.ops.triton.ssd_combined").mamba_chunk_scan_combined
    except ImportError as error:
        warnings.warn(
            f"mamba-ssm is installed but its scan does not import, using the chunked scan: {error}", stacklevel=2
        )
        return None
    try:
        error = kernel_error(kernel, device)
    except (RuntimeError, TritonError) as failure:
        warnings.warn(f"mamba-ssm's scan fails on {device}, using the chunked scan: {failure}", stacklevel=2)
        return None
    # TF32 products round at 1e-3; a wrong kernel is off by order one.
    if error > 1e-2:
        warnings.warn(f"mamba-ssm's scan is off by {error:.1e} on {device}, using the chunked scan", stacklevel=2)
        return None
    return kernel


def kernel_error(kernel: Callable, device: str) -> float:
    """Largest relative error (norm of the difference) of the kernel's output and gradients over 80 steps.

    Chunk, head and state have the sizes in use, since a kernel may exhaust the shared memory of a GPU at some sizes only.
    """
    draw = functools.partial(torch.randn, generator=torch.Generator().manual_seed(0))
    x, B, C, dt = (draw(1, 80, *shape).to(device) for shape in ((2, 32), (32,), (32,), (2,)))
    arguments = (x, F.softplus(dt - 2), torch.tensor([-1.0, -0.1], device=device), B, C)
    results = []
    with torch.inference_mode(False), torch.enable_grad():
        for run in (scan_chunked, lambda *v: kernel(*v[:3], *(u[:, :, None] for u in v[3:]), CHUNK)):
            leaves = [v.clone().requires_grad_() for v in arguments]
            y = run(*leaves)
            results.append((y.detach(), *torch.autograd.grad(y.square().sum(), leaves)))
    return max(((b - a).norm() / a.norm()).item() for a, b in zip(*results, strict=True))


def scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int = CHUNK) -> Tensor:
    """The recurrence by the fastest implementation for the device: mamba-ssm's kernel on a GPU, else scan_chunked."""
    kernel = load_kernel("cuda") if x.is_cuda and x.dtype != torch.float64 else None
    if kernel is None:
        return scan_chunked(x, dt, A, B, C, chunk)
    return kernel(x, dt, A, B[:, :, None], C[:, :, None], chunk_size=chunk)


class GatedRMSNorm(nn.Module):
    """RMS norm of y · silu(z), gated before the norm as in mamba_ssm's Mamba2 (norm_before_gate=False)."""

    def __init__(self, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return F.rms_norm(y * F.silu(z), self.weight.shape, self.weight, eps=1e-5)


class Mamba2(nn.Module):
    """Mamba-2 block; names and shapes of its parameters are those of mamba_ssm.Mamba2 with one group.

    d_model  width of the sequence; d_inner = expand × d_model is the inner width
    d_state  size N of the state; headdim P channels share one decay
    d_conv   taps of the causal convolution before the scan
    """

    def __init__(
        self, d_model: int, d_state: int = 64, headdim: int = 32, expand: int = 2, d_conv: int = 4, chunk: int = CHUNK
    ):
        super().__init__()
        d_inner = expand * d_model
        if d_inner % headdim:
            raise SpectraMindError(
                f"expected expand × d_model to be a multiple of headdim, found {d_inner} and {headdim}; change one of them"
            )
        heads = d_inner // headdim
        self.headdim, self.chunk = headdim, chunk
        self.splits = [d_inner, d_inner + 2 * d_state, heads]
        self.conv_splits = [d_inner, d_state, d_state]
        self.in_proj = nn.Linear(d_model, sum(self.splits), bias=False)
        self.conv1d = nn.Conv1d(self.splits[1], self.splits[1], d_conv, groups=self.splits[1], padding=d_conv - 1)
        # Initial step sizes are log-uniform in 0.001 … 0.1 and decay rates uniform in 1 … 16, as published.
        dt = torch.exp(torch.empty(heads).uniform_(math.log(1e-3), math.log(1e-1)))
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = GatedRMSNorm(d_inner)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        """Causal map of u (planet, time, d_model) to the same shape."""
        z, xBC, dt = self.in_proj(u).split(self.splits, -1)
        xBC = F.silu(self.conv1d(xBC.transpose(1, 2))[..., : u.shape[1]].transpose(1, 2))
        x, B, C = xBC.split(self.conv_splits, -1)
        x = x.unflatten(-1, (-1, self.headdim))
        y = scan(x, F.softplus(dt + self.dt_bias), -torch.exp(self.A_log), B, C, self.chunk)
        return self.out_proj(self.norm((y + self.D[:, None] * x).flatten(-2), z))


class FGS1Encoder(nn.Module):
    """Encoder of a light curve to one vector per planet: linear layer, pre-norm residual Mamba-2 blocks, masked mean and maximum.

    bin_width  number of samples averaged before the first layer; the weights do not depend on it
    """

    def __init__(
        self,
        channels: int,
        d_model: int,
        depth: int,
        d_state: int,
        embedding: int,
        headdim: int = 32,
        bin_width: int = 1,
    ):
        super().__init__()
        if bin_width < 1:
            raise SpectraMindError(f"bin_width: expected at least 1 sample, found {bin_width}")
        self.bin_width = bin_width
        self.lift = nn.Linear(channels, d_model)
        self.norms = nn.ModuleList(nn.RMSNorm(d_model, eps=1e-5) for _ in range(depth))
        self.blocks = nn.ModuleList(Mamba2(d_model, d_state, headdim) for _ in range(depth))
        self.pool = nn.Linear(2 * d_model, embedding)
        self.recompute = False  # gradient checkpointing in training (Chen et al. 2016, arXiv:1604.06174)

    def forward(self, light_curve: Tensor, mask: Tensor) -> Tensor:
        """Embedding (planet, embedding) of light_curve (planet, time, channel); mask (planet, time), True where unusable.

        Masked samples are set to zero, also if NaN, and excluded from the pooling.
        """
        values, mask = bin_time(light_curve, mask, self.bin_width)
        u = self.lift(values).masked_fill(mask[..., None], 0)
        for norm, block in zip(self.norms, self.blocks, strict=True):
            change = checkpoint(block, norm(u), use_reentrant=False) if self.recompute and self.training else block(norm(u))
            u = (u + change).masked_fill(mask[..., None], 0)
        return self.pool(pool_time(u, mask))


def bin_time(values: Tensor, mask: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Mean of the usable samples in bins of width samples, ceil(time / width) bins; a bin without usable samples is masked.

    values (planet, time, channel), mask (planet, time).
    """
    missing = -values.shape[1] % width
    values = F.pad(values.masked_fill(mask[..., None], 0), (0, 0, 0, missing)).unflatten(1, (-1, width))
    usable = ~F.pad(mask, (0, missing), value=True).unflatten(1, (-1, width))
    count = usable.sum(2)
    return values.sum(2) / count.clamp(min=1)[..., None], count == 0


def pool_time(u: Tensor, mask: Tensor) -> Tensor:
    """Mean and maximum of u (planet, time, d) over unmasked steps, (planet, 2 d); zero where all are masked."""
    count = (~mask).sum(1, keepdim=True)
    mean = u.masked_fill(mask[..., None], 0).sum(1) / count.clamp(min=1)
    maximum = u.masked_fill(mask[..., None], -math.inf).amax(1).masked_fill(count == 0, 0)
    return torch.cat([mean, maximum], -1)
