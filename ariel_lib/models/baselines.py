"""What others do with the same light curves, as a yardstick: each honestly trained on the same planets. Arrays only."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class ConstantSpectrum:
    """The public notebooks' answer: one white-light depth for every wavelength and one sigma for every planet.

    sigma is the root mean square of what that leaves over on training planets, the best constant there is.
    """

    sigma: float

    @classmethod
    def fit(cls, white_depth: np.ndarray, truth: np.ndarray) -> "ConstantSpectrum":
        """white_depth (planet,), truth (planet, wavelength)."""
        return cls(float(np.sqrt(np.mean((truth - white_depth[:, None]) ** 2))))

    def predict(self, white_depth: np.ndarray, n_wavelengths: int) -> tuple[np.ndarray, np.ndarray]:
        """mean and sigma (planet, wavelength)."""
        mean = np.repeat(np.maximum(white_depth, 0.0)[:, None], n_wavelengths, axis=1)
        return mean, np.full_like(mean, self.sigma)


def white_depth(depth: np.ndarray, sigma_uncorrelated: np.ndarray) -> float:
    """One depth for a whole spectrum: depth and sigma_uncorrelated sigma (wavelength,), weighted mean over AIRS."""
    return float(np.average(depth[1:], weights=sigma_uncorrelated[1:] ** -2))


class ResidualMLP(nn.Module):
    """x ← x + W₂ gelu(W₁ norm(x)), `blocks` times at `width`; features in, corrections of the white depth out.

    Four blocks are the kind of network that public notebooks train; eighty of width 128 the very deep one among them.
    """

    def __init__(self, features: int, outputs: int, blocks: int, width: int):
        super().__init__()
        self.lift = nn.Linear(features, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)) for _ in range(blocks)
        )
        for block in self.blocks:  # each starts as a small step, so that eighty of them can be trained at all
            nn.init.normal_(block[3].weight, std=0.02 / np.sqrt(blocks))
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lift(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


@dataclass(frozen=True)
class Fitted:
    """predict: features (planet, feature) → outputs (planet, output); parameters: how many were fitted."""

    predict: Callable[[np.ndarray], np.ndarray]
    parameters: int


@dataclass(frozen=True)
class Standard:
    """Columns in standard deviations about their mean, as float32 tensors, and back."""

    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Standard":
        return cls(values.mean(axis=0), np.maximum(values.std(axis=0), 1e-12))

    def apply(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(((values - self.centre) / self.scale).astype(np.float32))

    def undo(self, values: np.ndarray) -> np.ndarray:
        return self.centre + self.scale * values


@dataclass(frozen=True)
class NetworkBaseline:
    """A residual MLP trained on squared error at several learning rates; planets set aside (a fifth) say where each stops and which
    is kept. Inputs and targets are standardised by the training planets."""

    blocks: int
    width: int
    epochs: int = 200
    patience: int = 25
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    noise: float = 0.05  # of standardised inputs, drawn afresh every epoch
    seed: int = 0

    def fit(self, features: np.ndarray, targets: np.ndarray) -> Fitted:
        """features (planet, feature), targets (planet, output) → what maps features of other planets to their outputs."""
        order = np.random.default_rng(self.seed).permutation(len(features))
        aside, used = np.split(order, [max(1, len(order) // 5)])
        scale_x, scale_y = Standard.of(features[used]), Standard.of(targets[used])
        x, y = scale_x.apply(features), scale_y.apply(targets)
        runs = [self._train(x, y, used, aside, rate) for rate in self.learning_rates]
        _, network = min(runs, key=lambda run: run[0])

        def predict(others: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return scale_y.undo(network(scale_x.apply(others)).double().numpy())

        return Fitted(predict, sum(p.numel() for p in network.parameters()))

    def _train(
        self, x: torch.Tensor, y: torch.Tensor, used: np.ndarray, aside: np.ndarray, rate: float
    ) -> tuple[float, ResidualMLP]:
        """The least loss on the planets set aside, and the network that had it."""
        rng, generator = np.random.default_rng([self.seed, 1]), torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            network = ResidualMLP(x.shape[1], y.shape[1], self.blocks, self.width)
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
        best, kept, since = np.inf, None, 0
        for _ in range(self.epochs):
            for batch in np.array_split(rng.permutation(used), max(1, len(used) // 32)):
                shaken = x[batch] + self.noise * torch.randn(len(batch), x.shape[1], generator=generator)
                optimizer.zero_grad()
                nn.functional.mse_loss(network(shaken), y[batch]).backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
            with torch.no_grad():
                loss = float(nn.functional.mse_loss(network(x[aside]), y[aside]))
            since += 1
            if loss < best:
                best, since = loss, 0
                kept = {name: value.clone() for name, value in network.state_dict().items()}
            if since >= self.patience:
                break
        network.load_state_dict(kept or network.state_dict())
        return best, network


@dataclass(frozen=True)
class RidgeBaseline:
    """A linear multi-output regression of the whole spectrum; the penalty by leave-one-out cross-validation (scikit-learn)."""

    def fit(self, features: np.ndarray, targets: np.ndarray) -> Fitted:
        """As NetworkBaseline.fit."""
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 25))).fit(features, targets)
        return Fitted(model.predict, (features.shape[1] + 1) * targets.shape[1])


BASELINES = {
    "ridge": RidgeBaseline(),
    "mlp": NetworkBaseline(4, 256),
    "deep_mlp": NetworkBaseline(80, 128, epochs=100, learning_rates=(1e-4, 3e-4, 1e-3)),
}
FOLDS = 3


@dataclass(frozen=True)
class Answered:
    """mean and sigma (planet, wavelength), size of the model, seconds for training and for answering."""

    mean: np.ndarray
    sigma: np.ndarray
    parameters: int
    train_s: float
    answer_s: float


def answer_of(
    baseline, features: np.ndarray, white: np.ndarray, truth: np.ndarray, others: np.ndarray, white_others: np.ndarray
) -> Answered:
    """What the baseline says of `others`. It predicts what a spectrum adds to its white depth; its sigma is the best constant of each
    wavelength, the root mean square of what it leaves over on training planets it was not fitted on.

    features (planet, feature), white (planet,), truth (planet, wavelength); others and white_others likewise
    """
    clock = time.monotonic()
    targets, left = truth - white[:, None], np.empty_like(truth)
    for fold in np.array_split(np.random.default_rng(0).permutation(len(truth)), FOLDS):
        rest = np.setdiff1d(np.arange(len(truth)), fold)
        left[fold] = targets[fold] - baseline.fit(features[rest], targets[rest]).predict(features[fold])
    fitted, trained = baseline.fit(features, targets), time.monotonic()
    mean = np.maximum(white_others[:, None] + fitted.predict(others), 0.0)
    sigma = np.tile(np.sqrt(np.mean(left**2, axis=0)), (len(mean), 1))
    return Answered(mean, sigma, fitted.parameters, trained - clock, time.monotonic() - trained)
