"""Intervals with a coverage guarantee for a trained checkpoint: COREL on the planets that training held out, judged by cross-fitting.

Knows the order of the stages, not their insides.
"""

import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from ariel_lib.config import ConfigError, config_hash, from_dict
from ariel_lib.io.checksums import write_manifest
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import save_arrays, write_atomically
from ariel_lib.metrics import coverage, naive_answer, unclipped_score, z_statistics
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import fit_planets
from ariel_lib.prediction.answer import answer
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.uncertainty.conformal import (
    JOINT,
    MARGINAL,
    Intervals,
    TooFewPlanets,
    brightness_classes,
    coverage_table,
    planets_needed,
)
from ariel_lib.uncertainty.corel import Corel, corel_features, halves, train_corel
from ariel_lib.uncertainty.temperature import Temperature, fit_temperature, folds_of_planets, noise_level

FOLDS = 4  # each planet's intervals come from a COREL that has not seen it
CLASSES = 3  # of brightness, by the planet's median AIRS sigma
MIN_HELD_OUT = 4  # with fewer, a fold leaves less than what COREL can be trained on
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldOut:
    """Planets that the network was not trained on: answers before any temperature and the truth, (planet, wavelength);
    features (planet, wavelength, feature)."""

    planet_ids: tuple[str, ...]
    features: np.ndarray
    mean: np.ndarray
    sigma: np.ndarray
    truth: np.ndarray

    def take(self, rows: np.ndarray) -> "HeldOut":
        ids = tuple(np.array(self.planet_ids)[rows].tolist())
        return HeldOut(ids, *(getattr(self, name)[rows] for name in ("features", "mean", "sigma", "truth")))

    @property
    def prediction(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.mean, self.sigma, self.truth


def train_intervals(
    dataset: Dataset,
    *,
    weights: Path | str,
    outdir: Path | str,
    q: float,
    update: bool = False,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Train COREL at coverage q; write intervals.csv, coverage.json, coverage_by_bin.csv and corel.safetensors to outdir.

    dataset  the labelled data set that the weights were trained on
    update   store the intervals in the checkpoint, so that `predict` takes its sigmas from them

    Intervals and tables are cross-fitted: no planet is judged by a network or a quantile that has seen it.
    Too few held-out planets for q: the intervals are infinite, one warning says how many it takes, and a checkpoint is not
    updated. Raises ConfigError then, and for fewer than MIN_HELD_OUT planets.
    """
    weights, outdir, checkpoint = Path(weights), Path(outdir), Checkpoint.load(weights)
    held_out, naive = _held_out(dataset, checkpoint, weights, workers, progress)
    torch.set_num_threads(checkpoint.config["training"]["threads"])
    with threadpool_limits(checkpoint.config["training"]["threads"]), warnings.catch_warnings():
        warnings.simplefilter("ignore", TooFewPlanets)  # a sentence for all of them follows
        corel = train_corel(held_out.features, *held_out.prediction, level=q)
        if update and not np.isfinite(corel.stretch).all():
            raise ConfigError(f"{weights} is left as it is: {_shortage(len(held_out.mean), q)}")
        intervals, scores, statistics = _cross_fit(held_out, q, naive)
    if infinite := int(np.isinf(intervals[MARGINAL].upper).any(axis=1).sum()):
        logger.warning("infinite intervals for %d of %d planets: %s", infinite, len(held_out.mean), _shortage(len(held_out.mean), q))
    table = _write_tables(outdir, held_out, intervals)
    save_arrays(outdir / "corel.safetensors", corel.to_arrays(), {"q": str(q)})
    result = {"q": q, "planets": len(held_out.mean), "score": scores, "statistics": statistics} | table
    write_atomically(outdir / "coverage.json", json.dumps(result, indent=1).encode())
    if update:
        replace(checkpoint, corel=corel, temperature=_temperature(corel, held_out, naive)).save(weights)
        write_manifest(weights.parent, [weights.name], {"config_hash": config_hash(from_dict(checkpoint.config))})
    return result | {"outdir": str(outdir), "checkpoint_updated": update}


def _shortage(n: int, q: float) -> str:
    return (
        f"{n} held-out planets are too few for {q:.0%} intervals of finite width; it takes {_enough(q)}. "
        "Train with more planets or a larger training.validation_fraction, or ask for a smaller q."
    )


def _enough(q: float) -> int:
    """Held-out planets with which every fold leaves planets_needed(q) to calibrate on."""
    return next(n for n in count(MIN_HELD_OUT) if len(halves(n - -(-n // FOLDS), 0)[1]) >= planets_needed(q))


def _held_out(dataset: Dataset, checkpoint: Checkpoint, weights: Path, workers: int, progress) -> tuple[HeldOut, dict[str, float]]:
    planets = sum(checkpoint.held_out, ())
    planet_fits = fit_planets(dataset.select(planets), workers=workers, progress=progress)
    known = LabelledSpectra.read(dataset)
    fits = planet_fits.conditioned_on(checkpoint).fits
    if not fits:
        raise ConfigError(f"{weights} held out {len(planets)} planets, of which {dataset.root} has none.")
    if len(fits) < MIN_HELD_OUT:
        raise ConfigError(f"{weights}: expected at least {MIN_HELD_OUT} held-out planets, found {len(fits)}.")
    held_out_checkpoints = checkpoint.as_held_out(known)
    answers = [
        answer(planet_fit, replace(held_out_checkpoints[planet], temperature=Temperature(), corel=None))
        for planet, planet_fit in fits.items()
    ]
    mean, sigma, depth, depth_sigma = (
        np.stack([getattr(found, name) for found in answers]) for name in ("mean", "sigma", "depth", "depth_sigma")
    )
    features = corel_features(mean, sigma, depth, depth_sigma, np.stack([o.estimate.sigma_uncorrelated for o in fits.values()]))
    naive = naive_answer(known.labels.depth)
    return HeldOut(tuple(fits), features, mean, sigma, known.labels.of(fits)), naive


def _cross_fit(held_out: HeldOut, q: float, naive: dict) -> tuple[dict[str, Intervals], dict[str, float], dict[str, dict]]:
    """Intervals of every planet by promise; the scores of sigmas from COREL and from the temperature alone; and their
    z_rms and coverage_80 (of the temperature alone where no interval is finite)."""
    n, wavelengths = held_out.mean.shape
    edges = {promise: np.empty((2, n, wavelengths)) for promise in (MARGINAL, JOINT)}
    sigmas = {name: np.empty((n, wavelengths)) for name in ("temperature", "corel")}
    for seen, judged in folds_of_planets(n, FOLDS):
        known, new = held_out.take(seen), held_out.take(judged)
        corel = train_corel(known.features, *known.prediction, level=q)
        for promise, both in edges.items():
            found = corel.intervals(new.features, new.mean, new.sigma, promise)
            both[0, judged], both[1, judged] = found.lower, found.upper
        own = corel.sigmas(new.features, new.mean, new.sigma)
        sigmas["corel"][judged] = _temperature(corel, known, naive).apply(own)
        sigmas["temperature"][judged] = fit_temperature(*known.prediction, **naive).apply(new.sigma)
    if np.isinf(edges[MARGINAL]).all():
        del sigmas["corel"]  # widths that are all infinite make no sigmas
    scores = {name: unclipped_score(held_out.truth, held_out.mean, sigma, **naive) for name, sigma in sigmas.items()}
    statistics = {
        name: {
            "z_rms": z_statistics(held_out.truth, held_out.mean, sigma)["z_rms"],
            "coverage_80": coverage(held_out.truth, held_out.mean, sigma, 0.8),
        }
        for name, sigma in sigmas.items()
    }
    return {promise: Intervals(*both, q, promise) for promise, both in edges.items()}, scores, statistics


def _temperature(corel: Corel, held_out: HeldOut, naive: dict) -> Temperature:
    """Of COREL's sigmas, on the half of the planets that its network was not trained on."""
    rest = held_out.take(halves(len(held_out.mean), 0)[1])
    return fit_temperature(rest.mean, corel.sigmas(rest.features, rest.mean, rest.sigma), rest.truth, **naive)


def _write_tables(outdir: Path, held_out: HeldOut, intervals: dict[str, Intervals]) -> dict:
    """intervals.csv and coverage_by_bin.csv; returns marginal and joint coverage, in all and by brightness class."""
    level = noise_level(held_out.sigma)
    classes = brightness_classes(level, np.quantile(level, np.arange(1, CLASSES) / CLASSES))
    names = [f"wl_{n + 1}" for n in range(held_out.mean.shape[1])]
    columns = {"planet_id": held_out.planet_ids}
    for promise, found in intervals.items():
        for side in ("lower", "upper"):
            columns |= {f"{promise}_{side}_{n}": column for n, column in zip(names, getattr(found, side).T)}
    by_bin = {"bin": names} | {promise: found.hits(held_out.truth).mean(axis=0) for promise, found in intervals.items()}
    write_atomically(outdir / "intervals.csv", pd.DataFrame(columns).to_csv(index=False).encode())
    write_atomically(outdir / "coverage_by_bin.csv", pd.DataFrame(by_bin).to_csv(index=False).encode())
    return {promise: coverage_table(found, held_out.truth, classes) for promise, found in intervals.items()}
