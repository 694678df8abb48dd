"""Conversion of a Config to and from nested dicts, with names and types checked by OmegaConf; and its hash."""

import difflib
import hashlib
import json
import typing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass

from ariel_lib.config.settings import Config, ConfigError

ALIASES = {  # earlier names of settings, which keep working
    "model.origin": "model.initial_estimate",
    "training.start": "training.initial_weights",
    "training.gll": "training.challenge_loss",
    "symbolic.nonneg": "symbolic.nonnegativity",
    "symbolic.fft": "symbolic.resolution",
    "symbolic.rt": "symbolic.molecular_bands",
    "symbolic.microlens": "symbolic.lensing_bump",
}
VALUE_ALIASES = {"model.initial_estimate": {"memory": "library"}}
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "a list such as [a,b]"}


def to_dict(config: Config) -> dict:
    """Nested dict of values that JSON can store."""
    return json.loads(json.dumps(asdict(config)))


def from_dict(values: Mapping) -> Config:
    """The reverse of to_dict; missing keys take their defaults. Raises ConfigError for unknown keys and wrong types."""
    from omegaconf import OmegaConf

    if not isinstance(values, Mapping):
        raise ConfigError(f"the configuration: expected keys and values, found {values!r}.")
    kinds, schema = setting_types(), OmegaConf.structured(Config)
    for key in ("", *(key for key, kind in kinds.items() if is_dataclass(kind))):
        OmegaConf.set_readonly(OmegaConf.select(schema, key) if key else schema, None)  # read-only so far
    for key, value in _with_current_names(dict(_nodes(values))).items():
        if key not in kinds:
            raise ConfigError(f"unknown setting {key}.{nearest_setting(key)}")
        is_group = is_dataclass(kinds[key]) and isinstance(value, Mapping)  # its own settings follow
        if not is_group and not _set_unchanged(schema, key, value):
            raise ConfigError(f"{key}: expected {expected_value(kinds[key])}, found {value!r}.")
    return OmegaConf.to_object(schema)


def _set_unchanged(schema, key: str, value) -> bool:
    """Set a value of the schema; whether it has the setting's type. A whole number may stand for a float, nothing else is
    converted: OmegaConf alone would also take "3" for 3, 1 for true and 3 for "3"."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    value = list(value) if isinstance(value, tuple) else value  # OmegaConf replaces a list by a list alone
    try:
        OmegaConf.update(schema, key, value)
        taken = OmegaConf.select(schema, key)
    except OmegaConfBaseException:
        return False
    return taken == value and isinstance(taken, bool) == isinstance(value, bool)


def config_hash(config: Config) -> str:
    """SHA-256 of the sorted JSON of all settings that change a result in any bit; paths and numbers of workers are left out."""
    text = json.dumps(_without_volatile(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _without_volatile(node):
    if not is_dataclass(node):
        return node
    return {f.name: _without_volatile(getattr(node, f.name)) for f in fields(node) if not f.metadata.get("volatile")}


def setting_types(cls: type = Config, prefix: str = "") -> dict[str, type]:
    """Annotated type of every setting, and of every group of them, by dotted name."""
    found = {}
    for name, kind in typing.get_type_hints(cls).items():
        found[f"{prefix}{name}"] = kind
        if is_dataclass(kind):
            found |= setting_types(kind, f"{prefix}{name}.")
    return found


def _nodes(values: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key of nested mappings by its dotted name, groups before what they hold."""
    for name, value in values.items():
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping):
            yield from _nodes(value, f"{prefix}{name}.")


def _with_current_names(given: dict[str, object]) -> dict[str, object]:
    """The same settings under their present names. Raises ConfigError where one is given under both."""
    found = {}
    for key, value in given.items():
        old = next((old for old in ALIASES if f"{key}.".startswith(f"{old}.")), None)
        present = f"{ALIASES[old]}{key.removeprefix(old)}" if old else key
        if old and present in given:
            raise ConfigError(f"{old} is the earlier name of {ALIASES[old]}: give one of them, not both.")
        found[present] = VALUE_ALIASES.get(present, {}).get(value, value) if isinstance(value, str) else value
    return found


def nearest_setting(key: str) -> str:
    """' Did you mean …?' with the valid key most like this one, judged by the whole key and by its last part."""
    keys = list(setting_types())
    last = {known.rpartition(".")[2]: known for known in keys}
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    close = close or [last[name] for name in difflib.get_close_matches(key.rpartition(".")[2], last, n=1, cutoff=0.6)]
    return f" Did you mean {close[0]}?" if close else f" The sections are {', '.join(f.name for f in fields(Config))}."


def expected_value(kind: type) -> str:
    """The type of a setting, or None beside it, in words."""
    if is_dataclass(kind):
        return "keys and values"
    return next(WORDS[part] for part in (typing.get_origin(kind), kind, *typing.get_args(kind)) if part in WORDS)
