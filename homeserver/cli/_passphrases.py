"""Where a command finds the passphrase of a backup: in a file, or typed."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_SHORTEST = 8


def passphrase_option(command: CommandT) -> CommandT:
    """Take `--passphrase-file FILE`."""
    option = click.option(
        "--passphrase-file",
        metavar="FILE|-",
        help="Where the passphrase of the backup stands; - is stdin. Without it you are asked.",
    )
    return option(command)


def read_passphrase(file: str | None, *, is_new: bool) -> str:
    """Read it or ask for it, twice if it is a new one."""
    if file is None:
        text = str(
            click.prompt("Passphrase", hide_input=True, confirmation_prompt=is_new, err=True)
        )
    else:
        text = read_secret(file, "passphrase")
    if is_new and len(text) < _SHORTEST:
        raise click.ClickException(f"The passphrase is too short: at least {_SHORTEST} characters.")
    return text


def read_secret(file: str, what: str) -> str:
    """What stands in a file, or on stdin; only the end of its line is left out."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"The {what} cannot be read: {error}.") from error
    return text.rstrip("\r\n")
