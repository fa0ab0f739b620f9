"""The settings: what they are, how they are loaded, and an example of them.

One YAML file in the data directory. Secrets never stand in it: they lie in files beside it.
"""

from homeserver.config.example import example_yaml
from homeserver.config.federation_settings import DefaultGrants, FederationSettings
from homeserver.config.loading import ConfigError, default_data_dir, default_path, load, parse
from homeserver.config.settings import (
    Config,
    DatabaseSettings,
    EncryptionSettings,
    Listener,
    LoggingSettings,
    MediaSettings,
    PushSettings,
    RateLimits,
    SecretsSettings,
    ServerSettings,
    VoipSettings,
)

__all__ = [
    "Config",
    "ConfigError",
    "DatabaseSettings",
    "DefaultGrants",
    "EncryptionSettings",
    "FederationSettings",
    "Listener",
    "LoggingSettings",
    "MediaSettings",
    "PushSettings",
    "RateLimits",
    "SecretsSettings",
    "ServerSettings",
    "VoipSettings",
    "default_data_dir",
    "default_path",
    "example_yaml",
    "load",
    "parse",
]
