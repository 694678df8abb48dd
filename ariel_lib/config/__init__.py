"""What can be set, and its default: frozen dataclasses, over which a YAML file and overrides lay their differences.

The only importer of Hydra and OmegaConf, and only once a file is composed or plain values are checked. Other modules take
plain values, never a Config; training alone takes it whole, because a checkpoint stores it.
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
