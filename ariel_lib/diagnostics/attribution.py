"""Explanation of V50's predictions: embeddings, decoder gates, graph edges, and attributions of its corrections to inputs.

Integrated gradients: Sundararajan, Taly & Yan 2017 (arXiv:1703.01365). GradientShap, called SHAP in the figures: expected
gradients over baselines drawn from other planets, Lundberg & Lee 2017 (arXiv:1705.07874).
"""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ariel_lib.errors import SpectraMindError
from ariel_lib.execution.workers import Failure, attempt
from ariel_lib.io.checksums import sha256
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import save_arrays
from ariel_lib.models.decoder import EXPERTS
from ariel_lib.models.inputs import Inputs
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import fit_planets
from ariel_lib.prediction.answer import planet_inputs
from ariel_lib.transit.population.corrections import PopulationCorrections

BANDS = 6  # equal parts of AIRS; the mean correction in each is explained
STEPS = 32  # of the path integral
SHAP_SAMPLES = 32  # baselines drawn for each planet
Function = Callable[[Tensor], Tensor]


def integrated_gradients(function: Function, x: Tensor, baseline: Tensor, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Integrated gradients of function(x) − function(baseline), by the midpoint rule on the straight path between them.

    function     (batch, input) → (batch,)
    x, baseline  (input,)

    Returns the attributions (input,) and the completeness error, the scalar |sum of attributions − difference|.
    """
    share = ((torch.arange(steps, dtype=x.dtype) + 0.5) / steps)[:, None]
    slope = _gradient(function, baseline + share * (x - baseline)).mean(dim=0)
    return _with_error(function, (x - baseline) * slope, x, baseline[None])


def gradient_shap(
    function: Function, x: Tensor, baselines: Tensor, random: torch.Generator, samples: int = SHAP_SAMPLES
) -> tuple[Tensor, Tensor]:
    """Expected gradients of function(x) − its mean over baselines (baseline, input); returns as integrated_gradients.

    Gradients are taken at random points of the straight paths from `samples` random baselines.
    """
    chosen = baselines[torch.randint(len(baselines), (samples,), generator=random)]
    share = torch.rand(samples, 1, generator=random, dtype=x.dtype)
    slope = _gradient(function, chosen + share * (x - chosen))
    return _with_error(function, ((x - chosen) * slope).mean(dim=0), x, chosen)


def _gradient(function: Function, points: Tensor) -> Tensor:
    """Gradient of function at each of the points (batch, input)."""
    points = points.detach().requires_grad_()
    return torch.autograd.grad(function(points).sum(), points)[0]


def _with_error(function: Function, attribution: Tensor, x: Tensor, baselines: Tensor) -> tuple[Tensor, Tensor]:
    """The attribution and its completeness error."""
    with torch.no_grad():
        difference = function(x[None])[0] - function(baselines).mean()
    return attribution, (attribution.sum() - difference).abs()


class _FixedEmbedding(nn.Module):
    """Replaces the encoder: returns the embedding set as attribute, whatever the light curve."""

    embedding: Tensor

    def forward(self, fgs1: Tensor, mask: Tensor) -> Tensor:
        return self.embedding


def band_corrections(network: nn.Module, inputs: Inputs, embedding: Tensor) -> tuple[Function, Tensor]:
    """V50's correction of one planet's spectrum as a function of its inputs, and the planet's own inputs (input,).

    The function maps (batch, input) to (batch, band), ppm: the mean over each band of V50's mean minus the initial estimate.
    An input row is node features, star features and FGS1 embedding, concatenated.
    """
    probe = copy.deepcopy(network)
    probe.encoder = _FixedEmbedding()
    shapes = [inputs.nodes.shape[1:], inputs.star.shape[1:], embedding.shape[-1:]]
    sizes = [shape.numel() for shape in shapes]

    def function(rows: Tensor) -> Tensor:
        nodes, star, probe.encoder.embedding = (
            part.reshape(len(rows), *shape) for part, shape in zip(rows.split(sizes, dim=1), shapes)
        )
        no_light = torch.zeros(len(rows), 1, inputs.fgs1.shape[2])
        mean, sigma = (value.expand(len(rows), -1) for value in (inputs.mean, inputs.sigma))
        moved = probe(Inputs(no_light, no_light[..., 0].bool(), mean, sigma, nodes, star)).mean - mean
        return 1e6 * torch.stack([part.mean(dim=1) for part in moved[:, 1:].tensor_split(BANDS, dim=1)], dim=1)

    return function, torch.cat([inputs.nodes.flatten(), inputs.star.flatten(), embedding.flatten()])


def explain(network: nn.Module, planets: Sequence[Inputs], explained: int, seed: int) -> dict[str, np.ndarray]:
    """Embeddings and gates of all planets; attributions and edge shares (`trace_edges`) of the first `explained` of them.

    embedding       (planet, embedding)
    gates           (planet, wavelength, expert)
    correction      (explained, band) ppm, what is attributed
    {method}        (explained, band, wavelength) ppm, method shap or ig: summed over the features of a wavelength's node
    {method}_rest   (explained, band, 2) ppm, of star features and FGS1 embedding
    {method}_error  (explained, band) ppm, completeness error
    """
    network.eval()
    with torch.no_grad():
        predictions = [network(inputs) for inputs in planets]
    arrays = {name: torch.cat([getattr(p, name) for p in predictions]).numpy() for name in ("embedding", "gates")}
    few = list(zip(planets, predictions))[:explained]
    points = torch.stack([band_corrections(network, inputs, p.embedding)[1] for inputs, p in few])
    random = torch.Generator().manual_seed(seed)
    found: dict[str, list] = {}
    for point, (inputs, prediction) in zip(points, few):
        function, _ = band_corrections(network, inputs, prediction.embedding)
        bands = [lambda rows, n=n, f=function: f(rows)[:, n] for n in range(BANDS)]
        answers = {
            "ig": [integrated_gradients(band, point, torch.zeros_like(point)) for band in bands],
            "shap": [gradient_shap(band, point, points, random) for band in bands],
        }
        nodes, star = inputs.nodes.numel(), inputs.star.numel()
        for method, by_band in answers.items():
            whole = torch.stack([attribution for attribution, _ in by_band])
            found.setdefault(method, []).append(whole[:, :nodes].reshape(BANDS, *inputs.nodes.shape[1:]).sum(-1))
            rest = [part.sum(1) for part in (whole[:, nodes : nodes + star], whole[:, nodes + star :])]
            found.setdefault(f"{method}_rest", []).append(torch.stack(rest, 1))
            found.setdefault(f"{method}_error", []).append(torch.stack([error for _, error in by_band]))
        with torch.no_grad():
            found.setdefault("correction", []).append(function(point[None])[0])
    return arrays | {name: torch.stack(rows).numpy() for name, rows in found.items()} | trace_edges(network, planets[:explained])


def trace_edges(network: nn.Module, planets: Sequence[Inputs]) -> dict[str, np.ndarray]:
    """Share of each graph edge in the messages of each planet, from SpectralGNN.trace; empty for a network without edges.

    edge_share  (planet, layer, edge)
    attention   (planet, layer, edge), where the operator has attention weights
    edge_index  (2, edge) source and target wavelength
    edge_type   (edge,) index into the relations
    """
    graph = network.gnn.graph
    if not len(graph.edge_type):
        return {}
    recorded: list[Tensor] = []
    hook = network.gnn.register_forward_pre_hook(lambda _, states: recorded.append(states[0]))
    try:
        with torch.no_grad():
            for inputs in planets:
                network(inputs)
            traces = [network.gnn.trace(states) for states in recorded]
    finally:
        hook.remove()
    arrays = {"edge_share": torch.stack([share for share, _ in traces]), "edge_index": graph.edge_index, "edge_type": graph.edge_type}
    if traces[0][1] is not None:
        arrays["attention"] = torch.stack([attention for _, attention in traces])
    return {name: array.numpy() for name, array in arrays.items()}


@dataclass(frozen=True)
class AttributionSettings:
    """planets: number of planets to explain, the first ones; seed: of GradientShap, UMAP and t-SNE."""

    planets: int = 50
    seed: int = 0


def explain_planets(
    dataset: Dataset,
    weights: Path | str,
    out: Path | str,
    settings: AttributionSettings,
    *,
    population: Mapping[str, np.ndarray] | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, dict[str, Failure]]:
    """Write the arrays of `explain` for the planets of a data set, with their ids, as safetensors.

    dataset     transit fits in its scratch folder are used
    weights     checkpoint; of several networks the first is explained
    population  arrays of population corrections in place of the checkpoint's, of SubmissionRecord.population

    Returns the path, and failures by planet: planets without a fit, or with one that fails its quality checks, are left out.
    Raises SpectraMindError where that leaves none.
    """
    checkpoint = Checkpoint.load(weights)
    corrections = PopulationCorrections.from_arrays(checkpoint.corrections.to_arrays() | dict(population or {}))
    checkpoint = replace(checkpoint, corrections=corrections)
    as_trained = checkpoint.calibration_settings
    planet_fits = fit_planets(dataset, settings=as_trained, workers=workers, progress=progress).accepted()
    failed = {planet: Failure(why, planet_fits.tracebacks.get(planet, "")) for planet, why in planet_fits.failures.items()}
    inputs = {}
    for planet, planet_fit in planet_fits.conditioned_on(checkpoint).fits.items():
        found, failure = attempt(planet_inputs, planet_fit, checkpoint)
        (inputs if failure is None else failed)[planet] = found if failure is None else failure
    if not inputs:
        why = "; ".join(f"planet {planet}: {failure}" for planet, failure in list(failed.items())[:1])
        raise SpectraMindError(f"{dataset.root}: expected a planet of the submission that can be fitted, found none. {why}")
    network = checkpoint.network.members[0]
    arrays = explain(network, list(inputs.values()), settings.planets, settings.seed)
    text = {"planet_ids": list(inputs), "relations": network.gnn.graph.relations, "experts": EXPERTS, "weights": sha256(weights)}
    return save_arrays(out, arrays, {name: json.dumps(words) for name, words in text.items()}), failed
