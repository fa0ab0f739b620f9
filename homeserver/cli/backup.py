"""`homeserver backup`: everything of this server in one file."""

from pathlib import Path

import click

from homeserver import errors
from homeserver.cli import _text
from homeserver.cli._options import config_option, load_config
from homeserver.cli._passphrases import passphrase_option, read_passphrase
from homeserver.config import default_path


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@passphrase_option
@config_option
def command(
    file: Path, *, overwrite: bool, passphrase_file: str | None, config_file: Path | None
) -> None:
    """Write settings, keys, database and media into FILE. The server may be running.

    Without the passphrase nobody can read it, you included.
    """
    config = load_config(config_file)
    if file.exists() and not overwrite:
        raise click.ClickException(f"{file} exists already. --overwrite replaces it.")
    from homeserver.app import backing_up, initialising

    if not initialising.is_initialised(config):
        raise click.ClickException(str(initialising.NotInitialised()))
    passphrase = read_passphrase(passphrase_file, is_new=True)
    try:
        size = backing_up.back_up(config, config_file or default_path(), file, passphrase)
    except errors.HomeserverError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"The backup cannot be written: {error}.") from error
    click.echo(f"{file} holds your server now, {size / (1 << 20):.1f} MiB.")
    click.echo(f"To put it back: {_text.invocation(None, 'restore', str(file))}")
