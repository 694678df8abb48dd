"""Baseline models for comparison with V50, trained on the same planets: a constant spectrum, ridge regression and MLPs."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class ConstantSpectrum:
    """Baseline of public notebooks: the white-light depth at every wavelength, and one sigma for all planets.

    sigma: root mean square residual on the training planets, the constant with the highest likelihood.
    """

    sigma: float

    @classmethod
    def fit(cls, white_depth: np.ndarray, truth: np.ndarray) -> "ConstantSpectrum":
        """Fit sigma to training planets: white_depth (planet,), truth (planet, wavelength)."""
        return cls(float(np.sqrt(np.mean((truth - white_depth[:, None]) ** 2))))

    def predict(self, white_depth: np.ndarray, n_wavelengths: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sigma (planet, wavelength) from white_depth (planet,)."""
        mean = np.repeat(np.maximum(white_depth, 0.0)[:, None], n_wavelengths, axis=1)
        return mean, np.full_like(mean, self.sigma)


def white_depth(depth: np.ndarray, sigma_uncorrelated: np.ndarray) -> float:
    """Weighted mean of depth (wavelength,) over AIRS, with weights sigma_uncorrelated (wavelength,) to the power −2."""
    return float(np.average(depth[1:], weights=sigma_uncorrelated[1:] ** -2))


class ResidualMLP(nn.Module):
    """Residual network x ← x + W₂ gelu(W₁ norm(x)) of `blocks` blocks and given width, from features to corrections of the white depth.

    Public notebooks use networks like that with four blocks, and one with eighty of width 128.
    """

    def __init__(self, features: int, outputs: int, blocks: int, width: int):
        super().__init__()
        self.lift = nn.Linear(features, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)) for _ in range(blocks)
        )
        for block in self.blocks:  # small initial steps, needed to train eighty blocks
            nn.init.normal_(block[3].weight, std=0.02 / np.sqrt(blocks))
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lift(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


@dataclass(frozen=True)
class Fitted:
    """A fitted baseline. predict: features (planet, feature) → outputs (planet, output); parameters: number fitted."""

    predict: Callable[[np.ndarray], np.ndarray]
    parameters: int


@dataclass(frozen=True)
class Standard:
    """Standardisation of columns to zero mean and unit variance, as float32 tensors, and its inverse."""

    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Standard":
        """Fit to values (row, column)."""
        return cls(values.mean(axis=0), np.maximum(values.std(axis=0), 1e-12))

    def apply(self, values: np.ndarray) -> torch.Tensor:
        """Standardised values."""
        return torch.from_numpy(((values - self.centre) / self.scale).astype(np.float32))

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Inverse of apply."""
        return self.centre + self.scale * values


@dataclass(frozen=True)
class NetworkBaseline:
    """A residual MLP trained on squared error, with standardised inputs and targets.

    A fifth of the planets is held out for early stopping and for the choice among the learning rates.
    """

    blocks: int
    width: int
    epochs: int = 200
    patience: int = 25
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    noise: float = 0.05  # standard deviation of noise added to the standardised inputs
    seed: int = 0

    def fit(self, features: np.ndarray, targets: np.ndarray) -> Fitted:
        """Fit to features (planet, feature) and targets (planet, output)."""
        order = np.random.default_rng(self.seed).permutation(len(features))
        held_out, used = np.split(order, [max(1, len(order) // 5)])
        scale_x, scale_y = Standard.of(features[used]), Standard.of(targets[used])
        x, y = scale_x.apply(features), scale_y.apply(targets)
        runs = [self._train(x, y, used, held_out, rate) for rate in self.learning_rates]
        _, network = min(runs, key=lambda run: run[0])

        def predict(others: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return scale_y.undo(network(scale_x.apply(others)).double().numpy())

        return Fitted(predict, sum(p.numel() for p in network.parameters()))

    def _train(
        self, x: torch.Tensor, y: torch.Tensor, used: np.ndarray, held_out: np.ndarray, rate: float
    ) -> tuple[float, ResidualMLP]:
        """Lowest loss on the held-out planets, and the network at that epoch."""
        rng, generator = np.random.default_rng([self.seed, 1]), torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            network = ResidualMLP(x.shape[1], y.shape[1], self.blocks, self.width)
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
        best, kept, since = np.inf, None, 0
        for _ in range(self.epochs):
            for batch in np.array_split(rng.permutation(used), max(1, len(used) // 32)):
                noisy = x[batch] + self.noise * torch.randn(len(batch), x.shape[1], generator=generator)
                optimizer.zero_grad()
                nn.functional.mse_loss(network(noisy), y[batch]).backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
            with torch.no_grad():
                loss = float(nn.functional.mse_loss(network(x[held_out]), y[held_out]))
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
    """Multi-output ridge regression of the whole spectrum, the penalty chosen by leave-one-out cross-validation (scikit-learn)."""

    def fit(self, features: np.ndarray, targets: np.ndarray) -> Fitted:
        """Fit to features (planet, feature) and targets (planet, output)."""
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
    """Predictions of a baseline: mean and sigma (planet, wavelength), number of parameters, seconds of training and of prediction.

    residual  (planet, wavelength) of the training planets, truth minus prediction in cross-validation
    """

    mean: np.ndarray
    sigma: np.ndarray
    residual: np.ndarray
    parameters: int
    train_s: float
    answer_s: float


def answer_of(
    baseline, features: np.ndarray, white: np.ndarray, truth: np.ndarray, others: np.ndarray, white_others: np.ndarray
) -> Answered:
    """Train a baseline and predict the spectra of other planets.

    The baseline predicts the deviation of a spectrum from its white depth. Its sigma is constant at each wavelength: the root mean
    square residual of training planets in cross-validation.

    features (planet, feature), white (planet,) depth, truth (planet, wavelength) of training planets; others and white_others:
    features and white depth of the planets to predict
    """
    clock = time.monotonic()
    targets, residual = truth - white[:, None], np.empty_like(truth)
    for fold in np.array_split(np.random.default_rng(0).permutation(len(truth)), FOLDS):
        rest = np.setdiff1d(np.arange(len(truth)), fold)
        residual[fold] = targets[fold] - baseline.fit(features[rest], targets[rest]).predict(features[fold])
    fitted, trained = baseline.fit(features, targets), time.monotonic()
    mean = np.maximum(white_others[:, None] + fitted.predict(others), 0.0)
    sigma = np.tile(np.sqrt(np.mean(residual**2, axis=0)), (len(mean), 1))
    return Answered(mean, sigma, residual, fitted.parameters, trained - clock, time.monotonic() - trained)
