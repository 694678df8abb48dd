"""What can be set, and its default: frozen dataclasses, over which a YAML file and overrides lay their differences.

The only importer of Hydra and OmegaConf, and only once a file is composed. Other modules take plain values, never a
Config; training alone takes it whole, because a checkpoint stores it.
"""

import difflib
import hashlib
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path

from ariel_lib.errors import SpectraMindError

TOY_ROOT = "build/toy/data"  # where `make toy` puts its data, relative to the working directory
SPLITS = ("train", "test", "toy")
OPERATORS = ("rgcn", "gatv2", "nnconv")
RELATIONS = ("neighbour", "white", "molecule", "region")
PRIORS = {"library": "spectral_library", "gaussian": "gaussian"}  # name → module of ariel_lib/priors
INITIAL_ESTIMATES = (*PRIORS, "fit", "white")
SWITCH = "enabled"  # the setting that `group=true` and `group=false` mean
OPTIMIZERS = ("adamw", "adam", "sgd")


class ConfigError(SpectraMindError):
    """A setting is unknown, of the wrong type or out of range: one sentence that names the key."""


def _volatile(default):
    """A setting that says where or how fast, never what: it stays out of the configuration's hash."""
    return field(default=default, metadata={"volatile": True})


@dataclass(frozen=True)
class DataConfig:
    """Which data. split 'toy' is the training split of a toy set: root defaults to build/toy/data, read from train/.

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
    """airs_samples: AIRS is binned to about that many a visit. temperature: rescale sigmas on held-out planets."""

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
    initial_estimate        what the network corrects: the library's answer, the transit fit without any prior, or one white depth
    scale_height  whether the library expects features to be as large as the planet's scale height lets them be
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
    initial_estimate: str = "library"
    scale_height: bool = True

    def __post_init__(self):
        _require_choice("model.name", self.name, ("v50",))
        _require_choice("model.initial_estimate", self.initial_estimate, INITIAL_ESTIMATES)
        _require_choice("model.operator", self.operator, OPERATORS)
        for relation in self.relations:
            _require_choice("model.relations", relation, RELATIONS)
        for name in ("d_model", "d_state", "hidden"):
            _require(f"model.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("ssm_depth", "gnn_layers", "bin_width"):
            _require(f"model.{name}", getattr(self, name), getattr(self, name) >= 0, "0 or more")


@dataclass(frozen=True)
class TrainingConfig:
    """One run of the training loop.

    challenge_loss  the challenge's weighted likelihood as loss
    folds        networks that answer together; each holds out its share of the planets, one alone validation_fraction
    max_hours    end cleanly after that time, or None
    initial_weights  weights.safetensors of another run to begin with, such as one on simulated data, or None
    recompute    the encoder's steps are computed again on the way back, not kept: less memory, more time
    precision    float32, or bfloat16: mixed, on a GPU that computes in it; elsewhere float32 all the same
    threads      of torch and BLAS. One gives the same bytes on any number of cores, and does not stall on a busy machine
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
    precision: str = "float32"
    threads: int = 1
    out: str = _volatile("outputs/v50")

    def __post_init__(self):
        _require_choice("training.optimizer", self.optimizer, OPTIMIZERS)
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
    """enabled: train relational conformal intervals on the held-out planets, and let them make the sigmas; q: their level.

    As an override, `uncertainty.corel=true` is short for `uncertainty.corel.enabled=true`; a file spells it out, so that a
    later override of q leaves it on.
    """

    enabled: bool = False
    q: float = 0.80

    def __post_init__(self):
        _require("uncertainty.corel.q", self.q, 0 < self.q < 1, "between 0 and 1")


@dataclass(frozen=True)
class UncertaintyConfig:
    """What is done to sigmas beyond the temperature (calibration.temperature)."""

    corel: CorelConfig = field(default_factory=CorelConfig)


@dataclass(frozen=True)
class RuleConfig:
    """weight of one physics rule's penalty beside the likelihood; 0: the rule is not computed."""

    weight: float = 0.0

    def __post_init__(self):
        _require("symbolic weight", self.weight, self.weight >= 0, "0 or more")


@dataclass(frozen=True)
class SymbolicConfig:
    """The rules of ariel_lib/symbolic, by name. All are off by default: what they are worth in training is not measured yet."""

    smoothness: RuleConfig = field(default_factory=RuleConfig)
    nonnegativity: RuleConfig = field(default_factory=RuleConfig)
    resolution: RuleConfig = field(default_factory=RuleConfig)
    molecular_bands: RuleConfig = field(default_factory=RuleConfig)
    lensing_bump: RuleConfig = field(default_factory=RuleConfig)

    @property
    def weights(self) -> dict[str, float]:
        """By rule, those above zero."""
        return {f.name: getattr(self, f.name).weight for f in fields(self) if getattr(self, f.name).weight}


@dataclass(frozen=True)
class Config:
    """Everything that can be set."""

    data: DataConfig = field(default_factory=DataConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    uncertainty: UncertaintyConfig = field(default_factory=UncertaintyConfig)
    symbolic: SymbolicConfig = field(default_factory=SymbolicConfig)


def load_config(path: Path | str | None = None, overrides: Iterable[str] = ()) -> Config:
    """Defaults, then the YAML file at path, then overrides in order.

    `k.l=v` and `+k.l=v` both set, whether the file names the key or not. `+data=ariel_nominal` and
    `data=ariel_nominal` choose a file of a group: from data/ beside the YAML file, else from those shipped here.
    Raises ConfigError for anything that is not understood.
    """
    return from_dict(_compose(Path(path) if path is not None else None, list(overrides)))


ALIASES = {  # earlier names of settings, which keep working
    "model.origin": "model.initial_estimate",
    "training.start": "training.initial_weights",
    "training.gll": "training.challenge_loss",
    "symbolic.nonneg": "symbolic.nonnegativity",
    "symbolic.fft": "symbolic.resolution",
    "symbolic.rt": "symbolic.molecular_bands",
    "symbolic.microlens": "symbolic.lensing_bump",
}
VALUE_ALIASES = {("model.initial_estimate", "memory"): "library"}


def _with_current_names(values: Mapping) -> dict:
    """The same settings under their present names. Raises ConfigError where one is given under both."""
    found = {section: dict(keys) if isinstance(keys, Mapping) else keys for section, keys in values.items()}
    for old, new in ALIASES.items():
        section, _, name = old.partition(".")
        keys = found.get(section)
        if isinstance(keys, dict) and name in keys:
            present = new.partition(".")[2]
            if present in keys:
                raise ConfigError(f"{old} is the earlier name of {new}: give one of them, not both.")
            keys[present] = keys.pop(name)
    for (key, old), new in VALUE_ALIASES.items():
        section, _, name = key.partition(".")
        if isinstance(found.get(section), dict) and found[section].get(name) == old:
            found[section][name] = new
    return found


def to_dict(config: Config) -> dict:
    """Plain dict of plain values, ready for JSON."""
    return json.loads(json.dumps(asdict(config)))


def from_dict(values: Mapping) -> Config:
    """The reverse of to_dict; missing keys take their defaults. Raises ConfigError for unknown keys and wrong types."""
    return _build(Config, _with_current_names(values) if isinstance(values, Mapping) else values, "")


def config_hash(config: Config) -> str:
    """SHA-256 of the sorted JSON of all that changes a result, to the last bit: paths and worker counts are left out."""
    text = json.dumps(_without_volatile(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _without_volatile(node):
    if not is_dataclass(node):
        return node
    return {f.name: _without_volatile(getattr(node, f.name)) for f in fields(node) if not f.metadata.get("volatile")}


# Composing the YAML file and the overrides


def shipped_configs() -> Path:
    """The folder configs/ that comes with the package: inside it when installed from a wheel, else beside it."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "configs"


def _compose(path: Path | None, overrides: Sequence[str]) -> dict:
    """The differences from the defaults as one nested dict, with Hydra's own grammar for overrides and groups."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    shipped = shipped_configs()
    if path is not None and not path.is_file():
        raise ConfigError(f"{path}: no such configuration file.")
    if path is not None and path.suffix != ".yaml":
        raise ConfigError(f"{path}: expected a file that ends in .yaml.")
    folder, name = (path.resolve().parent, path.stem) if path is not None else (shipped, None)
    try:
        chosen = _groups_in_defaults(OmegaConf.load(path)) if path is not None else set()
        lines = [_normal_form(text, chosen) for text in overrides]
        if folder != shipped and shipped.is_dir():
            lines.insert(0, f"hydra.searchpath=['file://{shipped}']")
        with initialize_config_dir(config_dir=str(folder), version_base="1.3"):
            return OmegaConf.to_container(compose(config_name=name, overrides=lines), resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError, OSError) as error:
        raise ConfigError(_one_sentence(path, error)) from error


def _groups_in_defaults(content) -> set[str]:
    """Groups that the file's own defaults list chooses already: Hydra wants `k=v` for them, `+k=v` for others."""
    defaults = content.get("defaults", []) if isinstance(content, Mapping) else []
    return {str(key).split()[-1] for entry in defaults if isinstance(entry, Mapping) for key in entry}


def _normal_form(text: str, chosen: set[str]) -> str:
    """An override as Hydra needs it: groups by whether the file chose one, values always as add-or-set (`++`)."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        hint = "write key=value, and quotes around a value that holds brackets or commas"
        raise ConfigError(f"override {text!r} is not understood: {hint}.") from error
    if override.is_delete() or override.key_or_group.startswith("hydra"):
        return text
    if override.is_sweep_override():
        raise ConfigError(f"override {text!r} holds several values: give one, or a list in brackets as in key=[a,b].")
    key, value = override.key_or_group, override.value()
    if isinstance(value, bool) and _has_switch(key):
        text = text.replace(key, f"{key}.{SWITCH}", 1)
    if key in _section_names() and not isinstance(value, str | dict):
        example = f"{key}.{fields(_section(key))[0].name}"
        raise ConfigError(f"override {text!r}: {key} is a section; set one of its keys, such as {example}.")
    if key in _section_names() and isinstance(value, str):
        return text.lstrip("+") if key in chosen else f"+{text.lstrip('+')}"
    return f"++{text.lstrip('+')}"


def _has_switch(key: str) -> bool:
    """Whether the key names a group of settings that can be turned on and off as a whole."""
    kind = Config
    for name in key.split("."):
        kind = typing.get_type_hints(kind).get(name) if is_dataclass(kind) else None
    return is_dataclass(kind) and SWITCH in {f.name for f in fields(kind)}


def _section_names() -> tuple[str, ...]:
    return tuple(f.name for f in fields(Config))


def _one_sentence(path: Path | None, error: Exception) -> str:
    """Hydra and YAML explain over several lines: keep what was wrong and, for a group, what there is to choose from."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = lines[: next((n for n, line in enumerate(lines) if line.startswith("Config search path")), len(lines))]
    return f"{path or 'overrides'}: {' '.join(lines)}"


# From plain values to dataclasses


def _build(cls: type, values: Mapping, prefix: str):
    """An instance of a configuration dataclass from a mapping, every key and type checked."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix.rstrip('.') or 'the configuration'}: expected keys and values, found {values!r}.")
    hints = typing.get_type_hints(cls)
    settings = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in hints:
            raise ConfigError(f"unknown setting {key}.{_nearest(key)}")
        kind = hints[name]
        settings[name] = _build(kind, value, f"{key}.") if is_dataclass(kind) else _coerce(key, value, kind)
    return cls(**settings)


def _nearest(key: str) -> str:
    """' Did you mean …?' with the valid key most like this one, judged by the whole key and by its last part."""
    keys = list(_all_keys(Config, ""))
    last = {known.rpartition(".")[2]: known for known in keys}
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    close = close or [last[name] for name in difflib.get_close_matches(key.rpartition(".")[2], last, n=1, cutoff=0.6)]
    return f" Did you mean {close[0]}?" if close else f" The sections are {', '.join(_section_names())}."


def _all_keys(cls: type, prefix: str) -> Iterable[str]:
    """Dotted names of all settings and groups of them."""
    for name, kind in typing.get_type_hints(cls).items():
        yield f"{prefix}{name}"
        if is_dataclass(kind):
            yield from _all_keys(kind, f"{prefix}{name}.")


def _section(name: str) -> type:
    return typing.get_type_hints(Config)[name]


def _coerce(key: str, value, kind):
    """value as the field's type. An integer may stand for a float, nothing else is converted."""
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kind = next(option for option in typing.get_args(kind) if option is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigError(f"{key}: expected a list such as [a,b], found {value!r}.")
        return tuple(_coerce(key, item, typing.get_args(kind)[0]) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        raise ConfigError(f"{key}: expected {words[kind]}, found {value!r}.")
    return value


def _require(key: str, value, holds: bool, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{key}: expected {expected}, found {value!r}.")


def _require_choice(key: str, value: str, choices: Sequence[str]) -> None:
    _require(key, value, value in choices, f"one of {', '.join(choices)}")
