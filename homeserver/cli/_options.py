"""What several commands take, `--config` and `--json`, and how they end on wrong settings."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from homeserver import config
from homeserver.config import Config, ConfigError

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_BAD_SETTINGS = 2


def config_option(command: CommandT) -> CommandT:
    """Take `--config FILE`, or a directory that holds config.yaml; by default the user's own."""
    option = click.option(
        "--config",
        "--data-dir",
        "config_file",
        type=click.Path(path_type=Path),
        metavar="FILE|DIR",
        help="The settings, or the directory of config.yaml; by default your data directory.",
    )
    return option(command)


def json_option(command: CommandT) -> CommandT:
    """Take `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def load_config(config_file: Path | None) -> Config:
    """Load the settings or end with exit code 2 and one line for each mistake."""
    try:
        return config.load(settings_file(config_file), os.environ)
    except ConfigError as error:
        end_with_mistakes(error)


def settings_file(given: Path | None) -> Path:
    """The file that `--config` or `--data-dir` means."""
    if given is None:
        return config.default_path()
    return given / "config.yaml" if given.is_dir() else given


def end_with_mistakes(error: ConfigError) -> NoReturn:
    """Tell what is wrong with the settings and end with exit code 2."""
    for line in error.lines:
        click.echo(line, err=True)
    sys.exit(_BAD_SETTINGS)


def print_json(value: Any) -> None:
    """Print what a program is to read."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
