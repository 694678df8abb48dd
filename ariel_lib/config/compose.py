"""A Config from a YAML file and overrides, both in Hydra's grammar."""

import os
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from ariel_lib.config.settings import Config, ConfigError
from ariel_lib.config.values import ALIASES, expected_value, from_dict, nearest_setting, setting_types

SWITCH = "enabled"  # the setting of a group that `group=true` and `group=false` set
SECTIONS = tuple(f.name for f in fields(Config))


def load_config(path: Path | str | None = None, overrides: Iterable[str] = ()) -> Config:
    """Defaults, then the YAML file at path, then overrides in order.

    `k.l=v` and `+k.l=v` both set, whether the file names the key or not. `+data=ariel_nominal` and
    `data=ariel_nominal` choose a file of a group: from data/ beside the YAML file, else from those shipped here.
    The value of a setting that holds text, such as a path, is taken as it is written; a path that begins with ~/ is one in the
    user's home. Raises ConfigError for a missing or invalid file, an unknown setting and an invalid value.

    >>> from ariel_lib import load_config
    >>> load_config(overrides=["training.epochs=5", "training.seed=1"]).training.epochs
    5
    """
    return from_dict(_with_home(_compose(find_config(path) if path is not None else None, list(overrides))))


def shipped_configs() -> Path:
    """The folder configs/ that comes with the package: inside it when installed from a wheel, else beside it."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def find_config(path: Path | str) -> Path:
    """Path of a YAML file; configs/NAME.yaml also where only the installed package has it. Raises ConfigError for a missing file."""
    path = Path(path)
    if path.is_file():
        return path
    if path.parts[:1] == ("configs",) and (inside := shipped_configs().joinpath(*path.parts[1:])).is_file():
        return inside
    shipped = ", ".join(f"configs/{file.name}" for file in sorted(shipped_configs().glob("*.yaml")))
    raise ConfigError(f"{path}: no such configuration file. The package brings {shipped}.")


def _with_home(node):
    """Nested settings in which a text that begins with ~/ is a path in the user's home."""
    if isinstance(node, Mapping):
        return {name: _with_home(value) for name, value in node.items()}
    return os.path.expanduser(node) if isinstance(node, str) and node.startswith("~/") else node


def _compose(path: Path | None, overrides: Sequence[str]) -> dict:
    """The differences from the defaults as one nested dict, with Hydra's own grammar for overrides and groups."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    shipped = shipped_configs()
    if path is not None and path.suffix != ".yaml":
        raise ConfigError(f"{path}: expected a file that ends in .yaml.")
    folder, name = (path.resolve().parent, path.stem) if path is not None else (shipped, None)
    try:
        chosen = _groups_in_defaults(OmegaConf.load(path)) if path is not None else set()
        lines = [_normal_form(text, chosen) for text in overrides]
        if folder != shipped and shipped.is_dir():
            lines.insert(0, f"hydra.searchpath=[{_quoted(f'file://{shipped}')}]")
        with initialize_config_dir(config_dir=str(folder), version_base="1.3"):
            return OmegaConf.to_container(compose(config_name=name, overrides=lines), resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(_one_sentence(path, error)) from error


def _groups_in_defaults(content) -> set[str]:
    """Groups in the defaults list of the file itself: Hydra requires `k=v` for them, `+k=v` for others."""
    defaults = content.get("defaults", []) if isinstance(content, Mapping) else []
    return {str(key).split()[-1] for entry in defaults if isinstance(entry, Mapping) for key in entry}


def _normal_form(text: str, chosen: set[str]) -> str:
    """An override as Hydra needs it: groups by whether the file chose one, values always as add-or-set (`++`)."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    text = _with_text_quoted(text)
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(f"override {text!r} is not understood: {_hint(text)}.") from error
    if override.is_delete() or override.key_or_group.startswith("hydra"):
        return text
    if override.is_sweep_override():
        raise ConfigError(f"override {text!r} holds several values: give one, or a list in brackets as in key=[a,b].")
    key, value = override.key_or_group, override.value()
    if isinstance(value, bool) and f"{key}.{SWITCH}" in setting_types():
        text = text.replace(key, f"{key}.{SWITCH}", 1)
    if key in SECTIONS and not isinstance(value, str | dict):
        example = next(name for name in setting_types() if name.startswith(f"{key}."))
        raise ConfigError(f"override {text!r}: {key} is a section; set one of its keys, such as {example}.")
    if key in SECTIONS and isinstance(value, str):
        return text.lstrip("+") if key in chosen else f"+{text.lstrip('+')}"
    return f"++{text.lstrip('+')}"


def _key_of(text: str) -> str:
    """The setting that an override names, under its present name."""
    key = text.partition("=")[0].strip().lstrip("+")
    return ALIASES.get(key, key)


def _with_text_quoted(text: str) -> str:
    """An override whose value is a text, such as a path, with quotes around it, since many characters are special in Hydra's grammar."""
    before, equals, value = text.partition("=")
    kind, value = setting_types().get(_key_of(text)), value.strip()
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if kind is None or str not in (kind, *typing.get_args(kind)) or typing.get_origin(kind) is tuple:
        return text
    return text if is_quoted or value in ("", "null") or "${" in value else f"{before}{equals}{_quoted(value)}"


def _quoted(value: str) -> str:
    """A text between quotes in Hydra's grammar, where backslashes are escapes only before a quote."""
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value) + "'"


def _hint(text: str) -> str:
    """What to write in place of an override that Hydra's grammar does not allow."""
    key, kinds = _key_of(text), setting_types()
    if "=" not in text:
        return "write key=value"
    if key not in kinds:
        return f"unknown setting {key}.{nearest_setting(key)}".rstrip("?.")
    return f"expected {expected_value(kinds[key])} after {key}=, found {text.partition('=')[2]!r}"


def _one_sentence(path: Path | None, error: Exception) -> str:
    """The message of Hydra or YAML, of several lines, in one: without Hydra's search path, with the files of a group."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = lines[: next((n for n, line in enumerate(lines) if line.startswith("Config search path")), len(lines))]
    return f"{path or 'overrides'}: {' '.join(lines)}"
