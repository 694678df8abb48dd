"""The training loop of V50: transit fits, split, examples, epochs, figures of the held-out planets, checkpoint."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.config import Config, config_hash, to_dict
from ariel_lib.execution.time_budget import Budget
from ariel_lib.io.checksums import write_manifest
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Spectra
from ariel_lib.io.storage import write_atomically
from ariel_lib.metrics import naive_answer, unclipped_score
from ariel_lib.models.device import Device, choose_device
from ariel_lib.models.ensemble import Ensemble, predict_inputs
from ariel_lib.models.inputs import Inputs
from ariel_lib.models.out_of_memory import backward_in_parts
from ariel_lib.models.precision import mixed_precision
from ariel_lib.models.threads import threads
from ariel_lib.models.v50 import V50
from ariel_lib.pipeline.batches import fit_within_budget
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import PlanetFit, PlanetFits, by_text
from ariel_lib.priors.gaussian import fit_prior
from ariel_lib.priors.registry import INITIAL_NAMES, fit_initial_prior
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.symbolic.context import make_context
from ariel_lib.symbolic.rules import total_penalty
from ariel_lib.training import distributed
from ariel_lib.training.examples import labelled_planets, make_examples
from ariel_lib.training.held_out import answers_of, joined, judge
from ariel_lib.training.loss import challenge_loss
from ariel_lib.training.network import make_network, require_trainable, take_weights
from ariel_lib.training.resolution import digest_inputs, resolve, resolve_initial_estimate, run_fingerprint
from ariel_lib.training.run_state import RunState
from ariel_lib.training.split import PlanetSplit, split_planets
from ariel_lib.transit.bumps.fit import bump_depth_bias
from ariel_lib.transit.population.corrections import PopulationCorrections
from ariel_lib.transit.population.multiplicative_bias import MultiplicativeBias, fit_multiplicative_bias
from ariel_lib.transit.population.nuisance_prior import fit_nuisance_prior
from ariel_lib.uncertainty.temperature import Temperature

DRAWS_AN_EPOCH = 512  # examples in an epoch, at least; a smaller training set is passed several times
AVERAGING = 0.98  # decay a step of the running mean of the weights
FIT_SHARE = 2 / 3  # of training.max_hours for calibration and fits; planets not reached by then are left out


def train(
    dataset: Dataset, config: Config, *, progress: Callable[[int, int], None] | None = None, log: Callable[[str], None] = print
) -> dict:
    """Train V50 on a labelled data set; writes weights.safetensors and metrics.json under config.training.out.

    Returns, JSON-able, paths and under "validation" the scores on held-out planets of V50, its initial estimate (mixture_posterior, with
    few labels library_posterior), the gaussian_posterior, the transit fit alone (gls_fit) and a constant spectrum. The held-out planets
    chose neither weights nor epoch (other planets, counted as "choosing", did), and the temperature of each planet's sigmas is fitted to
    the other held-out planets, for every method. Planets without a transit fit that passes the quality checks take no part: "left_out"
    has the reason for each, "notes" remarks on the others. An interrupted run of the same configuration and data is resumed. Under
    torchrun the processes share each batch, and the first of them writes.
    Raises ArchiveError for malformed data, ConfigError for settings that do not fit the data.

    >>> from ariel_lib import Dataset, load_config, train
    >>> config = load_config(overrides=[f"training.out={out / 'v50'}", "training.epochs=1"])
    >>> result = train(Dataset(folder, split="train", scratch=out), config, log=lambda line: None)
    >>> sorted(result["validation"])
    ['constant', 'gaussian_posterior', 'gls_fit', 'library_posterior', 'v50']
    """
    with threads(config.training.threads), distributed.joined(config.training.device):
        return _train(dataset, config, progress, log if distributed.rank() == 0 else lambda line: None)


def _train(dataset: Dataset, config: Config, progress: Callable[[int, int], None] | None, log: Callable[[str], None]) -> dict:
    started, settings = time.monotonic(), config.training
    out, known = Path(settings.out), LabelledSpectra.read(dataset)
    known = known if config.model.scale_height else known.unscaled()
    budget = Budget(settings.max_hours and 3600 * settings.max_hours, started=started)
    require_trainable(config, known.labels.planet_ids, dataset.wavelengths)  # before hours of fits
    device = Device(distributed.agreed(choose_device(settings.device, log)))
    calibration = CalibrationSettings(airs_samples=config.calibration.airs_samples)
    planet_fits = distributed.from_leader(  # the same planets in all processes, which would train on without each other otherwise
        lambda: fit_within_budget(
            dataset, budget.share(FIT_SHARE), log=log, settings=calibration, workers=config.calibration.workers, progress=progress
        )
    )
    for line in by_text({planet: f"left out of training: {reason}" for planet, reason in planet_fits.failures.items()} | planet_fits.notes):
        log(line)
    planets = labelled_planets(planet_fits, known.labels)
    nuisance_prior = fit_nuisance_prior([planet_fit.estimate for planet_fit in planet_fits.fits.values()])
    planet_fits = planet_fits.conditioned_on(nuisance_prior)
    splits = split_planets(planets, settings.folds, settings.validation_fraction, np.random.default_rng([settings.seed, 0]))
    log(f"{len(planets)} planets, {time.monotonic() - started:.0f} s for the transit fits")
    config = resolve_initial_estimate(config, len(known.labels.planet_ids), splits, log)
    inputs = digest_inputs(planet_fits, known, settings.initial_weights)
    config, members = _fit_members(config, inputs, planet_fits, known, dataset.wavelengths, splits, device, budget, log)
    corrections = PopulationCorrections(nuisance_prior, _fit_bias(planet_fits, planets, known.labels, dataset.wavelengths, log))
    truth, answers = joined([member.answers for member in members])
    scores, temperatures = judge(truth, answers, naive_answer(known.labels.depth), temperature=config.calibration.temperature)
    checkpoint = _assemble(config, members, known, dataset.wavelengths, corrections, temperatures["v50"])
    weights, history = out / "weights.safetensors", [{"member": n} | epoch for n, m in enumerate(members) for epoch in m.history]
    result = {
        "weights": str(weights), "config_hash": config_hash(config), "epochs": sum(entry["epoch"] > 0 for entry in history),
        "planets": len(planets), "choosing": sum(len(split.choosing) for split in splits), "held_out": len(truth),
        "left_out": planet_fits.failures, "notes": planet_fits.notes, "validation": scores, "temperature": temperatures["v50"].to_dict(),
        "temperatures": {name: temperature.to_dict() for name, temperature in temperatures.items()},
        "parameters": sum(p.numel() for p in checkpoint.network.parameters()), "history": history,
    }  # fmt: skip
    if distributed.rank() == 0:
        _write(checkpoint, weights, result, unfinished=any(member.stopped for member in members))
    return {name: value for name, value in result.items() if name != "history"} | {
        "seconds": round(time.monotonic() - started, 1)
    }


def _assemble(
    config: Config, members: list["Member"], known: LabelledSpectra, wavelength: np.ndarray, corrections: PopulationCorrections,
    temperature: Temperature,
) -> Checkpoint:  # fmt: skip
    """The checkpoint: spectral priors and corrections are fitted to all labels."""
    depth, naive = known.labels.depth, naive_answer(known.labels.depth)
    return Checkpoint(
        Ensemble([member.network for member in members]), fit_prior(depth, wavelength),
        fit_initial_prior(config.model.initial_estimate, depth, wavelength, known.scale), corrections, temperature, wavelength,
        *(np.full(len(wavelength), naive[name]) for name in ("naive_mean", "naive_sigma")), to_dict(config),
        tuple(member.split.held_out for member in members), tuple(member.bias for member in members),
    )  # fmt: skip


def _write(checkpoint: Checkpoint, weights: Path, result: dict, unfinished: bool) -> None:
    """Write weights, manifest and metrics.json, then delete the states of the networks, unless training.max_hours ended one of them."""
    checkpoint.save(weights)
    write_manifest(weights.parent, [weights.name], {"config_hash": result["config_hash"]})
    write_atomically(weights.with_name("metrics.json"), json.dumps(result | {"weights": weights.name}, indent=1))
    for state in () if unfinished else weights.parent.glob("state_*.safetensors"):
        state.unlink()


def _fit_bias(
    planet_fits: PlanetFits, planets: list[str], labels: Spectra, wavelength: np.ndarray, log: Callable[[str], None]
) -> MultiplicativeBias:
    """The multiplicative bias of new planets, fitted to all labelled ones."""
    bias = fit_multiplicative_bias([planet_fits.fits[planet].estimate for planet in planets], labels.of(planets), wavelength)
    if bias.mean.any():
        log(f"multiplicative bias of the fitted depths, up to {100 * np.abs(bias.mean).max():.2f} %: corrected")
    return bias


@dataclass(frozen=True)
class Member:
    """A trained network.

    split    planets that it was fitted to, that chose its epoch, and that it has not seen
    bias     multiplicative bias without its held-out planets
    history  its epochs; stopped: whether training.max_hours ended them
    answers  `answers_of` its held-out planets
    """

    network: V50
    split: PlanetSplit
    bias: MultiplicativeBias
    history: list[dict]
    stopped: bool
    answers: dict[str, tuple]


def _fit_members(
    config: Config, inputs: str, planet_fits: PlanetFits, known: LabelledSpectra, wavelength: np.ndarray, splits: list[PlanetSplit],
    device: Device, budget: Budget, log: Callable[[str], None],
) -> tuple[Config, list[Member]]:  # fmt: skip
    """Train a network for each split, in equal shares of the time left. inputs: digest of the run's data.

    A network whose device fails is trained on from its last epoch on the CPU; several processes end together instead.

    Returns the configuration as resolved, and the networks.
    """
    members = []
    for n, split in enumerate(splits):
        naive = naive_answer(known.without([*split.choosing, *split.held_out]).labels.depth)  # the loss contains it
        rng = np.random.default_rng([config.training.seed, 2, n])
        examples = make_examples(planet_fits, known, wavelength, split, rng, config.model.initial_estimate)
        fitting = examples.fitting
        if config.symbolic.lensing_bump.weight:
            fitting = [replace(example, bump_depth_bias=_depth_bias_of_bumps(example.planet_fit, wavelength)) for example in fitting]
        log(
            f"network {n + 1} of {len(splits)}: fitted to {len(fitting)} planets, {len(split.choosing)} choose the epoch, "
            f"{len(split.held_out)} held out"
        )
        config = resolve(config, max(len(example.fgs1) for example in (*fitting, *examples.choosing, *examples.held_out)), device.name)
        deadline = time.monotonic() + max(budget.left, 0.0) / (len(splits) - n)
        work = partial(
            _fit, config=config, fingerprint=run_fingerprint(config, inputs, split.fitting), training=fitting, choosing=examples.choosing,
            wavelength=wavelength, naive=naive, member=n, deadline=deadline, log=log,
        )  # fmt: skip
        network, history, stopped = work(device.name) if distributed.size() > 1 else device.run(work, log)
        prior = fit_prior(known.without(split.held_out).labels.depth, wavelength)
        answers = answers_of(network, examples, prior, config.model.initial_estimate)
        members.append(Member(network, split, examples.bias, history, stopped, answers))
    return config, members


def _depth_bias_of_bumps(planet_fit: PlanetFit, wavelength: np.ndarray) -> np.ndarray:
    """(wavelength,) bias of the fitted depth by achromatic bumps in the planet's light curves."""
    return bump_depth_bias(planet_fit.estimate, planet_fit.visits(), planet_fit.star, wavelength)


def _fit(
    device: str, *, config: Config, fingerprint: str, training, choosing, wavelength: np.ndarray, naive: dict, member: int,
    deadline: float, log,
) -> tuple[V50, list[dict], bool]:  # fmt: skip
    """Train one network; it ends with the weights of the epoch that the choosing planets score best, 0 being before training.

    Returns it, on the CPU, the epochs with these scores, which are optimistic: they are not published as the network's; and whether the
    deadline ended them.
    """
    settings, network = config.training, make_network(config, wavelength, config.training.seed + member)
    if settings.initial_weights:
        take_weights(network, Path(settings.initial_weights), member)
    network.to(device)
    optimizer = _optimizer(network, config)
    state = RunState(_state_path(Path(settings.out), member), fingerprint, network, optimizer, AVERAGING)
    inputs = Inputs.stack([example.inputs(example.planet_fit.estimate.depth) for example in choosing])
    truth = np.stack([example.truth for example in choosing])

    def score(network: V50) -> float:
        return unclipped_score(truth, *predict_inputs(network, inputs), **naive)

    start = INITIAL_NAMES[config.model.initial_estimate]
    start += " corrected by training.initial_weights" if settings.initial_weights else ""
    state.begin(score, start, log)
    stopped = False
    while len(state.history) <= settings.epochs and state.since_best < settings.patience:
        if stopped := distributed.decided(time.monotonic() > deadline):
            log(f"stopped after {settings.max_hours} h: training.max_hours; the same command goes on from here")
            break
        epoch, clock = len(state.history), time.monotonic()
        loss = _epoch(network, optimizer, state, training, config, naive, [settings.seed, 1, member, epoch])
        state.note(loss, score(state.averaged))
        log(
            f"epoch {epoch}: loss {loss:.4f}, score of the choosing planets {state.history[-1]['score']:.4f} "
            f"(best {state.best_score:.4f}), {time.monotonic() - clock:.1f} s"
        )
    state.restore_best()
    return network.cpu().eval(), state.history, stopped


def _epoch(
    network: V50, optimizer, state: RunState, training, config: Config, naive: dict, seed: list[int]
) -> float:
    """One epoch; returns the mean loss."""
    device, losses, most = next(network.parameters()).device, [], config.training.batch_size
    network.train()
    network.encoder.recompute = config.training.recompute
    for inputs, truth, bias in _ahead(_batches(training, config.training.batch_size, seed)):
        loss_of = partial(_part_loss, network, inputs.to(device), truth.to(device), bias.to(device), config, naive)
        optimizer.zero_grad()
        loss, most = backward_in_parts(network, loss_of, len(inputs), most)
        distributed.average_gradients(network)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        state.average()
        losses.append(loss)
    return float(np.mean(losses))


def _part_loss(
    network: V50, inputs: Inputs, truth: torch.Tensor, bias: torch.Tensor, config: Config, naive: dict, part: slice
) -> torch.Tensor:
    """Mean loss, symbolic penalties included, of the planets `part` of a batch."""
    inputs, truth = inputs[part], truth[part]
    with mixed_precision(config.training.precision, truth.device):
        prediction = network(inputs)
    loss = challenge_loss(prediction, truth, naive, weighted=config.training.challenge_loss)
    if config.symbolic.weights:
        wavelength = torch.tensor(network.hyperparameters.wavelength, device=truth.device)
        context = make_context(inputs.mean, inputs.sigma, wavelength, bias[part])
        loss = loss + total_penalty(prediction.mean, context, config.symbolic.weights)
    return loss


def _batches(training, size: int, seed: list[int]) -> Iterator[tuple[Inputs, torch.Tensor, torch.Tensor]]:
    """One epoch in batches of `size`, shared among the processes; a last batch smaller than their number is dropped."""
    rng, passes, processes = np.random.default_rng(seed), -(-DRAWS_AN_EPOCH // len(training)), distributed.size()
    order = np.concatenate([rng.permutation(len(training)) for _ in range(passes)])
    draws = rng if processes == 1 else np.random.default_rng([*seed, distributed.rank()])
    for first in range(0, len(order), size):
        batch = order[first : first + size]
        if len(batch) < processes:
            break
        inputs, *arrays = zip(*(training[n].draw(draws) for n in batch[distributed.rank() :: processes]))
        yield Inputs.stack(list(inputs)), *(torch.from_numpy(np.stack(rows).astype(np.float32)) for rows in arrays)


def _ahead(batches: Iterator) -> Iterator:
    """The same batches; the next one is made in a thread while one is used, since closed-form posteriors take as long as the network."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _state_path(out: Path, member: int) -> Path:
    return out / f"state_{member}.safetensors"


def _optimizer(network: V50, config: Config) -> torch.optim.Optimizer:
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    settings = config.training
    return kinds[settings.optimizer](
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
