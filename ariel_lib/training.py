"""One explicit loop: labelled planets → a checkpoint. The only module that puts data, network and metric together.

Labels are few and noise is free: every epoch draws fresh depths for every planet from its own noise covariance, of its own
spectrum or of a mixed and rescaled one, and meets them with a memory that has never seen those spectra.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ariel_lib.archive import Archive, Spectra
from ariel_lib.budget import Budget
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.checking import feigned_depth
from ariel_lib.checkpoint import Checkpoint, RunState
from ariel_lib.config import Config, ConfigError, config_hash, to_dict
from ariel_lib.manifest import write_manifest
from ariel_lib.memory import backward_in_parts, forward_in_parts
from ariel_lib.metrics import column_weights, naive_statistics, reference_gain, summary, unclipped_score
from ariel_lib.models.features import (
    FGS1_CHANNELS,
    NODE_FEATURES,
    STAR_FEATURES,
    fgs1_channels,
    make_inputs,
    node_features,
    star_features,
)
from ariel_lib.models.inputs import Inputs
from ariel_lib.models.memory import Memory, Recollection, memorise
from ariel_lib.models.rivals import ConstantSpectrum, white_depth
from ariel_lib.models.v50 import V50
from ariel_lib.precision import mixed_precision
from ariel_lib.rounds import survey_within
from ariel_lib.storage import write_atomically
from ariel_lib.survey import Observation, Survey
from ariel_lib.symbolic.context import make_context
from ariel_lib.symbolic.rules import total_penalty
from ariel_lib.transit.drift import fit_drift_prior
from ariel_lib.transit.prior import fit_prior
from ariel_lib.uncertainty.temperature import Temperature, fit_temperature

FOLDS = 5  # of the training planets: each is met with a memory without its fold
DRAWS_AN_EPOCH = 512  # at least so many planets pass in one epoch, however few there are
REAL_SHARE = 0.25  # of the draws: the depth that was measured, with its true label
MIXED_SHARE = 0.5  # of the others: a spectrum mixed from the planet's fold
AMPLITUDE_SPREAD = 0.4  # standard deviation of ln(amplitude) of mixed spectra
SOFT_Z = 30.0  # beyond it the loss grows like a logarithm. At 4 the sigmas came out too small, and training cost 0.001 to 0.003
AVERAGING = 0.98  # decay a step of the running mean of the weights
MIN_PLANETS = 5
HONEST_PLANETS = 30.0  # that a temperature of one counts for: on 500 simulated planets the posterior's needed none
SURVEY_SHARE = 2 / 3  # of training.max_hours that calibration and fits may take; planets not reached are left out
ENCODER_SAMPLES = 256  # automatic bin_width: about so many samples a planet reach the encoder on a CPU


@dataclass(frozen=True)
class Example:
    """A labelled planet: what was measured, the memory it is met with, the spectra it may be mixed from, and its tensors."""

    observation: Observation
    truth: np.ndarray
    recollection: Recollection
    root: np.ndarray  # Cholesky factor of the depth covariance
    kin: np.ndarray  # (planet, wavelength): labels of its fold, itself included
    fgs1: np.ndarray
    fgs1_mask: np.ndarray
    shift: np.ndarray  # (wavelength,) that an achromatic bump in its light curves would feign; mostly zero

    def inputs(self, depth: np.ndarray) -> Inputs:
        """The planet as the network would see it, had `depth` (wavelength,) been measured."""
        mean, sigma, weights = (x[0] for x in self.recollection.moments(depth[None]))
        estimate = self.observation.estimate
        star = star_features(self.observation.star, estimate, float(weights @ self.recollection.amplitudes))
        return make_inputs(self.fgs1, self.fgs1_mask, mean, sigma, node_features(depth, estimate, mean, sigma), star)

    def draw(self, rng: np.random.Generator) -> tuple[Inputs, np.ndarray, np.ndarray]:
        """Fresh inputs, the spectrum they come from, and the shift of a bump in them."""
        if rng.random() < REAL_SHARE:
            return self.inputs(self.observation.estimate.depth), self.truth, self.shift
        truth = self._mix(rng) if rng.random() < MIXED_SHARE else self.truth
        return self.inputs(truth + self.root @ rng.standard_normal(len(truth))), truth, np.zeros_like(truth)

    def _mix(self, rng: np.random.Generator) -> np.ndarray:
        """This planet's white depth under a shape turned between two of its kin, rescaled; never negative."""
        first, second = self.kin[rng.integers(len(self.kin), size=2)]
        angle = rng.uniform(0, np.pi / 2)
        shape = np.cos(angle) * (first - first[1:].mean()) + np.sin(angle) * (second - second[1:].mean())
        return np.maximum(self.truth[1:].mean() + shape * np.exp(AMPLITUDE_SPREAD * rng.standard_normal()), 1e-6)


def train(
    config: Config, *, progress: Callable[[int, int], None] | None = None, log: Callable[[str], None] = print
) -> dict:
    """Train V50 on config.data; writes weights.safetensors and metrics.json under config.training.out.

    Returns paths and the scores on held-out planets of V50, of the memory that it starts from, of the closed-form posterior,
    of the physical estimate alone and of a constant spectrum, JSON-able. Goes on where a killed run of the same configuration
    and data stopped.
    Raises ArchiveError for malformed data, ConfigError where settings and data do not go together.
    """
    if config.data.root is None:
        raise ConfigError("data.root: expected a data folder, found none. Give data.root=DIR or +data.split=toy.")
    torch.set_num_threads(config.training.threads)
    with threadpool_limits(config.training.threads):
        return _train(config, progress, log)


def _train(config: Config, progress: Callable[[int, int], None] | None, log: Callable[[str], None]) -> dict:
    started, settings = time.monotonic(), config.training
    out, archive = Path(settings.out), Archive(config.data.root)
    labels, wavelength = archive.labels(config.data.folder), archive.wavelengths()
    budget = Budget(settings.max_hours and 3600 * settings.max_hours, started=started)
    survey = survey_within(
        archive, config.data.folder, budget.share(SURVEY_SHARE), log=log, scratch=out, light_curves=config.data.light_curves,
        workers=config.calibration.workers, settings=CalibrationSettings(airs_samples=config.calibration.airs_samples), progress=progress,
    )  # fmt: skip
    drift = fit_drift_prior([observation.estimate for observation in survey.observations.values()])
    survey = survey.given(drift)
    for planet, reason in survey.failures.items():
        log(f"planet {planet} left out: {reason}")
    training, validation = make_examples(
        survey, labels, wavelength, settings.validation_fraction, np.random.default_rng([settings.seed, 0])
    )
    if config.symbolic.microlens.weight:
        training = [replace(example, shift=feigned_depth(example.observation, wavelength)) for example in training]
    log(
        f"{len(training)} training planets, {len(validation)} held out, {time.monotonic() - started:.0f} s for the physical estimates"
    )
    naive = dict(zip(("naive_mean", "naive_sigma"), naive_statistics(labels.depth)))
    network = make_network(config, wavelength, training)
    history = _fit(network, training, validation, config, naive, started, log)
    temperature, scores = _judge(network, training, validation, naive, wavelength, use_temperature=config.calibration.temperature)
    checkpoint = Checkpoint(
        network, fit_prior(labels.depth, wavelength), memorise(labels.depth, wavelength), drift, temperature, wavelength,
        *(np.full(len(wavelength), naive[name]) for name in ("naive_mean", "naive_sigma")), to_dict(config),
        tuple(example.observation.estimate.planet_id for example in validation),
    )  # fmt: skip
    weights = checkpoint.save(out / "weights.safetensors")
    write_manifest(out, [weights.name], {"config_hash": config_hash(config)})
    result = {
        "weights": str(weights), "config_hash": config_hash(config), "epochs": len(history), "planets": len(training) + len(validation),
        "held_out": len(validation), "left_out": survey.failures, "validation": scores, "temperature": temperature.to_dict(),
        "parameters": sum(p.numel() for p in network.parameters()), "history": history,
    }  # fmt: skip
    write_atomically(out / "metrics.json", json.dumps(result | {"weights": weights.name}, indent=1).encode())
    (out / "state.safetensors").unlink(missing_ok=True)
    return {name: value for name, value in result.items() if name != "history"} | {
        "seconds": round(time.monotonic() - started, 1)
    }


def make_examples(
    survey: Survey, labels: Spectra, wavelength: np.ndarray, validation_fraction: float, rng: np.random.Generator
) -> tuple[list[Example], list[Example]]:
    """Training and held-out examples, split by planet. No memory that meets a planet holds its label.

    Raises ConfigError when fewer than MIN_PLANETS planets have both a label and an estimate.
    """
    known = set(labels.planet_ids)
    planets = [planet for planet in survey.observations if planet in known]
    if len(planets) < MIN_PLANETS:
        raise ConfigError(
            f"training: expected at least {MIN_PLANETS} planets with light curves and labels, found {len(planets)}"
        )
    planets = [planets[n] for n in rng.permutation(len(planets))]
    held_out = planets[: max(1, round(validation_fraction * len(planets)))]
    rest = planets[len(held_out) :]
    folds = [list(fold) for fold in np.array_split(rest, min(FOLDS, len(rest))) if len(fold)]
    training = [e for fold in folds for e in _examples(survey, labels, wavelength, fold, without=held_out + fold)]
    return training, _examples(survey, labels, wavelength, held_out, without=held_out)


def _examples(
    survey: Survey, labels: Spectra, wavelength: np.ndarray, planets: list[str], *, without: list[str]
) -> list[Example]:
    excluded = set(without)
    memory = memorise(labels.of(planet for planet in labels.planet_ids if planet not in excluded), wavelength)
    kin = labels.of(planets)
    return [_example(survey.observations[planet], truth, memory, kin) for planet, truth in zip(planets, kin)]


def _example(observation: Observation, truth: np.ndarray, memory: Memory, kin: np.ndarray) -> Example:
    covariance = observation.estimate.covariance
    fgs1, mask = fgs1_channels(observation.estimate, observation.visits())
    return Example(
        observation,
        truth,
        memory.given(covariance),
        np.linalg.cholesky(covariance),
        kin,
        fgs1.astype(np.float32),
        mask,
        np.zeros_like(truth),
    )


def make_network(config: Config, wavelength: np.ndarray, training: list[Example]) -> V50:
    """V50 as configured; bin_width 0 chooses it from the length of the light curves, or 1 on CUDA."""
    model = config.model
    longest = max(len(example.fgs1) for example in training)
    automatic = 1 if torch.cuda.is_available() else max(1, longest // ENCODER_SAMPLES)
    return V50(
        channels=len(FGS1_CHANNELS), node_features=NODE_FEATURES, star_features=STAR_FEATURES, wavelength=wavelength.tolist(),
        d_model=model.d_model, depth=model.ssm_depth, d_state=model.d_state, bin_width=model.bin_width or automatic,
        hidden=model.hidden, gnn_layers=model.gnn_layers, relations=model.relations, operator=model.operator, seed=config.training.seed,
    )  # fmt: skip


def _fit(network: V50, training, validation, config: Config, naive: dict, started: float, log) -> list[dict]:
    """Run the epochs; leaves the weights of the best validation score in the network. Epoch 0 is the memory's answer."""
    settings, device = config.training, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    optimizer = _optimizer(network, config)
    fingerprint = config_hash(config) + " ".join(sorted(example.observation.estimate.planet_id for example in training))
    state = RunState(Path(settings.out) / "state.safetensors", fingerprint, network, optimizer, AVERAGING)
    held_out = Inputs.stack([example.inputs(example.observation.estimate.depth) for example in validation])
    truth = np.stack([example.truth for example in validation])
    if not state.resume():
        state.note(None, unclipped_score(truth, *predict_inputs(network, held_out), **naive))
        log(f"epoch 0: held-out score {state.best_score:.4f}, what the memory answers")
    while len(state.history) <= settings.epochs and state.since_best < settings.patience:
        if settings.max_hours and time.monotonic() - started > 3600 * settings.max_hours:
            log(f"stopped after {settings.max_hours} h: training.max_hours")
            break
        epoch, clock = len(state.history), time.monotonic()
        loss = _epoch(
            network, optimizer, state, training, config, naive, np.random.default_rng([settings.seed, 1, epoch])
        )
        with state.averaged():
            score = unclipped_score(truth, *predict_inputs(network, held_out), **naive)
        state.note(loss, score)
        log(
            f"epoch {epoch}: loss {loss:.4f}, held-out score {score:.4f} (best {state.best_score:.4f}), {time.monotonic() - clock:.1f} s"
        )
    state.restore_best()
    network.cpu().eval()
    return state.history


def _epoch(
    network: V50, optimizer, state: RunState, training, config: Config, naive: dict, rng: np.random.Generator
) -> float:
    """One pass; the mean loss."""
    device, losses, most = next(network.parameters()).device, [], config.training.batch_size
    network.train()
    for inputs, truth, shift in _batches(training, config.training.batch_size, rng):
        loss_of = partial(_part_loss, network, inputs.to(device), truth.to(device), shift.to(device), config, naive)
        optimizer.zero_grad()
        loss, most = backward_in_parts(network, loss_of, len(inputs), most)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        state.average()
        losses.append(loss)
    return float(np.mean(losses))


def _part_loss(
    network: V50, inputs: Inputs, truth: torch.Tensor, shift: torch.Tensor, config: Config, naive: dict, part: slice
) -> torch.Tensor:
    """Mean loss of some of a batch's planets."""
    inputs, truth = inputs[part], truth[part]
    with mixed_precision(config.training.precision, truth.device):
        prediction = network(inputs)
    loss = challenge_loss(prediction, truth, naive, weighted=config.training.gll)
    if config.symbolic.weights:
        wavelength = torch.tensor(network.hyperparameters["wavelength"], device=truth.device)
        context = make_context(inputs.mean, inputs.sigma, wavelength, shift[part])
        loss = loss + total_penalty(prediction.mean, context, config.symbolic.weights)
    return loss


def _batches(training: list[Example], size: int, rng: np.random.Generator) -> Iterator[tuple[Inputs, torch.Tensor, torch.Tensor]]:
    rounds = -(-DRAWS_AN_EPOCH // len(training))
    order = np.concatenate([rng.permutation(len(training)) for _ in range(rounds)])
    for first in range(0, len(order), size):
        inputs, *arrays = zip(*(training[n].draw(rng) for n in order[first : first + size]))
        yield Inputs.stack(list(inputs)), *(torch.from_numpy(np.stack(rows).astype(np.float32)) for rows in arrays)


def challenge_loss(prediction, truth: torch.Tensor, naive: dict, *, weighted: bool = True) -> torch.Tensor:
    """Minus the challenge's gain, mean over planets and weighted wavelengths, softened beyond SOFT_Z (lower is better).

    prediction.mean, prediction.sigma, truth (planet, wavelength). weighted=False: plain softened negative log-likelihood.
    """
    z2 = ((truth - prediction.mean) / prediction.sigma) ** 2
    nll = prediction.sigma.log() + 0.5 * SOFT_Z**2 * torch.log1p(z2 / SOFT_Z**2)
    if not weighted:
        return nll.mean()
    weights = column_weights(truth.shape[1])
    reference = reference_gain(truth.double().cpu().numpy(), **naive)
    share = torch.from_numpy((weights / weights.sum() / reference).astype(np.float32)).to(truth.device)
    return (share * nll).sum(dim=1).mean()


def predict_inputs(network: V50, inputs: Inputs, batch_size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """mean (never negative) and sigma, (planet, wavelength), float64. A batch that does not fit into memory is halved."""
    device = next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        parts = forward_in_parts(lambda part: network(inputs[part].to(device)), len(inputs), batch_size)
    mean, sigma = (torch.cat([getattr(p, name) for p in parts]).double().cpu().numpy() for name in ("mean", "sigma"))
    return np.maximum(mean, 0.0), sigma


def _judge(
    network: V50, training, validation, naive: dict, wavelength: np.ndarray, *, use_temperature: bool
) -> tuple[Temperature, dict]:
    """The temperature, and the figures of V50 and of what it must beat, all on the held-out planets."""
    truth = np.stack([example.truth for example in validation])
    estimates = [example.observation.estimate for example in validation]
    inputs = Inputs.stack([example.inputs(e.depth) for example, e in zip(validation, estimates)])
    mean, sigma = predict_inputs(network, inputs)
    temperature = fit_temperature(mean, sigma, truth, **naive, honest_planets=HONEST_PLANETS) if use_temperature else Temperature()
    prior = fit_prior(np.stack([example.truth for example in training]), wavelength)
    posteriors = [prior.posterior(e.depth, e.covariance) for e in estimates]
    rival = ConstantSpectrum.fit(
        np.array([white_depth(e.observation.estimate.depth, e.observation.estimate.independent) for e in training]),
        np.stack([example.truth for example in training]),
    )
    answers = {
        "v50": (mean, temperature.apply(sigma)),
        "memory": (np.maximum(inputs.mean.double().numpy(), 0.0), inputs.sigma.double().numpy()),
        "posterior": (np.maximum([p.mean for p in posteriors], 0.0), np.array([p.sigma for p in posteriors])),
        "physical": (np.maximum([e.depth for e in estimates], 0.0), np.array([e.sigma for e in estimates])),
        "constant": rival.predict(np.array([white_depth(e.depth, e.independent) for e in estimates]), truth.shape[1]),
    }
    return temperature, {name: summary(truth, *answer, **naive) for name, answer in answers.items()} | {
        "constant_sigma": rival.sigma
    }


def _optimizer(network: V50, config: Config) -> torch.optim.Optimizer:
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    settings = config.training
    return kinds[settings.optimizer](
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
