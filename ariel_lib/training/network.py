"""The network of a configuration, with the weights of another run where there is one; settings that make none raise here."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ariel_lib.config import Config, ConfigError
from ariel_lib.io.checksums import verify
from ariel_lib.models.features import FGS1_CHANNELS, NODE_FEATURES, STAR_FEATURES
from ariel_lib.models.v50 import V50, Hyperparameters
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.training.split import split_planets


def make_network(config: Config, wavelength: np.ndarray, seed: int = 0) -> V50:
    """V50 as configured. config: resolved."""
    model = config.model
    return V50(Hyperparameters(
        channels=len(FGS1_CHANNELS), node_features=NODE_FEATURES, star_features=STAR_FEATURES, wavelength=wavelength.tolist(),
        d_model=model.d_model, depth=model.ssm_depth, d_state=model.d_state, bin_width=model.bin_width,
        hidden=model.hidden, gnn_layers=model.gnn_layers, relations=model.relations, operator=model.operator, seed=seed,
    ))  # fmt: skip


def take_weights(network: V50, path: Path, member: int) -> None:
    """Load the weights of another run, such as one on simulated data. Raises ConfigError for a network of other sizes."""
    members = Checkpoint.load(verify(path)).network.members
    try:
        network.load_state_dict(members[member % len(members)].state_dict())
    except RuntimeError as error:
        raise ConfigError(f"training.initial_weights: expected a network of the sizes in model, found another in {path}") from error


def require_trainable(config: Config, labelled: Sequence[str], wavelength: np.ndarray) -> None:
    """Raise ConfigError or StorageError for settings with which no transit fits of these planets can be trained on.

    labelled    planets with a label; those with a fit may be fewer
    wavelength  (wavelength,) micron

    These are parts of the planets that are too small, and initial weights that are missing, damaged or of other sizes.
    """
    settings = config.training
    split_planets(labelled, settings.folds, settings.validation_fraction, np.random.default_rng(0))  # their sizes are those of any seed
    if settings.initial_weights:
        sizes = replace(config, model=replace(config.model, bin_width=1))  # on which no weight depends
        take_weights(make_network(sizes, wavelength), Path(settings.initial_weights), 0)
