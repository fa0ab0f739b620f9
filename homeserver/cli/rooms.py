"""`homeserver rooms`: what rooms take on disk, and how to get rid of one."""

from pathlib import Path
from typing import Any

import click

from homeserver.cli import _text
from homeserver.cli._admin import AdminApi
from homeserver.cli._options import config_option, json_option, load_config, print_json

_KIBIBYTE = 1024


@click.group("rooms", invoke_without_command=True)
@config_option
@json_option
@click.pass_context
def command(context: click.Context, config_file: Path | None, *, as_json: bool) -> None:
    """Show what each room takes on disk, the largest first."""
    if context.invoked_subcommand is not None:
        return
    rooms = AdminApi(load_config(config_file)).get("rooms")["rooms"]
    if as_json:
        print_json(rooms)
    else:
        click.echo(_text.table(_HEAD, [_row(room) for room in rooms]))


@command.command("purge")
@click.argument("room_id", metavar="ROOM")
@config_option
def purge(room_id: str, config_file: Path | None) -> None:
    """Remove a room that you have left from disk: events, state, files.

    Peers that have not yet heard that you left do not hear it any more.
    """
    AdminApi(load_config(config_file)).post("rooms", room_id, "purge")
    click.echo(f"{room_id} is gone.")


_HEAD = ("room", "name", "you", "events", "state", "files", "size")


def _row(room: dict[str, Any]) -> tuple[str, ...]:
    is_forgotten = "forgotten" if room["is_forgotten"] else None
    return (
        _text.safe(room["room_id"]),
        _text.safe(room["name"] or ""),
        is_forgotten or room["membership"] or "",
        str(room["events"]),
        str(room["state"]),
        str(room["media"]),
        f"{-(-room['total_bytes'] // _KIBIBYTE)} KiB",
    )
