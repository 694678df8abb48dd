"""Cost of the chunked Mamba-2 scan per step against the plain recurrence and an associative scan, forward and backward.

Run by `python benchmarks/ssm.py`. Each measurement runs in a process of its own, so that its peak memory is its own. The
associative scan is mambapy's (`pip install --no-deps mambapy`), left out where that is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

LENGTHS = (1_000, 4_000, 16_000, 67_500, 135_000)
SEQUENTIAL_LIMIT = 16_000
ASSOCIATIVE_LIMIT = 67_500  # it holds every state of every step, and more
HEADS, HEADDIM, D_STATE = 2, 32, 32


@dataclass(frozen=True)
class Measurement:
    """forward, backward: seconds, the least of the repetitions; memory: peak above the start, MiB."""

    forward: float
    backward: float
    memory: float

    @property
    def total(self) -> float:
        return self.forward + self.backward


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, length: int, repetitions: int, threads: int, segment: int | None = None) -> Measurement:
    """One sequence of `length` steps through one scan, after a warm-up on 100 steps."""
    import torch

    from ariel_lib.models import ssm

    torch.set_num_threads(threads)
    ssm.SEGMENT = segment or ssm.SEGMENT
    scan = scan_associative if name == "associative" else getattr(ssm, f"scan_{name}")

    def run(steps: int) -> tuple[float, float]:
        x, B, C = (torch.randn(1, steps, *shape) for shape in ((HEADS, HEADDIM), (D_STATE,), (D_STATE,)))
        dt, A = torch.rand(1, steps, HEADS) / 10, -torch.arange(1.0, HEADS + 1)
        arguments = [v.requires_grad_() for v in (x, dt, A, B, C)]
        start = time.perf_counter()
        y = scan(*arguments).sum()
        middle = time.perf_counter()
        y.backward()
        return middle - start, time.perf_counter() - middle

    run(100)
    before = peak_mib()
    forward, backward = zip(*(run(length) for _ in range(repetitions)), strict=True)
    return Measurement(min(forward), min(backward), peak_mib() - before)


def scan_associative(x, dt, A, B, C):
    """The same sum, y_t = C_t h_t with h_t = exp(A dt_t) h_(t−1) + dt_t x_t B_t, by mambapy's parallel scan of the states."""
    from mambapy.pscan import pscan

    batch, length, heads, headdim = x.shape
    states = (batch, length, heads, headdim, B.shape[-1])
    decay = (dt * A).exp()[..., None, None].expand(states)
    added = (dt[..., None] * x)[..., None] * B[:, :, None, None]
    flat = (batch, length, heads * headdim, B.shape[-1])
    found = pscan(decay.reshape(flat), added.reshape(flat)).reshape(states)
    return (found * C[:, :, None, None]).sum(-1)


def check_associative() -> None:
    """It must be the same scan to be a baseline."""
    import torch

    from ariel_lib.models import ssm

    x, B, C = (torch.randn(1, 50, *shape) for shape in ((HEADS, HEADDIM), (D_STATE,), (D_STATE,)))
    arguments = x, torch.rand(1, 50, HEADS) / 10, -torch.arange(1.0, HEADS + 1), B, C
    torch.testing.assert_close(scan_associative(*arguments), ssm.scan_sequential(*arguments), rtol=1e-4, atol=1e-5)


def cells(measurement: Measurement, length: int) -> str:
    return f"{measurement.total:8.3f} {1e6 * measurement.total / length:8.2f} {measurement.memory:7.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--segment", type=int, help="steps that the chunked scan computes together; default: as the model does")
    options = parser.parse_args()
    with_associative = importlib.util.find_spec("mambapy") is not None
    if with_associative:
        check_associative()
    # A process that served a longer sequence would report that one's peak: one task each.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:

        def ask(name: str, length: int) -> Measurement:
            return pool.submit(measure, name, length, options.repetitions, options.threads, options.segment).result()

        print(f"{HEADS} heads of {HEADDIM}, state {D_STATE}, float32, {options.threads} thread(s), forward + backward")
        columns = f"{'s':>8} {'us/step':>8} {'MiB':>7}"
        print(f"{'':8}   {'chunked':^25}   {'plain':^25}           {'associative':^25}")
        print(f"{'steps':>8}   {columns}   {columns}   ratio   {columns}   ratio")
        for length in options.lengths:
            chunked = ask("chunked", length)
            row = f"{length:8d}   {cells(chunked, length)}"
            for name, limit in (("sequential", SEQUENTIAL_LIMIT), ("associative", ASSOCIATIVE_LIMIT if with_associative else 0)):
                if length <= limit:
                    other = ask(name, length)
                    row += f"   {cells(other, length)}   {other.total / chunked.total:5.1f}"
                else:
                    row += " " * 36
            print(row, flush=True)


if __name__ == "__main__":
    main()
