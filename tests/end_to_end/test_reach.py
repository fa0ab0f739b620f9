"""A server that nobody can reach from outside: it calls, and keeps a request open."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeserver.testing import processes
from homeserver.testing.client import Client
from homeserver.testing.processes import Server
from tests.end_to_end import story
from tests.end_to_end.conftest import Pair, WithClient


@pytest.fixture
def half_reachable(tmp_path: Path) -> Iterator[Pair]:
    """Alice's server can be reached; Bob's does not listen for peers at all."""
    alice = Server(directory=tmp_path / "alice", user="alice")
    port = processes.free_port()
    listeners = json.dumps([{"port": port, "serves": ["client", "admin"]}])
    bob = Server(
        directory=tmp_path / "bob",
        user="bob",
        port=port,
        environment={"HOMESERVER__LISTENERS": listeners},
    )
    with processes.running(alice, bob):
        processes.connect(alice, bob)
        yield Pair(alice, bob)


async def talk(alice: Client, bob: Client, room_id: str, count: int = 10) -> None:
    for number in range(count):
        for speaker, listener in ((alice, bob), (bob, alice)):
            text = f"{speaker.user_id} says {number}"
            await speaker.send_text(room_id, text)
            await story.until_heard(listener, room_id, speaker.user_id, [text], patience_s=10)


async def test_a_server_that_nobody_can_reach_gets_and_sends_at_once(
    half_reachable: Pair, with_client: WithClient
) -> None:
    alice, bob = await with_client(half_reachable.alice), await with_client(half_reachable.bob)
    room_id = await story.meet(alice, bob)
    await talk(alice, bob, room_id)
    file = bytes(range(256)) * 3_000
    mxc_uri = await bob.upload(file, "application/octet-stream")
    assert await alice.download(mxc_uri) == file


async def test_a_server_that_nobody_can_reach_gets_what_came_while_it_was_away(
    half_reachable: Pair, with_client: WithClient
) -> None:
    alice, bob = await with_client(half_reachable.alice), await with_client(half_reachable.bob)
    room_id = await story.meet(alice, bob)
    half_reachable.bob.kill()
    words = [f"while you were away {number}" for number in range(30)]
    await story.send_many(alice, room_id, words, at_once=1)
    half_reachable.bob.start()
    await story.until_heard(bob, room_id, alice.user_id, words)
    assert await story.texts(bob, room_id, alice.user_id) == words


def test_a_server_that_nobody_can_reach_says_that_it_cannot_invite(half_reachable: Pair) -> None:
    refused = half_reachable.bob.command("peers", "invite", is_checked=False)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert len(refused.stderr.strip().splitlines()) == 1
