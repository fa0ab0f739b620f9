"""`homeserver peers`: invite somebody, connect, and say what becomes of a connection."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from homeserver.cli import _text
from homeserver.cli._admin import AdminApi
from homeserver.cli._options import config_option, json_option, load_config, print_json

_CONNECT_LIMIT_S = 30.0
_LOOK_AGAIN_S = 0.2

Json = dict[str, Any]


@click.group("peers")
def command() -> None:
    """Invite people, connect to them, pause and end connections."""


@command.command("invite")
@config_option
@json_option
def invite(config_file: Path | None, *, as_json: bool) -> None:
    """Print a link that connects one person to you, once.

    Whoever opens it first is connected: send it privately.
    """
    invitation = AdminApi(load_config(config_file)).post("invitations")
    if invitation.get("loopback_only"):
        click.echo(
            "Warning: this link only works on this machine; set server.public_urls to an address "
            "that others can reach.",
            err=True,
        )
    if as_json:
        print_json(invitation)
    else:
        click.echo(invitation["link"])


@command.command("connect")
@click.argument("link")
@config_option
@json_option
def connect(link: str, config_file: Path | None, *, as_json: bool) -> None:
    """Say yes to an invitation, and wait until the connection stands."""
    admin = AdminApi(load_config(config_file))
    peer = admin.post("peers", body={"link": link})
    give_up_at = time.monotonic() + _CONNECT_LIMIT_S
    while peer["standing"] != "active" and time.monotonic() < give_up_at:
        time.sleep(_LOOK_AGAIN_S)
        peer = admin.get("peers", peer["server_name"])
    if as_json:
        print_json(peer)
    if peer["standing"] != "active":
        raise click.ClickException(
            f"{_called(peer)} has not answered yet; the request is kept and repeated."
        )
    if not as_json:
        click.echo(f"Connected to {_called(peer)}.")


@command.command("list")
@config_option
@json_option
def list_all(config_file: Path | None, *, as_json: bool) -> None:
    """List everybody you have a connection with."""
    peers = _all(AdminApi(load_config(config_file)))
    if as_json:
        print_json(peers)
        return
    rows = [
        (
            peer.get("name"),
            peer["standing"],
            _text.moment(peer.get("last_heard_at")),
            peer.get("outbox_pending"),
            peer["server_name"],
        )
        for peer in peers
    ]
    click.echo(_text.table(("NAME", "STANDING", "LAST HEARD", "WAITING", "SERVER"), rows))


@command.command("show")
@click.argument("name")
@config_option
@json_option
def show(name: str, config_file: Path | None, *, as_json: bool) -> None:
    """Show one connection. NAME is a server name, its beginning, or the person's name."""
    admin = AdminApi(load_config(config_file))
    peer = admin.get("peers", _find(admin, name)["server_name"])
    if as_json:
        print_json(peer)
        return
    shown = {key.replace("_", " "): _readable(key, value) for key, value in peer.items()}
    click.echo(_text.pairs(shown))


def _change(verb: str, meaning: str, done: str) -> click.Command:
    """A command that posts one verb to one connection."""

    @click.argument("name")
    @config_option
    @json_option
    def change(name: str, config_file: Path | None, *, as_json: bool) -> None:
        admin = AdminApi(load_config(config_file))
        found = _find(admin, name)
        peer = admin.post("peers", found["server_name"], verb)
        if as_json:
            print_json(peer)
        else:
            click.echo(f"{_called(found)}: {done}")

    change.__doc__ = meaning
    return click.command(verb)(change)


command.add_command(
    _change(
        "pause",
        "Stop everything both ways for a while; nothing is lost.",
        "paused; nothing moves until you resume.",
    )
)
command.add_command(_change("resume", "End a pause; what was held moves at once.", "resumed."))
command.add_command(
    _change(
        "revoke",
        "End a connection for good; only a new invitation brings it back.",
        "revoked. What they have received stays with them.",
    )
)


def _all(admin: AdminApi) -> list[Json]:
    answer = admin.get("peers")
    peers: list[Json] = answer["peers"] if isinstance(answer, dict) else answer
    return peers


def _find(admin: AdminApi, name: str) -> Json:
    """The one connection that a person means by a name."""
    peers = _all(admin)
    for matching in (
        [peer for peer in peers if peer["server_name"] == name],
        [peer for peer in peers if peer.get("name") == name],
        [peer for peer in peers if peer["server_name"].startswith(name)],
    ):
        if matching:
            return _only(matching, name)
    raise click.ClickException(f"There is no connection with {name}.")


def _only(matching: Sequence[Json], name: str) -> Json:
    if len(matching) > 1:
        servers = ", ".join(peer["server_name"] for peer in matching)
        raise click.ClickException(f"{name} could be any of these: {servers}.")
    return matching[0]


def _called(peer: Json) -> str:
    name = peer.get("name")
    return f"{name} ({peer['server_name']})" if name else str(peer["server_name"])


def _readable(key: str, value: Any) -> Any:
    is_moment = key.endswith("_at") and (value is None or isinstance(value, int))
    return _text.moment(value) if is_moment else value
