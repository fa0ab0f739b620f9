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


@command.command("strangers")
@config_option
@json_option
def strangers(config_file: Path | None, *, as_json: bool) -> None:
    """Show who is in your rooms without being connected, and what you said about them."""
    rooms = AdminApi(load_config(config_file)).get("strangers")["rooms"]
    if as_json:
        print_json(rooms)
        return
    rows = [_stranger(room, one) for room in rooms for one in room["servers"]]
    click.echo(_text.table(("room", "server", "said", "introduced by"), rows))


@command.command("meet")
@click.argument("room_id", metavar="ROOM")
@click.argument("server", required=False)
@config_option
def meet(room_id: str, server: str | None, config_file: Path | None) -> None:
    """Agree to meet one stranger in a room, or all; a room that waits for it is entered."""
    api = AdminApi(load_config(config_file))
    api.post("strangers", room_id, "agree", body={"server": server})
    click.echo("Agreed, for that room.")


@command.command("avoid")
@click.argument("room_id", metavar="ROOM")
@click.argument("server", required=False)
@config_option
def avoid(room_id: str, server: str | None, config_file: Path | None) -> None:
    """Keep away from one stranger in a room, or from all."""
    api = AdminApi(load_config(config_file))
    api.post("strangers", room_id, "refuse", body={"server": server})
    click.echo("You will not meet them there.")


def _stranger(room: dict[str, Any], one: dict[str, Any]) -> tuple[str, ...]:
    return (
        _text.safe(room["room_id"]),
        _text.safe(one["server_name"]),
        "connected" if one["is_connected"] else one["said"],
        _text.safe(", ".join(one["introducers"]) or "nobody may"),
    )


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
