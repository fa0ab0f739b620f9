"""`homeserver restore`: a server from a backup."""

import os
from pathlib import Path

import click

from homeserver import errors
from homeserver.cli import _text
from homeserver.cli._options import end_with_mistakes
from homeserver.cli._passphrases import passphrase_option, read_passphrase
from homeserver.config import ConfigError, default_data_dir

_TOLD = """\
The server is back in {directory}.
Sessions with peers, open invitations and one-time keys of the time of the backup are void.
{waiting}
Never start the server this one takes the place of: two copies disturb each other.
Start it:
  {start}
"""
_NOBODY = "It had no connections."
_WAITING = """\
Each connection is paused until you resume it: look whether you have ended one since the backup.
{names}
  {resume}"""


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the server is to live; an empty directory.",
)
@passphrase_option
def command(file: Path, data_dir: Path | None, passphrase_file: str | None) -> None:
    """Make a server of the backup in FILE."""
    directory = (data_dir or default_data_dir()).absolute()
    from homeserver.app import putting_back

    passphrase = read_passphrase(passphrase_file, is_new=False)
    try:
        back = putting_back.put_back(file, directory, passphrase, os.environ, _ask)
    except ConfigError as error:
        end_with_mistakes(error)
    except errors.HomeserverError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"The backup cannot be put back: {error}.") from error
    names = [f"  {peer.name}  {peer.server_name}" for peer in back.waiting]
    resume = _text.invocation(back.settings_file, "peers", "resume", "NAME")
    waiting = _WAITING.format(names="\n".join(names), resume=resume) if names else _NOBODY
    start = _text.invocation(back.settings_file, "run")
    click.echo(_TOLD.format(directory=directory, waiting=waiting, start=start), nl=False)


def _ask() -> str:
    return str(click.prompt("Passphrase of the server's keys", hide_input=True, err=True))
