"""The commands of `homeserver peers` that begin a connection: invite, connect, and what waits."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from homeserver.cli import _text
from homeserver.cli._admin import AdminApi
from homeserver.cli._options import config_option, json_option, load_config, print_json

_CONNECT_LIMIT_S = 30.0
_LOOK_AGAIN_S = 0.2
_NOT_YET = 3  # how `connect` ends where the other side has not answered

_GRANTS = click.option(
    "--grants", "grant_set", metavar="SET", help="What they may do: a set of your settings."
)

Json = dict[str, Any]


@click.command("invite")
@click.option("--ask", is_flag=True, help="Ask me again once somebody has opened it.")
@click.option("--knock", is_flag=True, help="Not spent, and asks me every time.")
@click.option("--scanned", is_flag=True, help="It is scanned from this screen, seen by one person.")
@click.option("--qr", is_flag=True, help="Show it as a QR code too; --scanned does so anyway.")
@click.option("--for", "expected", metavar="NODE", help="The only node or server that may use it.")
@_GRANTS
@config_option
@json_option
def invite(config_file: Path | None, *, as_json: bool, qr: bool, **wish: Any) -> None:
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
        return
    if qr or wish["scanned"]:
        click.echo(_drawn(invitation["link"]), nl=False)
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
    if _is_open(peer):
        # As it should be, if their owner is asked again: nothing is wrong, and nothing stands yet.
        if not as_json:
            click.echo(_waits(peer), err=True)
        sys.exit(_NOT_YET)
    if peer["standing"] != "active":
        raise click.ClickException(f"{_text.called(peer)}: {peer.get('meaning')}")
    if not as_json:
        done = "Connected already; the link renews keys and routes" if was_connected else None
        click.echo(f"{done or f'Connected to {_text.called(peer)}'}.")


def _drawn(text: str) -> str:
    from federation import qr_codes

    return qr_codes.drawn(text)


def _is_open(peer: Json) -> bool:
    """Whether waiting makes sense: their side has neither answered nor refused."""
    return peer["standing"] == "offered" and not peer.get("is_refused")


def _waits(peer: Json) -> str:
    return (
        f"{_text.called(peer)} has not answered yet: their server is away, or its owner is asked "
        "first. Your request is kept and repeated; `homeserver peers list` shows what became of it."
    )


@click.command("compare")
@click.argument("name")
@click.argument("shown", nargs=-1, required=True)
@config_option
def compare(name: str, shown: tuple[str, ...], config_file: Path | None) -> None:
    """Compare what their screen shows, the four words or the text of its QR code, with yours.

    `homeserver peers show` shows the words, `homeserver identity show --qr` the code.
    """
    from federation import qr_codes

    peer = AdminApi(load_config(config_file)).get("peers", name)
    if not qr_codes.is_same(" ".join(shown), peer["node_id"], peer["words"]):
        raise click.ClickException(
            f"That is not {_text.called(peer)}. If you typed it as it stands on their screen, "
            "somebody is in between: `homeserver peers revoke` ends it."
        )
    click.echo(f"It is the same: you are connected with {_text.called(peer)} and nobody else.")


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


COMMANDS = (invite, connect, compare, accept, list_invitations, withdraw)
