"""The settings of every folder, put together from defaults, forebay.toml and the environment."""

from forebay.config.errors import ConfigError
from forebay.config.load import Loaded, Origin, load_settings
from forebay.config.settings import Settings

__all__ = ["ConfigError", "Loaded", "Origin", "Settings", "load_settings"]
