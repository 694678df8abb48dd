"""One planet through V50: as it is, as an exported program, and compiled ahead of time; alternating in one process.

    python benchmarks/inference.py [--samples 67500] [--rounds 20] [--compile]
--compile needs a C++ compiler and some minutes. One thread, CPU, random weights (the time does not depend on them), light
curves of full cadence averaged to about 256 samples as on a CPU by default. Prints medians and ratios.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ariel_lib.models.exported import Plain, export_network, tensors_of
from ariel_lib.models.features import FGS1_CHANNELS, NODE_FEATURES, STAR_FEATURES
from ariel_lib.models.inputs import Inputs
from ariel_lib.models.v50 import V50, Hyperparameters
from ariel_lib.training.resolution import ENCODER_SAMPLES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=67500)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--compile", action="store_true", help="also AOTInductor")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wavelength = [0.705, *torch.linspace(1.95, 3.9, 282).tolist()]
    network = V50(Hyperparameters(
        channels=len(FGS1_CHANNELS), node_features=NODE_FEATURES, star_features=STAR_FEATURES, wavelength=wavelength,
        bin_width=max(1, options.samples // ENCODER_SAMPLES),
    )).eval()  # fmt: skip
    torch.nn.init.normal_(network.decoder.delta.weight)
    planet = draw_planet(options.samples, len(wavelength))
    print_work(network, planet)
    ways = {"eager": Plain(network)}
    clock = time.perf_counter()
    program = export_network(network, planet)
    print(f"export: {time.perf_counter() - clock:.1f} s")
    ways["exported"] = program.module()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        if options.compile:
            clock = time.perf_counter()
            path = torch._inductor.aoti_compile_and_package(program, package_path=str(Path(folder) / "v50.pt2"))
            ways["compiled"] = torch._inductor.aoti_load_package(path)
            print(f"compile: {time.perf_counter() - clock:.1f} s")
        compare(ways, tensors_of(planet), options.rounds)


def compare(ways: dict, tensors: tuple[torch.Tensor, ...], rounds: int) -> None:
    """Print each way's median time, its ratio to eager and the largest relative difference of its numbers."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            clock = time.perf_counter()
            way(*tensors)
            seconds[name].append(time.perf_counter() - clock)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    expected = ways["eager"](*tensors)
    for name, median in medians.items():
        apart = max(float((a / b - 1).abs().max()) for a, b in zip(ways[name](*tensors), expected))
        print(f"{name}: {1e3 * median:.1f} ms a planet, {medians['eager'] / median:.2f} times eager, differs by {apart:.1e}")


def print_work(network: V50, planet: Inputs) -> None:
    """Products and convolutions of one step of training by torch's counter, as binned and at full cadence."""
    full = V50(replace(network.hyperparameters, bin_width=1))
    for name, one in {"binned": network, "full cadence": full}.items():
        with FlopCounterMode(display=False) as counter:
            prediction = one(planet)
            (prediction.mean.sum() + prediction.sigma.sum()).backward()
        print(f"{name}: {counter.get_total_flops() / 1e9:.2f} GFLOP a planet, forward and backward")


def draw_planet(samples: int, wavelengths: int) -> Inputs:
    g = torch.Generator().manual_seed(0)
    fgs1, nodes, star = (
        torch.randn(*shape, generator=g)
        for shape in ((1, samples, len(FGS1_CHANNELS)), (1, wavelengths, NODE_FEATURES), (1, STAR_FEATURES))
    )
    mean, sigma = 0.01 * torch.rand(1, wavelengths, generator=g), 1e-5 + 1e-4 * torch.rand(1, wavelengths, generator=g)
    return Inputs(fgs1, torch.zeros(1, samples, dtype=torch.bool), mean, sigma, nodes, star)


if __name__ == "__main__":
    main()
