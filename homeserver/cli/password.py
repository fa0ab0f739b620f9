"""`homeserver password`: a new one where the old one is forgotten, or the account was ended."""

from pathlib import Path

import click

from homeserver.cli import _passphrases
from homeserver.cli._admin import AdminApi
from homeserver.cli._options import config_option, load_config

_TOLD = """\
The password of {user_id} is changed.{sessions}
Did you end the account before? Its connections are still paused: homeserver peers resume --all"""


@click.command("password")
@click.option("--password-file", metavar="FILE|-", help="Where it stands; - is stdin.")
@click.option(
    "--keep-sessions", is_flag=True, help="Leave clients logged in; by default all are logged out."
)
@config_option
def command(config_file: Path | None, password_file: str | None, *, keep_sessions: bool) -> None:
    """Set a new password for your account; the server must be running."""
    api = AdminApi(load_config(config_file))
    body = {"new_password": _read(password_file), "logout_devices": not keep_sessions}
    answer = api.post("account", "password", body=body)
    sessions = "" if keep_sessions else " Every client is logged out: log in again."
    click.echo(_TOLD.format(user_id=answer["user_id"], sessions=sessions))


def _read(file: str | None) -> str:
    if file is None:
        return str(
            click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
        )
    return _passphrases.read_secret(file, "password")
