"""`homeserver run`: start the server and say how to use it."""

import gc
import logging
import sys
from pathlib import Path

import click

from homeserver import errors
from homeserver.cli import _text
from homeserver.cli._options import config_option, load_config
from homeserver.config import Config

# New objects until the youngest are looked through, and how much rarer the older ones are. A start
# makes many objects and no garbage, and so does a large answer: to go through them all again and
# again took a tenth of a start and a quarter of an initial sync.
_COLLECT_AFTER = (10_000, 20, 50)


@click.command("run")
@config_option
def command(config_file: Path | None) -> None:
    """Start the server. Ctrl-C or SIGTERM ends it."""
    gc.set_threshold(*_COLLECT_AFTER)
    config = load_config(config_file)
    logging.basicConfig(
        stream=sys.stderr,
        level=config.logging.level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    from homeserver.app import initialising, running

    try:
        keyring = initialising.unlock(config, _ask_passphrase)
        running.serve(config, keyring, lambda: click.echo(_welcome(config, config_file)))
    except errors.HomeserverError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"The server cannot start: {error}.") from error


def _ask_passphrase() -> str:
    return str(click.prompt("Passphrase", hide_input=True, err=True))


def _welcome(config: Config, config_file: Path | None) -> str:
    listener = config.listener_serving("client")
    return (
        "The server is running.\n"
        "Type into a Matrix client:\n"
        f"  homeserver:  {listener.url if listener else 'no listener serves clients'}\n"
        f"  user name:   {config.server.user_name}    (just so, without @ and server name)\n"
        "Invite somebody:\n"
        f"  {_text.invocation(config_file, 'peers', 'invite')}\n"
    )
