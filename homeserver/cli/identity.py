"""`homeserver identity`: who this server is, and new keys for it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from homeserver import errors
from homeserver.cli import _text
from homeserver.cli._options import config_option, json_option, load_config, print_json
from homeserver.config import Config
from homeserver.keyring import Keyring
from homeserver.ports import SystemClock, SystemEntropy

T = TypeVar("T")

_ROTATED = """\
Events are signed with a new key from now on; what was signed before stays valid.
Your peers are told as soon as the server runs, and their owners see a notice.
Make a new backup: an older one would bring the key before back.
"""
_NEXT_PHRASE = """\
Your next recovery phrase, shown this once:

  {phrase}

Write it down in place of the one before.
"""
_RECOVERED = """\
The root key of your recovery phrase counts now; nothing signed by the one before does, and the
phrase before is of no use any more. Your peers are told as soon as the server runs, and their
owners see a notice. Make a new backup.
"""


@click.group("identity")
def command() -> None:
    """Show who this server is, or renew its keys."""


@command.command("show")
@click.option("--qr", is_flag=True, help="Show the node id as a QR code, for `peers compare`.")
@config_option
@json_option
def show(config_file: Path | None, *, qr: bool, as_json: bool) -> None:
    """Show the name and the keys. Nothing of it is secret."""
    config = load_config(config_file)
    from homeserver.app import renewing

    shown = _tried(lambda: renewing.shown(renewing.load(config, _unlock(config))))
    if as_json:
        print_json(shown)
        return
    click.echo(_text.pairs(shown))
    if qr:
        from federation import fingerprints, qr_codes

        node_id = fingerprints.from_groups(str(shown["node id"]))
        click.echo(qr_codes.drawn(qr_codes.node(node_id)), nl=False)


@command.command("rotate")
@config_option
def rotate(config_file: Path | None) -> None:
    """Sign events with a new key, if the present one may be in other hands.

    The server must be stopped.
    """
    config = load_config(config_file)
    from homeserver.app import renewing

    _tried(lambda: renewing.rotate(config, _unlock(config), SystemClock(), SystemEntropy()))
    click.echo(_ROTATED, nl=False)


@command.command("recover")
@click.option("--phrase-file", metavar="FILE", help="Where the phrase stands; else you are asked.")
@config_option
def recover(phrase_file: str | None, config_file: Path | None) -> None:
    """Renew all keys with the recovery phrase, if the root key may be in other hands.

    The server must be stopped.
    """
    config = load_config(config_file)
    from homeserver.app import renewing

    phrase = _read_phrase(phrase_file)
    clock, entropy = SystemClock(), SystemEntropy()
    _tried(lambda: renewing.recover(config, _unlock(config), phrase, clock, entropy, _tell))
    click.echo(_RECOVERED, nl=False)


def _tell(phrase: str) -> None:
    click.echo(_NEXT_PHRASE.format(phrase=phrase))


def _read_phrase(file: str | None) -> str:
    if file is None:
        return str(click.prompt("Recovery phrase", err=True))
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"The phrase cannot be read: {error}.") from error


def _unlock(config: Config) -> Keyring:
    from homeserver.app import initialising

    return initialising.unlock(
        config, lambda: str(click.prompt("Passphrase", hide_input=True, err=True))
    )


def _tried(action: Callable[[], T]) -> T:
    try:
        return action()
    except errors.HomeserverError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"That did not work: {error}.") from error
