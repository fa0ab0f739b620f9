"""`homeserver peers`: invite somebody, connect, and say what becomes of a connection.

NAME is a server name or its beginning, a node id, a user ID, or the person's name.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from homeserver import errors
from homeserver.cli import _inviting, _text
from homeserver.cli._admin import AdminApi
from homeserver.cli._options import config_option, json_option, load_config, print_json

Json = dict[str, Any]

# What each verb means, and what is said once it is done.
_VERBS: Mapping[str, tuple[str, str]] = {
    "decline": ("Say no to somebody who asks. They see no difference to silence.", "declined."),
    "cancel": ("Take back a yes that the other side has not answered.", "cancelled."),
    "unblock": ("Let a new invitation count again.", "unblocked; a new invitation counts again."),
    "dismiss": ("Go on after an alarm that you have looked into.", "the alarm is dismissed."),
}


@click.group("peers")
def command() -> None:
    """Invite people, connect to them, pause and end connections."""


@command.command("list")
@config_option
@json_option
def list_all(config_file: Path | None, *, as_json: bool) -> None:
    """List everybody you have a connection with."""
    peers: list[Json] = AdminApi(load_config(config_file)).get("peers")["peers"]
    if as_json:
        print_json(peers)
        return
    rows = [
        (
            _text.safe(peer.get("name") or ""),
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
    """Show one connection, with the words to compare and your note."""
    peer = AdminApi(load_config(config_file)).get("peers", name)
    if as_json:
        print_json(peer)
        return
    given = peer.get("grants_given") or {}
    told = peer | {
        "name": _text.safe(peer.get("name") or ""),
        "words": f"{peer.get('words')}  (the same on both screens, or somebody is in between)",
        "note": given.get("note") or None,
        "grants_given": _readable_grants(given),
        "grants_received": _readable_grants(peer.get("grants_received") or {}),
    }
    shown = {key.replace("_", " "): _readable(key, value) for key, value in told.items()}
    click.echo(_text.pairs(shown))


@command.command("edit")
@click.argument("name")
@click.argument("changes", nargs=-1, metavar="GRANT=VALUE...")
@click.option("--grants", "grant_set", metavar="SET", help="A set of grants of your settings.")
@config_option
@json_option
def edit(
    name: str,
    changes: tuple[str, ...],
    grant_set: str | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Change what somebody may do: media=0 presence=on expires_at=2026-12-31 note="..."."""
    body: Json = {} if grant_set is None else {"grant_set": grant_set}
    if changes or grant_set is None:
        body |= _read(changes)
    peer = AdminApi(load_config(config_file)).patch("peers", name, body=body)
    if as_json:
        print_json(peer)
    else:
        click.echo(f"{_text.called(peer)}: {_text.show(_readable_grants(peer['grants_given']))}")


def _ending(command: Callable[..., None]) -> Callable[..., None]:
    """The choices of whoever ends a connection."""
    rooms = click.Choice(["eject", "leave", "cut"])
    said = "Shared rooms: remove them, leave, or stay and exchange nothing."
    for option in (
        json_option,
        config_option,
        click.option("--erase", is_flag=True, help="Delete what you hold of them, too."),
        click.option("--rooms", type=rooms, default="cut", show_default=True, help=said),
        click.option("--dry-run", is_flag=True, help="Only say what it would do."),
        click.argument("name"),
    ):
        command = option(command)
    return command


@command.command("revoke")
@_ending
@click.option("--goodbye", is_flag=True, help="Tell them that you end it.")
def revoke(name: str, config_file: Path | None, *, as_json: bool, **wish: Any) -> None:
    """End a connection for good; only a new invitation brings it back."""
    _end("revoke", "revoked", name, config_file, wish, as_json=as_json)


@command.command("block")
@_ending
def block(name: str, config_file: Path | None, *, as_json: bool, **wish: Any) -> None:
    """End a connection and never be asked again."""
    _end("block", "blocked", name, config_file, wish, as_json=as_json)


def _end(
    verb: str, done: str, name: str, config_file: Path | None, wish: Json, *, as_json: bool
) -> None:
    body = {key: value for key, value in wish.items() if value and value != "cut"}
    peer = AdminApi(load_config(config_file)).post("peers", name, verb, body=body)
    if as_json:
        print_json(peer)
        return
    click.echo(f"{_text.called(peer)}: {'would be ' if wish['dry_run'] else ''}{done}.")
    report = peer.get("report") or {}
    if report.get("goodbye"):
        click.echo(f"  {report['goodbye']}")
    for room in report.get("rooms", ()):
        click.echo(f"  {_text.safe(room['name'])}: {room['what']}")
    for part in ("deleted", "cannot_be_taken_back", "can_pass_on"):
        for sentence in report.get(part, ()):
            click.echo(f"  {_text.show(sentence)}")


def _for_one_or_all(verb: str, meaning: str, done: str) -> click.Command:
    """`pause` and `resume`: for one connection, or with --all for everything."""

    @click.argument("name", required=False)
    @click.option("--all", "everything", is_flag=True, help="Everything, with everybody.")
    @config_option
    @json_option
    def change(
        name: str | None, config_file: Path | None, *, everything: bool, as_json: bool
    ) -> None:
        if everything is (name is not None):
            raise click.UsageError("Give the NAME of a connection, or --all.")
        admin = AdminApi(load_config(config_file))
        answer = admin.post(verb) if name is None else admin.post("peers", name, verb)
        if as_json:
            print_json(answer)
        else:
            click.echo(f"{'Everything' if name is None else _text.called(answer)}: {done}")

    change.__doc__ = meaning
    return click.command(verb)(change)


def _change(verb: str, meaning: str, done: str) -> click.Command:
    """A command that posts one verb to one connection."""

    @click.argument("name")
    @config_option
    @json_option
    def change(name: str, config_file: Path | None, *, as_json: bool) -> None:
        peer = AdminApi(load_config(config_file)).post("peers", name, verb)
        if as_json:
            print_json(peer)
        else:
            click.echo(f"{_text.called(peer)}: {done}")

    change.__doc__ = meaning
    return click.command(verb)(change)


for _verb, (_meaning, _done) in _VERBS.items():
    command.add_command(_change(_verb, _meaning, _done))
command.add_command(
    _for_one_or_all(
        "pause",
        "Stop everything both ways for a while; nothing is lost.",
        "paused; nothing moves until you resume.",
    )
)
command.add_command(
    _for_one_or_all("resume", "End a pause; what was held moves at once.", "resumed.")
)
for _command in _inviting.COMMANDS:
    command.add_command(_command)


def _read(changes: tuple[str, ...]) -> Json:
    import time

    from federation import grant_words

    try:
        return grant_words.read(changes, int(time.time() * 1000))
    except errors.InvalidParam as error:
        raise click.ClickException(str(error)) from error


def _readable_grants(grants: Mapping[str, Any]) -> Json:
    """Grants as a person reads them; the note stands for itself."""
    shown = {name: value for name, value in grants.items() if name != "note"}
    if shown.get("expires_at") is not None:
        shown["expires_at"] = _text.moment(shown["expires_at"])
    return shown


def _readable(key: str, value: Any) -> Any:
    is_moment = key.endswith("_at") and (value is None or isinstance(value, int))
    return _text.moment(value) if is_moment else value
