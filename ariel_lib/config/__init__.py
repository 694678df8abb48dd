"""The settings and their defaults: frozen dataclasses, whose values a YAML file and overrides replace.

The only package that imports Hydra and OmegaConf, and only when a file is read or plain values are checked. Other modules take
plain values in place of a Config, except training, which stores it in the checkpoint.
"""

from ariel_lib.config.compose import find_config, load_config, shipped_configs
from ariel_lib.config.settings import (
    PRIORS,
    RELATIONS,
    CalibrationConfig,
    Config,
    ConfigError,
    CorelConfig,
    DataConfig,
    ModelConfig,
    RuleConfig,
    SymbolicConfig,
    TrainingConfig,
    UncertaintyConfig,
)
from ariel_lib.config.values import config_hash, from_dict, to_dict

__all__ = [
    "PRIORS",
    "RELATIONS",
    "CalibrationConfig",
    "Config",
    "ConfigError",
    "CorelConfig",
    "DataConfig",
    "ModelConfig",
    "RuleConfig",
    "SymbolicConfig",
    "TrainingConfig",
    "UncertaintyConfig",
    "config_hash",
    "find_config",
    "from_dict",
    "load_config",
    "shipped_configs",
    "to_dict",
]
