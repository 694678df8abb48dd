"""COREL: relational conformal prediction, quantile regression of residuals on a learned graph over wavelengths.

Source: Cini, Jenkins, Mandic, Alippi & Bianchi, ICML 2025. As published: node embeddings, a sparse graph sampled from them
(straight-through top-k with Gumbel noise; Jang et al. 2017, arXiv:1611.01144), two layers of message passing, 39 quantiles
under the pinball loss. Different: the inputs are measurements of the planet, as a new planet has no past residuals; quantiles
are sorted; and a conformal step on planets apart (conformalised quantile regression) guarantees the coverage of intervals of planets
that are exchangeable with those and predicted in the same way.
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
CHECK_EVERY = 20  # steps between evaluations on the planets held out for early stopping
MIN_PLANETS = 3  # one each for training, early stopping and calibration: enough to run, too few for finite intervals


def corel_features(mean: Array, sigma: Array, depth: Array, depth_sigma: Array, sigma_uncorrelated: Array) -> Array:
    """Input features of each bin, (planet, wavelength, feature), float32.

    mean, sigma         prediction whose residuals are modelled
    depth, depth_sigma  depth and error from the transit fit alone
    sigma_uncorrelated  standard deviation of the part of the depth error that is independent between bins

    All (planet, wavelength).
    """
    deviation = np.clip((depth - mean) / np.hypot(depth_sigma, sigma), -5, 5)
    white = mean[:, 1:].mean(axis=1, keepdims=True)
    shape = np.clip((mean - white) / sigma, -20, 20) / 5
    logs = [np.log(x / 1e-4) for x in (sigma, sigma_uncorrelated)]
    return np.stack([deviation, shape, *logs, np.broadcast_to(np.log(white / 0.0147), mean.shape)], -1).astype(np.float32)


class QuantileNetwork(nn.Module):
    """Graph network from features (planet, node, feature) to ascending quantiles (planet, node, quantile) of the z scores."""

    def __init__(self, nodes: int):
        super().__init__()
        self.nodes = nodes
        self.source, self.target = (nn.Parameter(torch.randn(nodes, EMBEDDING) / EMBEDDING**0.5) for _ in range(2))
        self.lift = nn.Linear(FEATURES + EMBEDDING, HIDDEN)
        self.own = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(LAYERS))
        self.message = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN, bias=False) for _ in range(LAYERS))
        self.norm = nn.ModuleList(nn.LayerNorm(HIDDEN) for _ in range(LAYERS))
        self.read = nn.Linear(HIDDEN, len(QUANTILES))
        nn.init.zeros_(self.read.weight)  # initialised to a standard Gaussian, which leaves the sigmas unchanged
        with torch.no_grad():
            self.read.bias.copy_(torch.special.ndtri(torch.from_numpy(QUANTILES)).float())

    def graph(self, noise: Tensor | None = None) -> Tensor:
        """Row-normalised adjacency (node, node) with NEIGHBOURS entries per row; gradients pass through the soft scores.

        noise (node, node): added to the scores, in training.
        """
        scores = (self.target @ self.source.T).masked_fill(torch.eye(self.nodes, dtype=torch.bool), -torch.inf)
        soft = (scores if noise is None else scores + noise).softmax(-1)
        top = soft.topk(min(NEIGHBOURS, self.nodes - 1), dim=-1).indices
        hard = torch.zeros_like(soft).scatter(-1, top, 1 / top.shape[-1])
        return hard + soft - soft.detach()

    def forward(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        embedding = self.target.expand(len(features), -1, -1)
        states, adjacency = self.lift(torch.cat([features, embedding], -1)), self.graph(noise)
        for own, message, norm in zip(self.own, self.message, self.norm):
            normed = norm(states)
            states = states + torch.nn.functional.gelu(own(normed) + adjacency @ message(normed))
        return self.read(states).sort(dim=-1).values


@dataclass(frozen=True)
class Corel:
    """A trained quantile network and the conformal correction of its intervals.

    center, spread  (feature,)     mean and standard deviation of the training features
    level           coverage level of the correction
    stretch         (wavelength,)  factor on half-widths for marginal coverage
    joint_stretch   factor for joint coverage; infinite with too few calibration planets
    """

    network: QuantileNetwork
    center: Array
    spread: Array
    level: float
    stretch: Array
    joint_stretch: float

    def intervals(self, features: Array, mean: Array, sigma: Array, promise: str = MARGINAL) -> Intervals:
        """Intervals of new planets, (planet, wavelength), at the calibrated level.

        features from corel_features; mean, sigma (planet, wavelength); promise MARGINAL or JOINT coverage.
        """
        middle, half = _raw(self.network, self.center, self.spread, features, self.level)
        half = half * (self.joint_stretch if promise == JOINT else self.stretch)
        return Intervals(mean + sigma * (middle - half), mean + sigma * (middle + half), self.level, promise)

    def sigmas(self, features: Array, mean: Array, sigma: Array) -> Array:
        """Gaussian sigmas whose central intervals are as wide, (planet, wavelength), before the temperature is applied."""
        return sigma_of(self.intervals(features, mean, sigma), sigma)

    def recalibrated(self, features: Array, mean: Array, sigma: Array, truth: Array, level: float) -> Corel:
        """The same network with the conformal correction for a level, from planets not used in training."""
        middle, half = _raw(self.network, self.center, self.spread, features, level)
        excess = np.abs((truth - mean) / sigma - middle) / half
        stretch = conformal_quantile(excess, level)
        joint = float(conformal_quantile(excess.max(axis=1), level))
        return Corel(self.network, self.center, self.spread, level, stretch, joint)

    def to_arrays(self) -> dict[str, Array]:
        """Named arrays for a checkpoint; from_arrays is the inverse."""
        arrays = {f"network.{name}": t.detach().numpy() for name, t in self.network.state_dict().items()}
        return arrays | {
            "center": self.center,
            "spread": self.spread,
            "stretch": self.stretch,
            "levels": np.array([self.level, self.joint_stretch]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> Corel:
        """Inverse of to_arrays."""
        network = QuantileNetwork(len(arrays["stretch"]))
        states = {name[8:]: torch.from_numpy(a.copy()) for name, a in arrays.items() if name.startswith("network.")}
        network.load_state_dict(states)
        level, joint = arrays["levels"].tolist()
        return cls(network.eval(), arrays["center"], arrays["spread"], level, arrays["stretch"], joint)


def train_corel(
    features: Array, mean: Array, sigma: Array, truth: Array, *, level: float, seed: int = 0, steps: int = STEPS
) -> Corel:
    """Train a quantile network on half of the planets and calibrate it on the other half; the model of mean was trained on neither.

    features  (planet, wavelength, feature) from corel_features; the others (planet, wavelength); level in (0, 1)

    If the calibration half is too small for the level, intervals are infinite, with a TooFewPlanets warning.
    Raises SpectraMindError for fewer than MIN_PLANETS planets, for planets with values that are not finite, and for a level outside
    (0, 1).
    """
    n = len(truth)
    if n < MIN_PLANETS:
        raise SpectraMindError(f"corel: expected at least {MIN_PLANETS} planets that the model was not trained on, found {n}")
    if not 0 < level < 1:
        raise SpectraMindError(f"corel: expected a coverage level q between 0 and 1, found {level}")
    for name, values in {"features": features, "mean": mean, "sigma": sigma, "truth": truth}.items():
        if unknown := sorted(set(np.argwhere(~np.isfinite(values))[:, 0].tolist())):
            raise SpectraMindError(f"corel: expected finite {name}, found others in rows {unknown[:5]} of {n} planets. Leave these out.")
    train, calibrate = halves(n, seed)
    center = features[train].mean(axis=(0, 1))
    spread = np.maximum(features[train].std(axis=(0, 1)), 1e-3)
    z = ((truth - mean) / sigma).astype(np.float32)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = _fit((features[train] - center) / spread, z[train], steps)
    blank = Corel(network, center, spread, level, np.ones(z.shape[1]), 1.0)
    return blank.recalibrated(*(x[calibrate] for x in (features, mean, sigma, truth)), level)


def halves(n_planets: int, seed: int) -> tuple[Array, Array]:
    """Rows of the training planets and of the calibration planets of train_corel."""
    order, n_train = np.random.default_rng(seed).permutation(n_planets), max(2, n_planets // 2)
    return order[:n_train], order[n_train:]


def pinball_loss(predicted: Tensor, target: Tensor, quantiles: Tensor) -> Tensor:
    """Mean pinball loss max(q e, (q − 1) e), e = target − predicted (Koenker & Bassett 1978).

    predicted (…, quantile), target (…), quantiles (quantile,).
    """
    error = target[..., None] - predicted
    return torch.maximum(quantiles * error, (quantiles - 1) * error).mean()


def _fit(features: Array, z: Array, steps: int) -> QuantileNetwork:
    """Train by AdamW with early stopping on a fifth of the planets; returns the network with the best weights."""
    x, y = torch.from_numpy(features.astype(np.float32)), torch.from_numpy(z)
    held_out = max(1, len(x) // 5)
    network = QuantileNetwork(z.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    quantiles = torch.from_numpy(QUANTILES).float()
    best, best_loss, since = None, float("inf"), 0
    for step in range(steps + 1):
        if step % CHECK_EVERY == 0:
            with torch.no_grad():
                loss = pinball_loss(network(x[:held_out]), y[:held_out], quantiles).item()
            since = 0 if loss < best_loss else since + 1
            if loss < best_loss:
                best, best_loss = {name: t.clone() for name, t in network.state_dict().items()}, loss
            if since >= PATIENCE:
                break
        batch = held_out + torch.randint(len(x) - held_out, (BATCH,))
        gumbel = -torch.empty(network.nodes, network.nodes).exponential_().log()
        loss = pinball_loss(network(x[batch], gumbel), y[batch], quantiles)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.load_state_dict(best)
    return network.eval()


def _raw(network: QuantileNetwork, center: Array, spread: Array, features: Array, level: float) -> tuple[Array, Array]:
    """Midpoint and half-width in sigmas of the network's uncorrected central interval, (planet, wavelength)."""
    x = torch.from_numpy(((features - center) / spread).astype(np.float32))
    with torch.no_grad():
        table = torch.cat([network(part) for part in x.split(64)]).double().numpy()
    low, high = (_interpolate(table, 0.5 * (1 + side * level)) for side in (-1, 1))
    return 0.5 * (low + high), np.maximum(0.5 * (high - low), 1e-3)


def _interpolate(table: Array, probability: float) -> Array:
    """Quantile at a probability from a table (..., quantile), by linear interpolation, constant beyond its ends."""
    place = np.interp(probability, QUANTILES, np.arange(len(QUANTILES)))
    left = min(int(place), len(QUANTILES) - 2)
    return table[..., left] * (1 - place + left) + table[..., left + 1] * (place - left)
