"""`homeserver demo`: two servers on this machine meet, two people talk, and an account of it.

Everything happens in a temporary directory and on loopback, and is gone afterwards. With
matrix-nio installed the clients encrypt end to end; without it the room is plain, and it says so.
"""

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from homeserver.cli import _demo_account, _demo_people
from homeserver.cli._demo_people import Person
from homeserver.testing import processes
from homeserver.testing.client import Client, DidNotHappen
from homeserver.testing.processes import Server
from homeserver.testing.recording import RecordingProxy, recording

_ALICE = (
    "Bob! Your server answers. Is this really just the two of us?",
    "Mine runs on the old laptop under the stairs.",
    "I sent you one link and you opened it. That was all.",
    "And if I change my mind I say: homeserver peers pause.",
    "It would still bring everything afterwards.",
    "The boat leaves at seven on Saturday, by the way.",
    "Bring the green thermos. The blue one leaks.",
    "And the map of the north shore.",
    "My server is going to sleep now, and so am I.",
    "Good night!",
)
_BOB = (
    "It is. Nobody else's server would even be told that I exist.",
    "Mine is on the desk. It uses less than the lamp.",
    "And before that yours would not have said a word to mine.",
    "Please do not. But good to know that it loses nothing.",
    "Like a letter box.",
    "Seven in the morning? Fine. Seven.",
    "The green one, noted.",
    "I have it here, with your coffee stain on it.",
    "Then this one waits for you until it wakes up.",
    "Good night, Alice.",
)


@dataclass(frozen=True, slots=True)
class _House:
    """One person's server and what passed in front of it."""

    server: Server
    proxy: RecordingProxy


@click.command("demo")
def command() -> None:
    """Watch Alice's and Bob's servers meet and talk on this machine."""
    logging.getLogger("nio").addHandler(logging.NullHandler())  # its warnings are no part of this
    with tempfile.TemporaryDirectory(prefix="homeserver-demo-") as directory:
        try:
            asyncio.run(_tell(Path(directory)))
        except (processes.ServerFailed, DidNotHappen) as error:
            raise click.ClickException(str(error)) from error


async def _tell(directory: Path) -> None:
    with _house(directory, "alice") as alice, _house(directory, "bob") as bob:
        _head("Two servers, two people, nothing between them")
        with processes.running(alice.server, bob.server):
            names = [str(one.server.status()["server_name"]) for one in (alice, bob)]
            for one, name in zip((alice, bob), names, strict=True):
                _say(f"{one.server.user:6}{one.server.url}  @{one.server.user}:{name}")
            _consent(alice, bob)
            said, secrets = await _talk(alice, bob)
            secrets += names
            _head("What crossed the wire between the two servers")
            for line in _demo_account.of_the_wire([alice.proxy, bob.proxy], [*said, *secrets]):
                _say(line)
        _head("What each side stored")
        for one in (alice, bob):
            for line in _demo_account.of_the_files(one.server, said):
                _say(line)
    _head("Both servers are stopped; their files are deleted")


@contextlib.contextmanager
def _house(directory: Path, user: str) -> Iterator[_House]:
    server = Server(directory=directory / user, user=user, port=processes.free_port())
    with recording(server.port) as proxy:
        server.public_url = proxy.url
        yield _House(server, proxy)


def _consent(alice: _House, bob: _House) -> None:
    _head("Two yeses")
    link = alice.server.command("peers", "invite").stdout.strip()
    _say(f"alice$ homeserver peers invite\n       {link[:60]}… ({len(link)} characters)")
    answer = bob.server.command("peers", "connect", link).stdout.strip()
    _say(f"bob$   homeserver peers connect LINK\n       {answer}")
    for one in (alice, bob):
        _say(f"{one.server.user}$ homeserver peers list")
        _say(one.server.command("peers", "list").stdout.rstrip())


async def _talk(alice: _House, bob: _House) -> tuple[list[str], list[str]]:
    """Let them talk; returns what they said, and the names that nobody else should see."""
    is_encrypted = _demo_people.can_encrypt()
    _head("An encrypted room" if is_encrypted else "A plain room (matrix-nio is not installed)")
    async with AsyncExitStack() as stack:
        log_in = _demo_people.log_in
        hers = await stack.enter_async_context(log_in(alice.server, is_encrypted=is_encrypted))
        his = await stack.enter_async_context(log_in(bob.server, is_encrypted=is_encrypted))
        room_id = await hers.create_room(his.user_id)
        await his.join(room_id)
        await hers.sees_member(room_id, his.user_id)
        for her_line, his_line in zip(_ALICE, _BOB, strict=True):
            await _pass_on(hers, his, room_id, "alice", her_line)
            await _pass_on(his, hers, room_id, "bob", his_line)
        secrets = [hers.user_id, his.user_id, room_id]
    await _show_kinds(alice.server, room_id)
    return [*_ALICE, *_BOB], secrets


async def _pass_on(speaker: Person, listener: Person, room_id: str, name: str, text: str) -> None:
    await speaker.say(room_id, text)
    await listener.hears(room_id, text)
    _say(f"{name:>6}: {text}")


async def _show_kinds(server: Server, room_id: str) -> None:
    async with Client(server.url) as client:
        await client.log_in(server.user, server.password)
        kinds = _demo_account.kinds(await client.timeline(room_id))
    _say(f"In the room now: {kinds}")


def _head(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _say(text: str) -> None:
    click.echo(f"  {text}".replace("\n", "\n  "))
