"""What a configuration leaves to data and machine, chosen; and the digest of all that a training run depends on."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

import ariel_lib
from ariel_lib.config import Config, config_hash
from ariel_lib.io.checksums import sha256
from ariel_lib.models.precision import effective_precision
from ariel_lib.pipeline.checkpoint import FORMAT
from ariel_lib.pipeline.planet_fits import PlanetFits
from ariel_lib.priors.manifold import MIN_LABELS
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.training.examples import FOLDS
from ariel_lib.training.split import PlanetSplit

ENCODER_SAMPLES = 256  # samples a planet at the encoder, about, with the automatic bin_width on a CPU


def resolve(config: Config, longest: int, device: str) -> Config:
    """The configuration with bin_width 0 and the precision replaced by what the device computes with.

    longest  samples of the longest FGS1 light curve; on CUDA none is averaged
    device   of models.device
    """
    automatic = 1 if device == "cuda" else max(1, longest // ENCODER_SAMPLES)
    precision = effective_precision(config.training.precision, torch.device(device))
    model = replace(config.model, bin_width=config.model.bin_width or automatic)
    return replace(config, model=model, training=replace(config.training, precision=precision))


def resolve_initial_estimate(config: Config, labels: int, splits: Sequence[PlanetSplit], log: Callable[[str], None]) -> Config:
    """The configuration with model.initial_estimate mixture replaced by library where a prior of the run has too few labels for it.

    labels  number of all of them; the priors of the fitting planets have the fewest: no choosing or held-out planet and not their fold

    All priors of a run are of one kind, so that its networks correct in prediction what they corrected in training.
    """
    fewest = min(labels - len(s.choosing) - len(s.held_out) - math.ceil(len(s.fitting) / FOLDS) for s in splits)
    if config.model.initial_estimate != "mixture" or fewest >= MIN_LABELS:
        return config
    log(
        f"the initial estimate is the library posterior: the spectral manifold of model.initial_estimate=mixture needs {MIN_LABELS} "
        f"labels, and of {labels} some priors of this run see {max(fewest, 0)}"
    )
    return replace(config, model=replace(config.model, initial_estimate="library"))


def digest_inputs(planet_fits: PlanetFits, known: LabelledSpectra, initial_weights: str | None = None) -> str:
    """SHA-256 of what a run learns from: light curves and stars, by the source of each fit, labels, scale heights, initial weights."""
    digest = hashlib.sha256()
    sources = {planet: planet_fit.source for planet, planet_fit in planet_fits.fits.items()}
    digest.update(json.dumps([sources, known.labels.planet_ids, initial_weights and sha256(Path(initial_weights))]).encode())
    for array in (known.labels.depth, known.scale):
        digest.update(array.tobytes())
    return digest.hexdigest()


def run_fingerprint(config: Config, inputs: str, training: Sequence[str]) -> str:
    """What a run must share with an interrupted one to go on with its state: versions, configuration, content, training planets.

    config  resolved; training.max_hours, which only ends a run, may differ
    inputs  from digest_inputs
    """
    unlimited = replace(config, training=replace(config.training, max_hours=None))
    return json.dumps([ariel_lib.__version__, FORMAT, config_hash(unlimited), inputs, sorted(training)])
