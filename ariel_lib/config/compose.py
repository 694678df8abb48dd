"""A YAML file and overrides to a Config, with Hydra's grammar for both."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from ariel_lib.config.settings import Config, ConfigError
from ariel_lib.config.values import from_dict, setting_types

SWITCH = "enabled"  # the setting that `group=true` and `group=false` mean
SECTIONS = tuple(f.name for f in fields(Config))


def load_config(path: Path | str | None = None, overrides: Iterable[str] = ()) -> Config:
    """Defaults, then the YAML file at path, then overrides in order.

    `k.l=v` and `+k.l=v` both set, whether the file names the key or not. `+data=ariel_nominal` and
    `data=ariel_nominal` choose a file of a group: from data/ beside the YAML file, else from those shipped here.
    Raises ConfigError for anything that is not understood.

    >>> from ariel_lib import load_config
    >>> load_config(overrides=["training.epochs=5", "training.seed=1"]).training.epochs
    5
    """
    return from_dict(_compose(Path(path) if path is not None else None, list(overrides)))


def shipped_configs() -> Path:
    """The folder configs/ that comes with the package: inside it when installed from a wheel, else beside it."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


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
    if isinstance(value, bool) and f"{key}.{SWITCH}" in setting_types():
        text = text.replace(key, f"{key}.{SWITCH}", 1)
    if key in SECTIONS and not isinstance(value, str | dict):
        example = next(name for name in setting_types() if name.startswith(f"{key}."))
        raise ConfigError(f"override {text!r}: {key} is a section; set one of its keys, such as {example}.")
    if key in SECTIONS and isinstance(value, str):
        return text.lstrip("+") if key in chosen else f"+{text.lstrip('+')}"
    return f"++{text.lstrip('+')}"


def _one_sentence(path: Path | None, error: Exception) -> str:
    """Hydra and YAML explain over several lines: keep what was wrong and, for a group, what there is to choose from."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = lines[: next((n for n, line in enumerate(lines) if line.startswith("Config search path")), len(lines))]
    return f"{path or 'overrides'}: {' '.join(lines)}"
