"""Relational conformal prediction over the wavelengths of a spectrum: quantiles of the residuals, learned on a learned graph.

Source: Cini, Jenkins, Mandic, Alippi & Bianchi, ICML 2025. Kept: node embeddings, a sparse graph drawn from them
(straight-through top-k with Gumbel noise; Jang et al. 2017, arXiv:1611.01144), two rounds of message passing, 39 quantiles
under pinball loss. Ours: a new planet has no past residuals, so the inputs are what was observed of it; quantiles are
sorted; and a held-out step of conformalised quantile regression, which the published code lacks, guarantees coverage
whatever was learned. Sees arrays (planet, wavelength): means, sigmas, measured depths, truth of calibration planets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ariel_lib.errors import SpectraMindError
from ariel_lib.uncertainty.conformal import JOINT, MARGINAL, Intervals, conformal_quantile, sigma_of

Array = np.ndarray

QUANTILES = np.arange(1, 40) / 40
EMBEDDING, HIDDEN, NEIGHBOURS, LAYERS = 16, 32, 8, 2
FEATURES = 5
STEPS, BATCH, LEARNING_RATE, PATIENCE = 400, 16, 3e-3, 8
CHECK_EVERY = 20  # steps between looks at the planets kept aside for early stopping
MIN_PLANETS = 3  # one to learn from, one to say when to stop, one to calibrate: enough to run, not to promise anything


def corel_features(mean: Array, sigma: Array, depth: Array, depth_sigma: Array, sigma_uncorrelated: Array) -> Array:
    """What was observed of each bin, (planet, wavelength, feature), float32.

    mean, sigma         the answer whose residuals are predicted
    depth, depth_sigma  the measurement by itself; sigma_uncorrelated: standard deviation that a bin shares with no other, from
                        the scatter out of transit. All (planet, wavelength)
    """
    surprise = np.clip((depth - mean) / np.hypot(depth_sigma, sigma), -5, 5)
    white = mean[:, 1:].mean(axis=1, keepdims=True)
    shape = np.clip((mean - white) / sigma, -20, 20) / 5
    logs = [np.log(x / 1e-4) for x in (sigma, sigma_uncorrelated)]
    return np.stack([surprise, shape, *logs, np.broadcast_to(np.log(white / 0.0147), mean.shape)], -1).astype(np.float32)


class QuantileNetwork(nn.Module):
    """(planet, node, feature) → quantiles of z (planet, node, quantile), ascending."""

    def __init__(self, nodes: int):
        super().__init__()
        self.nodes = nodes
        self.source, self.target = (nn.Parameter(torch.randn(nodes, EMBEDDING) / EMBEDDING**0.5) for _ in range(2))
        self.lift = nn.Linear(FEATURES + EMBEDDING, HIDDEN)
        self.own = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(LAYERS))
        self.message = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN, bias=False) for _ in range(LAYERS))
        self.norm = nn.ModuleList(nn.LayerNorm(HIDDEN) for _ in range(LAYERS))
        self.read = nn.Linear(HIDDEN, len(QUANTILES))
        nn.init.zeros_(self.read.weight)  # it starts as a standard Gaussian: the sigmas as they are stated
        with torch.no_grad():
            self.read.bias.copy_(torch.special.ndtri(torch.from_numpy(QUANTILES)).float())

    def graph(self, noise: Tensor | None = None) -> Tensor:
        """Row-normalised adjacency (node, node) with NEIGHBOURS entries a row; gradients go through the soft scores."""
        scores = (self.target @ self.source.T).masked_fill(torch.eye(self.nodes, dtype=torch.bool), -torch.inf)
        soft = (scores if noise is None else scores + noise).softmax(-1)
        top = soft.topk(min(NEIGHBOURS, self.nodes - 1), dim=-1).indices
        hard = torch.zeros_like(soft).scatter(-1, top, 1 / top.shape[-1])
        return hard + soft - soft.detach()

    def forward(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        place = self.target.expand(len(features), -1, -1)
        states, adjacency = self.lift(torch.cat([features, place], -1)), self.graph(noise)
        for own, message, norm in zip(self.own, self.message, self.norm):
            seen = norm(states)
            states = states + torch.nn.functional.gelu(own(seen) + adjacency @ message(seen))
        return self.read(states).sort(dim=-1).values


@dataclass(frozen=True)
class Corel:
    """A trained network and the correction of its intervals.

    center, spread  (feature,)         of the features it was trained on
    stretch         (wavelength,)      of half-widths, for marginal coverage at `level`
    joint_stretch   for joint coverage at `level`; infinite where too few planets calibrated
    """

    network: QuantileNetwork
    center: Array
    spread: Array
    level: float
    stretch: Array
    joint_stretch: float

    def intervals(self, features: Array, mean: Array, sigma: Array, promise: str = MARGINAL) -> Intervals:
        """Of new planets, (planet, wavelength), at the level it was calibrated for; MARGINAL or JOINT."""
        middle, half = _raw(self.network, self.center, self.spread, features, self.level)
        half = half * (self.joint_stretch if promise == JOINT else self.stretch)
        return Intervals(mean + sigma * (middle - half), mean + sigma * (middle + half), self.level, promise)

    def sigmas(self, features: Array, mean: Array, sigma: Array) -> Array:
        """The Gaussian sigmas whose central intervals are as wide; the temperature comes on top. (planet, wavelength)"""
        return sigma_of(self.intervals(features, mean, sigma), sigma)

    def recalibrated(self, features: Array, mean: Array, sigma: Array, truth: Array, level: float) -> Corel:
        """The same network with the conformal step at a level, on planets that it was not trained on."""
        middle, half = _raw(self.network, self.center, self.spread, features, level)
        excess = np.abs((truth - mean) / sigma - middle) / half
        stretch = conformal_quantile(excess, level)
        joint = float(conformal_quantile(excess.max(axis=1), level))
        return Corel(self.network, self.center, self.spread, level, stretch, joint)

    def to_arrays(self) -> dict[str, Array]:
        arrays = {f"network.{name}": t.detach().numpy() for name, t in self.network.state_dict().items()}
        return arrays | {
            "center": self.center,
            "spread": self.spread,
            "stretch": self.stretch,
            "levels": np.array([self.level, self.joint_stretch]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> Corel:
        network = QuantileNetwork(len(arrays["stretch"]))
        states = {name[8:]: torch.from_numpy(a.copy()) for name, a in arrays.items() if name.startswith("network.")}
        network.load_state_dict(states)
        level, joint = arrays["levels"].tolist()
        return cls(network.eval(), arrays["center"], arrays["spread"], level, arrays["stretch"], joint)


def train_corel(
    features: Array, mean: Array, sigma: Array, truth: Array, *, level: float, seed: int = 0, steps: int = STEPS
) -> Corel:
    """Train on a half of the planets, calibrate on the other half. The model behind mean must have seen none of them.

    features  (planet, wavelength, feature) from corel_features; the others (planet, wavelength); level in (0, 1)
    Where the calibrating half is too small for the level the intervals are infinite, with a TooFewPlanets warning.
    Raises SpectraMindError for fewer than MIN_PLANETS planets.
    """
    n = len(truth)
    if n < MIN_PLANETS:
        raise SpectraMindError(f"corel: expected at least {MIN_PLANETS} planets that the model was not trained on, found {n}")
    if not 0 < level < 1:
        raise SpectraMindError(f"corel: q is a coverage level between 0 and 1; found {level}")
    learn, calibrate = halves(n, seed)
    center = features[learn].mean(axis=(0, 1))
    spread = np.maximum(features[learn].std(axis=(0, 1)), 1e-3)
    z = ((truth - mean) / sigma).astype(np.float32)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = _fit((features[learn] - center) / spread, z[learn], steps)
    blank = Corel(network, center, spread, level, np.ones(z.shape[1]), 1.0)
    return blank.recalibrated(*(x[calibrate] for x in (features, mean, sigma, truth)), level)


def halves(n_planets: int, seed: int) -> tuple[Array, Array]:
    """Rows of the planets that train_corel trains on, and of those that it calibrates on."""
    order, learn = np.random.default_rng(seed).permutation(n_planets), max(2, n_planets // 2)
    return order[:learn], order[learn:]


def pinball_loss(predicted: Tensor, target: Tensor, quantiles: Tensor) -> Tensor:
    """Mean over all of max(q e, (q − 1) e), e = target − predicted (Koenker & Bassett 1978)."""
    error = target[..., None] - predicted
    return torch.maximum(quantiles * error, (quantiles - 1) * error).mean()


def _fit(features: Array, z: Array, steps: int) -> QuantileNetwork:
    """Adam with early stopping on a fifth of the planets; the best weights seen."""
    x, y = torch.from_numpy(features.astype(np.float32)), torch.from_numpy(z)
    aside = max(1, len(x) // 5)
    network = QuantileNetwork(z.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    quantiles = torch.from_numpy(QUANTILES).float()
    best, best_loss, since = None, float("inf"), 0
    for step in range(steps + 1):
        if step % CHECK_EVERY == 0:
            with torch.no_grad():
                loss = pinball_loss(network(x[:aside]), y[:aside], quantiles).item()
            since = 0 if loss < best_loss else since + 1
            if loss < best_loss:
                best, best_loss = {name: t.clone() for name, t in network.state_dict().items()}, loss
            if since >= PATIENCE:
                break
        batch = aside + torch.randint(len(x) - aside, (BATCH,))
        gumbel = -torch.empty(network.nodes, network.nodes).exponential_().log()
        loss = pinball_loss(network(x[batch], gumbel), y[batch], quantiles)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.load_state_dict(best)
    return network.eval()


def _raw(network: QuantileNetwork, center: Array, spread: Array, features: Array, level: float) -> tuple[Array, Array]:
    """Middle and half-width in sigmas of the network's own central interval, (planet, wavelength)."""
    x = torch.from_numpy(((features - center) / spread).astype(np.float32))
    with torch.no_grad():
        table = torch.cat([network(part) for part in x.split(64)]).double().numpy()
    low, high = (_interpolate(table, 0.5 * (1 + side * level)) for side in (-1, 1))
    return 0.5 * (low + high), np.maximum(0.5 * (high - low), 1e-3)


def _interpolate(table: Array, probability: float) -> Array:
    """The quantile at a probability from a table (..., quantile), straight between its columns and held at its ends."""
    place = np.interp(probability, QUANTILES, np.arange(len(QUANTILES)))
    left = min(int(place), len(QUANTILES) - 2)
    return table[..., left] * (1 - place + left) + table[..., left + 1] * (place - left)
