"""Auto-decoder: a small network from latents to spectra; its latents are fitted to each training spectrum, without an encoder.

Bojanowski, Joulin, Lopez-Paz & Szlam 2018 (ICML, arXiv:1707.05776); Park et al. 2019 (CVPR, arXiv:1901.05103). Two hidden layers,
trained on the full batch by Adam (Kingma & Ba 2015, arXiv:1412.6980) with decoupled weight decay. NumPy: the network is small, and
priors are functions of arrays, without torch.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from ariel_lib.io.storage import Stored

HIDDEN = 128
STEPS = 2000
LEARNING_RATE = 6e-3
WARM_UP = 0.1  # share of the steps
WEIGHT_DECAY = 1e-2
JITTER = 0.05  # standard deviation of the noise on latents in training, where latents have about unit variance
LATENT_PENALTY = 1e-3  # weight of the latents' mean square in the loss, of which a target's mean square is about 1
DAMPING = 1e-2  # initial damping of Levenberg–Marquardt


@dataclass(frozen=True)
class Decoder(Stored):
    """f(z) = W₃ silu(W₂ silu(W₁ z + b₁) + b₂) + b₃: weights (input, output), biases (output,)."""

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    w3: np.ndarray
    b3: np.ndarray

    def __call__(self, latents: np.ndarray) -> np.ndarray:
        """Outputs (…, component) of latents (…, latent)."""
        first = _silu(latents @ self.w1 + self.b1)[0]
        return _silu(first @ self.w2 + self.b2)[0] @ self.w3 + self.b3

    def linearised(self, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Outputs (point, component) and their derivatives (point, latent, component) at latents (point, latent)."""
        first, slope = _silu(latents @ self.w1 + self.b1)
        jacobian = product(self.w1 * slope[:, None], self.w2)
        second, slope = _silu(first @ self.w2 + self.b2)
        return second @ self.w3 + self.b3, product(jacobian * slope[:, None], self.w3)

    def standardised(self, latents: np.ndarray) -> tuple[Self, np.ndarray]:
        """The same function of latents shifted and scaled to zero mean and unit variance, and these latents."""
        mean, spread = latents.mean(axis=0), np.maximum(latents.std(axis=0), 1e-6)
        arrays = self.to_arrays() | {"w1": self.w1 * spread[:, None], "b1": self.b1 + mean @ self.w1}
        return type(self)(**arrays), (latents - mean) / spread


def train_decoder(target: np.ndarray, n_latents: int, rng: np.random.Generator, steps: int = STEPS) -> tuple[Decoder, np.ndarray]:
    """Fit a decoder and latents to targets (spectrum, component), principal components in descending order of variance.

    Returns the decoder and the latents (spectrum, latent), standardised. Latents start at the first components.
    """
    scale = np.sqrt(np.mean(np.sum(target**2, axis=1)))
    target = (target / scale).astype(np.float32)
    start = target[:, :n_latents] / np.maximum(target[:, :n_latents].std(axis=0), 1e-6)
    sizes = (n_latents, HIDDEN, HIDDEN, target.shape[1])
    parameters = [start]
    for fan_in, fan_out in pairwise(sizes):
        parameters += [rng.uniform(-1, 1, (fan_in, fan_out)) / np.sqrt(fan_in), np.zeros(fan_out)]
    parameters = [x.astype(np.float32) for x in parameters]
    moments = [(np.zeros_like(x), np.zeros_like(x)) for x in parameters]
    for step in range(1, steps + 1):
        gradients = _gradients(parameters, target, JITTER * rng.standard_normal(start.shape, dtype=np.float32))
        _adam(parameters, gradients, moments, step, LEARNING_RATE * _schedule(step / steps))
    latents, *weights = (x.astype(float) for x in parameters)
    decoder = Decoder(*weights[:4], weights[4] * scale, weights[5] * scale)
    return decoder.standardised(latents)


def fit_latents(decoder: Decoder, starts: np.ndarray, target: np.ndarray, steps: int = 12) -> np.ndarray:
    """Latents (spectrum, latent) whose outputs are nearest to targets (spectrum, component), the best of starts (spectrum, start, latent).

    Levenberg–Marquardt, with the penalty on latents of training.
    """
    shape, penalty = starts.shape, LATENT_PENALTY * np.mean(np.sum(target**2, axis=1)) / starts.shape[-1]
    latents, target = starts.reshape(-1, shape[-1]), np.repeat(target, shape[1], axis=0)
    output, jacobian = decoder.linearised(latents)
    cost = np.sum((target - output) ** 2, axis=1) + penalty * np.sum(latents**2, axis=1)
    damping, unit = np.full(len(latents), DAMPING), np.eye(shape[-1])
    for _ in range(steps):
        normal = jacobian @ jacobian.transpose(0, 2, 1) + penalty * unit
        slope = np.einsum("nlc,nc->nl", jacobian, target - output) - penalty * latents
        step = np.linalg.solve(normal * (1 + damping[:, None, None] * unit), slope[..., None])[..., 0]
        moved, moved_jacobian = decoder.linearised(latents + step)
        moved_cost = np.sum((target - moved) ** 2, axis=1) + penalty * np.sum((latents + step) ** 2, axis=1)
        better = moved_cost < cost
        latents, output = np.where(better[:, None], latents + step, latents), np.where(better[:, None], moved, output)
        jacobian, cost = np.where(better[:, None, None], moved_jacobian, jacobian), np.where(better, moved_cost, cost)
        damping = np.clip(np.where(better, 0.3 * damping, 4 * damping), 1e-6, 1e3)
    best = cost.reshape(shape[:2]).argmin(axis=1)
    return latents.reshape(shape)[np.arange(len(best)), best]


def product(stack: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """stack @ matrix as one product, which is faster than one for each row of the stack."""
    return (stack.reshape(-1, stack.shape[-1]) @ matrix).reshape(*stack.shape[:-1], -1)


def _silu(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x · logistic(x) and its derivative (Elfwing, Uchibe & Doya 2018)."""
    logistic = 1 / (1 + np.exp(-np.maximum(x, -60)))
    value = x * logistic
    return value, logistic * (1 + x - value)


def _gradients(parameters: list[np.ndarray], target: np.ndarray, jitter: np.ndarray) -> list[np.ndarray]:
    """Gradients of the mean squared distance to target and of the penalty on latents, in the order of the parameters."""
    latents, w1, b1, w2, b2, w3, b3 = parameters
    moved, n = latents + jitter, np.float32(len(target))
    first, first_slope = _silu(moved @ w1 + b1)
    second, second_slope = _silu(first @ w2 + b2)
    third = (2 / n) * (second @ w3 + b3 - target)
    back2 = (third @ w3.T) * second_slope
    back1 = (back2 @ w2.T) * first_slope
    of_latents = back1 @ w1.T + np.float32(2 * LATENT_PENALTY / latents.size) * latents
    return [of_latents, moved.T @ back1, back1.sum(axis=0), first.T @ back2, back2.sum(axis=0), second.T @ third, third.sum(axis=0)]


def _adam(parameters: list[np.ndarray], gradients: list[np.ndarray], moments: list[tuple], step: int, rate: float) -> None:
    """One step of Adam, in place; weight decay acts on all but the latents, which come first and move twice as fast."""
    for n, (x, gradient, (mean, square)) in enumerate(zip(parameters, gradients, moments)):
        mean += np.float32(0.1) * (gradient - mean)
        square += np.float32(0.001) * (gradient**2 - square)
        speed = np.float32(rate * (2 if n == 0 else 1) / (1 - 0.9**step))
        if n:
            x *= np.float32(1 - rate * WEIGHT_DECAY)
        x -= speed * mean / (np.sqrt(square / np.float32(1 - 0.999**step)) + np.float32(1e-8))


def _schedule(progress: float) -> float:
    """Factor on the learning rate: linear warm-up, then a half cosine to zero (Loshchilov & Hutter 2017)."""
    return progress / WARM_UP if progress < WARM_UP else 0.5 * (1 + np.cos(np.pi * (progress - WARM_UP) / (1 - WARM_UP)))
