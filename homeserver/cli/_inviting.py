"""The commands of `homeserver peers` that begin a connection: invite, connect, and what waits."""

import time
from pathlib import Path
from typing import Any

import click

from homeserver.cli import _text
from homeserver.cli._admin import AdminApi
from homeserver.cli._options import config_option, json_option, load_config, print_json

_CONNECT_LIMIT_S = 30.0
_LOOK_AGAIN_S = 0.2

_GRANTS = click.option(
    "--grants", "grant_set", metavar="SET", help="What they may do: a set of your settings."
)

Json = dict[str, Any]


@click.command("invite")
@click.option("--ask", is_flag=True, help="Ask me again once somebody has opened it.")
@click.option("--knock", is_flag=True, help="Not spent, and asks me every time.")
@click.option("--scanned", is_flag=True, help="It is scanned from this screen, seen by one person.")
@click.option("--for", "expected", metavar="NODE", help="The only node or server that may use it.")
@_GRANTS
@config_option
@json_option
def invite(config_file: Path | None, *, as_json: bool, **wish: Any) -> None:
    """Print a link that connects one person to you, once.

    Whoever opens it first is connected: send it privately.
    """
    if wish["knock"] and wish["scanned"]:
        raise click.UsageError("--knock and --scanned exclude each other.")
    how = "knock" if wish["knock"] else "scanned" if wish["scanned"] else "link"
    given = {
        "how": how,
        "asks_owner": wish["ask"],
        "expected": wish["expected"],
        "grants": wish["grant_set"],
    }
    body = {name: value for name, value in given.items() if value not in (None, False, "link")}
    invitation = AdminApi(load_config(config_file)).post("invitations", body=body)
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


@click.command("connect")
@click.argument("link")
@click.option("--scanned", is_flag=True, help="You scanned it from their screen.")
@_GRANTS
@config_option
@json_option
def connect(
    link: str,
    grant_set: str | None,
    config_file: Path | None,
    *,
    scanned: bool,
    as_json: bool,
) -> None:
    """Say yes to an invitation, and wait until the connection stands."""
    admin = AdminApi(load_config(config_file))
    body: Json = {"link": link}
    body |= {} if grant_set is None else {"grants": grant_set}
    body |= {"is_scanned": True} if scanned else {}
    peer = admin.post("peers", body=body)
    was_connected = peer["standing"] == "active"
    give_up_at = time.monotonic() + _CONNECT_LIMIT_S
    while _is_open(peer) and time.monotonic() < give_up_at:
        time.sleep(_LOOK_AGAIN_S)
        peer = admin.get("peers", peer["server_name"])
    if as_json:
        print_json(peer)
    if peer["standing"] != "active":
        raise click.ClickException(_not_yet(peer))
    if not as_json:
        done = "Connected already; the link renews keys and routes" if was_connected else None
        click.echo(f"{done or f'Connected to {_text.called(peer)}'}.")


def _is_open(peer: Json) -> bool:
    """Whether waiting makes sense: their side has neither answered nor refused."""
    return peer["standing"] == "offered" and not peer.get("is_refused")


def _not_yet(peer: Json) -> str:
    if _is_open(peer):
        called = _text.called(peer)
        return f"{called} has not answered yet; the request is kept and repeated."
    return f"{_text.called(peer)}: {peer.get('meaning') or peer['standing']}"


@click.command("accept")
@click.argument("name")
@_GRANTS
@config_option
@json_option
def accept(name: str, grant_set: str | None, config_file: Path | None, *, as_json: bool) -> None:
    """Say yes to somebody who asks to connect."""
    body: Json = {} if grant_set is None else {"grants": grant_set}
    peer = AdminApi(load_config(config_file)).post("peers", name, "accept", body=body)
    if as_json:
        print_json(peer)
    else:
        click.echo(f"{_text.called(peer)}: accepted; their side finishes it.")


@click.command("invitations")
@config_option
@json_option
def list_invitations(config_file: Path | None, *, as_json: bool) -> None:
    """List your invitations and what became of them; the links themselves are not kept."""
    found = AdminApi(load_config(config_file)).get("invitations")["invitations"]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["id"],
            one["state"],
            one["how"],
            "yes" if one.get("asks_owner") else "no",
            one.get("expected") or "whoever opens it first",
            _text.moment(one["expires_at"]),
        )
        for one in found
    ]
    click.echo(_text.table(("ID", "STATE", "HOW", "ASKS", "FOR", "UNTIL"), rows))


@click.command("withdraw")
@click.argument("invitation_id", metavar="ID")
@config_option
def withdraw(invitation_id: str, config_file: Path | None) -> None:
    """Take an invitation back that has not connected anybody. `invitations` shows its ID."""
    AdminApi(load_config(config_file)).delete("invitations", invitation_id)
    click.echo("Withdrawn; its link connects nobody any more.")


COMMANDS = (invite, connect, accept, list_invitations, withdraw)
