"""Conformal intervals for a trained checkpoint: COREL on the planets that training held out, cross-fitted.

The conformal guarantee is for exchangeable planets predicted as the held-out ones are: by one network, with priors and bias of the labels
of the others. `predict` has priors of all labels, and the mean of several networks where there are several: nearly that predictor, and
not quite, so that its coverage is expected and not guaranteed. The sigmas that `update` gives it are no intervals and promise nothing.
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

from ariel_lib.config import ConfigError, config_hash, from_dict
from ariel_lib.io.checksums import verify, write_manifest
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import save_arrays, write_atomically
from ariel_lib.metrics import coverage, naive_answer, unclipped_score, z_statistics
from ariel_lib.models.threads import threads
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
from ariel_lib.uncertainty.temperature import (
    PRIOR_STRENGTH,
    Temperature,
    fit_temperature,
    folds_of_planets,
    noise_level,
)

FOLDS = 4  # of cross-fitting: each planet's intervals come from a COREL trained without it
CLASSES = 3  # of brightness, by the planet's median AIRS sigma
MIN_HELD_OUT = 4  # with fewer, a fold leaves too few planets to train COREL
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldOut:
    """Planets that neither the network nor the choice of its epoch has seen.

    features            (planet, wavelength, feature) inputs of COREL
    mean, sigma, truth  (planet, wavelength); sigma without temperature
    """

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
    update   store COREL in the checkpoint, so that `predict` takes its sigmas from it

    Intervals, coverages and scores are cross-fitted: COREL, its quantiles and every temperature behind a planet were fitted without it.
    Held-out planets whose transit fit fails the quality checks are left out: a warning and "left_out" name them.
    With too few held-out planets for q the intervals are infinite, and one warning gives the number needed.
    Raises ConfigError for fewer than MIN_HELD_OUT planets, and with `update` for infinite intervals; StorageError for weights that no
    manifest.json beside them lists.
    """
    weights, outdir, checkpoint = Path(weights), Path(outdir), Checkpoint.load(verify(weights))
    held_out, naive, left_out = _held_out(dataset, checkpoint, weights, workers, progress)
    with threads(checkpoint.config["training"]["threads"]), warnings.catch_warnings():
        warnings.simplefilter("ignore", TooFewPlanets)  # one warning for all folds follows
        corel = train_corel(held_out.features, *held_out.prediction, level=q)
        if update and not np.isfinite(corel.stretch).all():
            raise ConfigError(f"{weights} is not updated: {_shortage(len(held_out.mean), q)}")
        intervals, scores, statistics = _cross_fit(held_out, q, naive)
    if infinite := int(np.isinf(intervals[MARGINAL].upper).any(axis=1).sum()):
        logger.warning("infinite intervals for %d of %d planets: %s", infinite, len(held_out.mean), _shortage(len(held_out.mean), q))
    table = _write_tables(outdir, held_out, intervals)
    save_arrays(outdir / "corel.safetensors", corel.to_arrays(), {"q": str(q)})
    result = {"q": q, "planets": len(held_out.mean), "score": scores, "statistics": statistics, "left_out": left_out} | table
    write_atomically(outdir / "coverage.json", json.dumps(result, indent=1))
    if update:
        replace(checkpoint, corel=corel, temperature=_temperature(corel, held_out, naive)).save(weights)
        write_manifest(weights.parent, [weights.name], {"config_hash": config_hash(from_dict(checkpoint.config))})
    return result | {"outdir": str(outdir), "checkpoint_updated": update}


def require_held_out(n: int, q: float) -> None:
    """Raise ConfigError where n held-out planets are too few to store COREL at coverage q in a checkpoint."""
    if n < MIN_HELD_OUT or len(halves(n, 0)[1]) < planets_needed(q):
        raise ConfigError(f"uncertainty.corel: {_shortage(n, q)}")


def _shortage(n: int, q: float) -> str:
    return (
        f"{n} held-out planets are too few for {q:.0%} intervals of finite width; {_enough(q)} are needed. "
        "Train with more planets or a larger training.validation_fraction, or choose a smaller q."
    )


def _enough(q: float) -> int:
    """The least number of held-out planets with which every fold leaves planets_needed(q) to calibrate on."""
    return next(n for n in count(MIN_HELD_OUT) if len(halves(n - -(-n // FOLDS), 0)[1]) >= planets_needed(q))


def _held_out(
    dataset: Dataset, checkpoint: Checkpoint, weights: Path, workers: int, progress
) -> tuple[HeldOut, dict[str, float], dict[str, str]]:
    """The held-out planets with an acceptable fit, the naive answer, and the reasons of the others."""
    planets = sum(checkpoint.held_out, ())
    settings = checkpoint.calibration_settings
    planet_fits = fit_planets(dataset.select(planets), settings=settings, workers=workers, progress=progress).accepted()
    for planet, reason in planet_fits.failures.items():
        logger.warning("held-out planet %s left out: %s", planet, reason)
    known = LabelledSpectra.read(dataset)
    if not planet_fits.fits:
        raise ConfigError(f"{weights}: expected light curves of its {len(planets)} held-out planets under {dataset.root}, found none.")
    if len(planet_fits.fits) < MIN_HELD_OUT:
        raise ConfigError(f"{weights}: expected at least {MIN_HELD_OUT} held-out planets, found {len(planet_fits.fits)}.")
    held_out_checkpoints = checkpoint.as_held_out(known)
    fits = planet_fits.conditioned_on(held_out_checkpoints).fits
    answers = [answer(planet_fit, held_out_checkpoints[planet]) for planet, planet_fit in fits.items()]
    mean, sigma, depth, depth_sigma = (
        np.stack([getattr(found, name) for found in answers]) for name in ("mean", "sigma", "depth", "depth_sigma")
    )
    features = corel_features(mean, sigma, depth, depth_sigma, np.stack([o.estimate.sigma_uncorrelated for o in fits.values()]))
    naive = naive_answer(known.labels.depth)
    return HeldOut(tuple(fits), features, mean, sigma, known.labels.of(fits)), naive, planet_fits.failures


def _cross_fit(held_out: HeldOut, q: float, naive: dict) -> tuple[dict[str, Intervals], dict[str, float], dict[str, dict]]:
    """Cross-fitted intervals of every planet by coverage kind (MARGINAL, JOINT); scores of the sigmas from COREL and from the
    temperature alone; and their z_rms and coverage_80 (of the temperature alone where no interval is finite)."""
    n, wavelengths = held_out.mean.shape
    edges = {kind: np.empty((2, n, wavelengths)) for kind in (MARGINAL, JOINT)}
    sigmas = {name: np.empty((n, wavelengths)) for name in ("temperature", "corel")}
    for fitted, left_out in folds_of_planets(n, FOLDS):
        known, new = held_out.take(fitted), held_out.take(left_out)
        corel = train_corel(known.features, *known.prediction, level=q)
        for kind, bounds in edges.items():
            found = corel.intervals(new.features, new.mean, new.sigma, kind)
            bounds[0, left_out], bounds[1, left_out] = found.lower, found.upper
        sigma = corel.sigmas(new.features, new.mean, new.sigma)
        sigmas["corel"][left_out] = _temperature(corel, known, naive).apply(sigma)
        temperature = fit_temperature(*known.prediction, **naive, prior_strength=PRIOR_STRENGTH)
        sigmas["temperature"][left_out] = temperature.apply(new.sigma)
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
    return {kind: Intervals(*bounds, q, kind) for kind, bounds in edges.items()}, scores, statistics


def _temperature(corel: Corel, held_out: HeldOut, naive: dict) -> Temperature:
    """The temperature of COREL's sigmas, fitted to the half of the planets that its network was not trained on."""
    rest = held_out.take(halves(len(held_out.mean), 0)[1])
    sigma = corel.sigmas(rest.features, rest.mean, rest.sigma)
    return fit_temperature(rest.mean, sigma, rest.truth, **naive, prior_strength=PRIOR_STRENGTH)


def _write_tables(outdir: Path, held_out: HeldOut, intervals: dict[str, Intervals]) -> dict:
    """Write intervals.csv and coverage_by_bin.csv; returns marginal and joint coverage, overall and by brightness class."""
    level = noise_level(held_out.sigma)
    classes = brightness_classes(level, np.quantile(level, np.arange(1, CLASSES) / CLASSES))
    names = [f"wl_{n + 1}" for n in range(held_out.mean.shape[1])]
    columns = {"planet_id": held_out.planet_ids}
    for kind, found in intervals.items():
        for side in ("lower", "upper"):
            columns |= {f"{kind}_{side}_{n}": column for n, column in zip(names, getattr(found, side).T)}
    by_bin = {"bin": names} | {kind: found.hits(held_out.truth).mean(axis=0) for kind, found in intervals.items()}
    write_atomically(outdir / "intervals.csv", pd.DataFrame(columns).to_csv(index=False))
    write_atomically(outdir / "coverage_by_bin.csv", pd.DataFrame(by_bin).to_csv(index=False))
    return {kind: coverage_table(found, held_out.truth, classes) for kind, found in intervals.items()}
