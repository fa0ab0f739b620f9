"""A connection can be paused without loss, and ended."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeserver.testing.client import Client, Refused
from homeserver.testing.recording import RecordingProxy
from tests.end_to_end import story, watched
from tests.end_to_end.conftest import WithClient
from tests.end_to_end.watched import WatchedPair

CLOSED_AFTER_S = 1.5


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[WatchedPair]:
    with watched.watched_pair(tmp_path) as both:
        yield both


def server_of(client: Client) -> str:
    return client.user_id.split(":", 1)[1]


async def assert_silent(proxy: RecordingProxy, seconds: float = 2.0) -> None:
    """No byte goes this way."""
    before = proxy.byte_count()
    await asyncio.sleep(seconds)
    assert proxy.byte_count() == before


async def test_a_pause_moves_nothing_and_loses_nothing(
    pair: WatchedPair, with_client: WithClient
) -> None:
    alice, bob = await with_client(pair.alice), await with_client(pair.bob)
    room_id = await story.meet(alice, bob)
    await alice.send_text(room_id, "before")
    await story.until_heard(bob, room_id, alice.user_id, ["before"])

    pair.alice.command("peers", "pause", server_of(bob))
    await asyncio.sleep(CLOSED_AFTER_S)
    from_alice = [f"Alice, paused, {i}" for i in range(20)]
    from_bob = [f"Bob, paused, {i}" for i in range(20)]
    for client, words in ((alice, from_alice), (bob, from_bob)):
        for text in words:
            await client.send_text(room_id, text)
    await assert_silent(pair.to_bob)
    assert await story.texts(bob, room_id, alice.user_id) == ["before"]
    assert await story.texts(alice, room_id, bob.user_id) == []

    pair.alice.command("peers", "resume", server_of(bob))
    await story.until_heard(bob, room_id, alice.user_id, from_alice)
    await story.until_heard(alice, room_id, bob.user_id, from_bob)
    assert await story.texts(bob, room_id, alice.user_id) == ["before", *from_alice]
    assert await story.texts(alice, room_id, bob.user_id) == from_bob
    for client in (alice, bob):
        changes = await story.memberships(client, room_id)
        assert [change["content"]["membership"] for change in changes] == ["join", "invite", "join"]


async def test_a_pause_survives_a_restart(pair: WatchedPair, with_client: WithClient) -> None:
    alice, bob = await with_client(pair.alice), await with_client(pair.bob)
    room_id = await story.meet(alice, bob)
    pair.alice.command("peers", "pause", server_of(bob))
    await alice.send_text(room_id, "held")
    assert pair.alice.stop() == 0
    pair.alice.start()
    await assert_silent(pair.to_bob)
    pair.alice.command("peers", "resume", server_of(bob))
    await story.until_heard(bob, room_id, alice.user_id, ["held"])


async def test_a_revoke_ends_it(pair: WatchedPair, with_client: WithClient) -> None:
    alice, bob = await with_client(pair.alice), await with_client(pair.bob)
    room_id = await story.meet(alice, bob)
    await bob.send_text(room_id, "before")
    await story.until_heard(alice, room_id, bob.user_id, ["before"])

    pair.alice.command("peers", "revoke", server_of(bob))
    await asyncio.sleep(CLOSED_AFTER_S)
    answered_before = len(pair.to_alice.exchanges())
    await bob.send_text(room_id, "after")
    await assert_silent(pair.to_bob)
    assert await story.texts(alice, room_id, bob.user_id) == ["before"]
    refusals = {
        (one.status, one.response_body)
        for one in pair.to_alice.exchanges()[answered_before:]
        if one.status is not None
    }
    assert len(refusals) <= 1

    shown = json.loads(pair.alice.command("peers", "show", server_of(bob), "--json").stdout)
    assert shown["standing"] == "revoked"


async def test_only_a_fresh_invitation_reopens_what_was_revoked(
    pair: WatchedPair, with_client: WithClient
) -> None:
    alice, bob = await with_client(pair.alice), await with_client(pair.bob)
    for one, other in ((pair.alice, bob), (pair.bob, alice)):
        one.command("peers", "revoke", server_of(other))
    link = pair.alice.command("peers", "invite").stdout.strip()
    pair.bob.command("peers", "connect", link)
    again = await story.meet(alice, bob)
    await alice.send_text(again, "hello again")
    await story.until_heard(bob, again, alice.user_id, ["hello again"])


async def test_strangers_cannot_be_invited(pair: WatchedPair, with_client: WithClient) -> None:
    alice = await with_client(pair.alice)
    room_id = await alice.create_room()
    with pytest.raises(Refused) as refusal:
        await alice.invite(room_id, "@carol:" + "a" * 52 + ".p2p.alt")
    assert refusal.value.status in {403, 404, 502}
