"""The settings and their defaults: frozen dataclasses, the schema against which files and overrides are checked.

The dataclasses check the range of each setting, whether a Config is made in Python or read from a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from ariel_lib.errors import SpectraMindError

TOY_ROOT = "build/toy/data"  # where `make toy` puts its data, relative to the working directory
SPLITS = ("train", "test", "toy")
OPERATORS = ("rgcn", "gatv2", "nnconv")
RELATIONS = ("neighbour", "white", "molecule", "region")
PRIORS = {"library": "spectral_library", "gaussian": "gaussian", "mixture": "mixture"}  # name → module of ariel_lib/priors
INITIAL_ESTIMATES = (*PRIORS, "fit", "white")
SSM_STEP, GATV2_STEP = 16, 4  # d_model and hidden are multiples of them, for whole heads of the Mamba-2 blocks and of gatv2
DEVICES = ("auto", "cpu", "cuda")
OPTIMIZERS = ("adamw", "adam", "sgd")


class ConfigError(SpectraMindError):
    """A setting is unknown, of the wrong type or out of range. The message is one sentence with its key."""


def _volatile(default):
    """A setting of place or speed that does not change results: it is left out of the configuration's hash."""
    return field(default=default, metadata={"volatile": True})


@dataclass(frozen=True)
class DataConfig:
    """The data set. split 'toy' is the training split of the set that `make toy` simulates: root defaults to build/toy/data.

    root            folder in Kaggle's layout, or None
    light_curves    folder that `spectramind calibrate` wrote, or None: calibrate when needed
    """

    root: str | None = _volatile(None)
    split: str = "train"
    light_curves: str | None = _volatile(None)

    def __post_init__(self):
        _require_choice("data.split", self.split, SPLITS)
        if self.split == "toy" and self.root is None:
            object.__setattr__(self, "root", TOY_ROOT)

    @property
    def folder(self) -> str:
        """Name of the split's folder under root: train or test."""
        return "train" if self.split == "toy" else self.split


@dataclass(frozen=True)
class CalibrationConfig:
    """Calibration of frames, and of standard deviations.

    airs_samples  AIRS light curves are binned to at least that many samples a visit, fewer than twice as many
    temperature   multiply the network's sigmas by factors fitted to held-out planets
    workers       parallel processes
    """

    airs_samples: int = 1125
    temperature: bool = True
    workers: int = _volatile(2)

    def __post_init__(self):
        _require("calibration.airs_samples", self.airs_samples, self.airs_samples >= 1, "at least 1")
        _require("calibration.workers", self.workers, self.workers >= 1, "at least 1")


@dataclass(frozen=True)
class ModelConfig:
    """V50's sizes and parts.

    bin_width     FGS1 samples averaged before the encoder, 0 chooses by the length of the visit
    initial_estimate  spectrum that the network corrects: posterior under the prior of that name (PRIORS), mixture being library where
                  labels are few; fit: depths of the transit fit without a prior; white: one depth at all wavelengths
    scale_height  whether the library prior conditions the size of a planet's features on its atmospheric scale height
    """

    name: str = "v50"
    d_model: int = 32
    d_state: int = 32
    ssm_depth: int = 2
    hidden: int = 48
    gnn_layers: int = 3
    operator: str = "rgcn"
    relations: tuple[str, ...] = RELATIONS
    bin_width: int = 0
    initial_estimate: str = "mixture"
    scale_height: bool = True

    def __post_init__(self):
        _require_choice("model.name", self.name, ("v50",))
        _require_choice("model.initial_estimate", self.initial_estimate, INITIAL_ESTIMATES)
        _require_choice("model.operator", self.operator, OPERATORS)
        object.__setattr__(self, "relations", tuple(self.relations))  # a list of JSON or of OmegaConf
        for relation in self.relations:
            _require_choice("model.relations", relation, RELATIONS)
        for name in ("d_model", "d_state", "hidden"):
            _require(f"model.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("ssm_depth", "gnn_layers", "bin_width"):
            _require(f"model.{name}", getattr(self, name), getattr(self, name) >= 0, "0 or more")
        if self.ssm_depth:
            _require("model.d_model", self.d_model, self.d_model % SSM_STEP == 0, f"a multiple of {SSM_STEP}")
        if self.gnn_layers and self.operator == "gatv2":
            _require("model.hidden", self.hidden, self.hidden % GATV2_STEP == 0, f"a multiple of {GATV2_STEP} with model.operator=gatv2")


@dataclass(frozen=True)
class TrainingConfig:
    """One run of the training loop.

    challenge_loss  the challenge's weighted likelihood as loss
    folds        number of networks in the ensemble. Each is fitted without its share of the planets, a single one without
                 validation_fraction of them. A quarter of these planets choose the epoch, the others are held out for
                 temperature and scores
    max_hours    end the training after that time and keep its result, or None
    initial_weights  weights.safetensors of another run to begin with, such as one on simulated data, or None
    recompute    compute the encoder's activations again in the backward pass in place of storing them: less memory, more time
    device       cpu, cuda, or auto: CUDA where it passes a test. A GPU that fails in training is left for the CPU
    precision    float32, or bfloat16: mixed, on a GPU that computes in it; elsewhere float32 all the same
    threads      of torch and BLAS; with one, results are the same bytes on any number of cores
    """

    seed: int = 0
    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = 1e-2
    challenge_loss: bool = True
    validation_fraction: float = 0.2
    folds: int = 1
    patience: int = 10
    max_hours: float | None = None
    initial_weights: str | None = None
    recompute: bool = _volatile(False)
    device: str = _volatile("auto")
    precision: str = "float32"
    threads: int = 1
    out: str = _volatile("outputs/v50")

    def __post_init__(self):
        _require_choice("training.optimizer", self.optimizer, OPTIMIZERS)
        _require_choice("training.device", self.device, DEVICES)
        _require_choice("training.precision", self.precision, ("float32", "bfloat16"))
        for name in ("epochs", "batch_size", "patience", "threads", "folds"):
            _require(f"training.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("seed", "weight_decay"):
            _require(f"training.{name}", getattr(self, name), getattr(self, name) >= 0, "0 or more")
        _require("training.learning_rate", self.learning_rate, self.learning_rate > 0, "more than 0")
        fraction = self.validation_fraction
        _require("training.validation_fraction", fraction, 0 < fraction < 1, "between 0 and 1")
        hours = self.max_hours
        _require("training.max_hours", hours, hours is None or hours > 0, "more than 0, or null for no limit")


@dataclass(frozen=True)
class CorelConfig:
    """Relational conformal intervals (COREL).

    enabled  train them on the held-out planets; `predict` then derives its sigmas from them
    q        their coverage

    As an override, `uncertainty.corel=true` is short for `uncertainty.corel.enabled=true`; a file spells it out, so that a
    later override of q leaves it on.
    """

    enabled: bool = False
    q: float = 0.80

    def __post_init__(self):
        _require("uncertainty.corel.q", self.q, 0 < self.q < 1, "between 0 and 1")


@dataclass(frozen=True)
class UncertaintyConfig:
    """Calibration of standard deviations after the temperature (calibration.temperature)."""

    corel: CorelConfig = field(default_factory=CorelConfig)


@dataclass(frozen=True)
class RuleConfig:
    """weight: factor of one physics rule's penalty in the training loss; 0: the rule is not computed."""

    weight: float = 0.0

    def __post_init__(self):
        _require("symbolic weight", self.weight, self.weight >= 0, "0 or more")


@dataclass(frozen=True)
class SymbolicConfig:
    """The rules of ariel_lib/symbolic, by name. All weights are 0 by default: their effect on training has not been measured."""

    smoothness: RuleConfig = field(default_factory=RuleConfig)
    nonnegativity: RuleConfig = field(default_factory=RuleConfig)
    resolution: RuleConfig = field(default_factory=RuleConfig)
    molecular_bands: RuleConfig = field(default_factory=RuleConfig)
    lensing_bump: RuleConfig = field(default_factory=RuleConfig)

    @property
    def weights(self) -> dict[str, float]:
        """Rule → weight, for weights above zero."""
        return {f.name: getattr(self, f.name).weight for f in fields(self) if getattr(self, f.name).weight}


@dataclass(frozen=True)
class Config:
    """All settings, by section."""

    data: DataConfig = field(default_factory=DataConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    uncertainty: UncertaintyConfig = field(default_factory=UncertaintyConfig)
    symbolic: SymbolicConfig = field(default_factory=SymbolicConfig)


def _require(key: str, value, holds: bool, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{key}: expected {expected}, found {value!r}.")


def _require_choice(key: str, value: str, choices: Sequence[str]) -> None:
    _require(key, value, value in choices, f"one of {', '.join(choices)}")
