"""Messages to devices hold the keys of events: they come first, and once, whatever fails."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import frames, inbox
from homeserver.storage.unit_of_work import UnitOfWork
from tests.federation.conftest import Meeting
from tests.federation.node import ROOM, Node

KIND = "m.direct_to_device"


class Ears:
    """Notes what a node takes in, in its order; events fail so many times."""

    def __init__(self, node: Node, failures: int = 0) -> None:
        self.heard: list[str] = []
        self.node = node
        self.failures = failures
        node.federation.inbox.register_items(self.take_items)
        node.federation.inbox.register_transactions(self.take_in)

    def take_items(self, _work: UnitOfWork, _peer: ServerName, items: Sequence[JsonObject]) -> None:
        self.heard += [f"key {item['body']['number']}" for item in items]

    async def take_in(self, peer: ServerName, transaction: JsonObject, finish: Any) -> None:
        if transaction["pdus"] and self.failures:
            self.failures -= 1
            raise errors.StorageFull
        await self.node.take_in(peer, transaction, finish)
        self.heard += [f"event {pdu['text']}" for pdu in transaction["pdus"]]


async def speak(node: Node, to: Node, keys: int, text: str, size: int = 10) -> None:
    """Queue keys, and then the event that they are for, all at once."""

    def queue(work: UnitOfWork) -> int:
        for number in range(keys):
            body = {"number": number, "key": "x" * size}
            frames.queue_item(work, to.server_name, frames.TO_DEVICE, KIND, body)
        position = work.next_position()
        frames.queue_room(work, to.server_name, ROOM)
        return position

    position = await node.database.write(queue)
    node.rooms.events.append((position, b'{"text":"%s"}' % text.encode()))


async def test_keys_are_kept_once_though_their_events_fail_again_and_again(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    ears = Ears(bob, failures=12)
    await speak(alice, bob, 2, "hello")
    await meeting.clock.until(lambda: "event hello" in ears.heard)
    assert ears.heard == ["key 0", "key 1", "event hello"]


async def test_keys_do_not_wait_for_what_an_event_waits_for(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    before = Ears(bob)
    gate = asyncio.Event()

    async def wait(_peer: ServerName, _transaction: JsonObject, _finish: object) -> None:
        await gate.wait()

    bob.federation.inbox.register_transactions(wait)
    await speak(alice, bob, 2, "hello")
    await meeting.clock.settle()
    assert before.heard == ["key 0", "key 1"]
    await meeting.restart(bob)
    after = Ears(bob)
    await meeting.clock.until(lambda: bool(after.heard))
    assert after.heard == ["event hello"]


async def test_a_frame_with_keys_alone_is_gone_with_their_effect(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    left = []

    def take(work: UnitOfWork, peer: ServerName, _items: Sequence[JsonObject]) -> None:
        work.after_commit(
            lambda: left.append(bob.database.read(lambda view: inbox.count_frames(view, peer)))
        )

    bob.federation.inbox.register_items(take)
    body = {"number": 0}
    await alice.database.write(
        lambda work: frames.queue_item(work, bob.server_name, frames.TO_DEVICE, KIND, body)
    )
    await meeting.clock.until(lambda: bool(left))
    assert left == [0]


async def test_a_key_that_there_is_no_room_for_waits_with_all_that_comes_after_it(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    ears = Ears(bob)
    tries = 0

    def refuse_twelve_times(
        work: UnitOfWork, peer: ServerName, items: Sequence[JsonObject]
    ) -> None:
        nonlocal tries
        tries += 1
        if tries <= 12:
            raise errors.LimitExceeded(1)
        ears.take_items(work, peer, items)

    bob.federation.inbox.register_items(refuse_twelve_times)
    await speak(alice, bob, 2, "hello")
    await meeting.clock.until(lambda: "event hello" in ears.heard)
    assert ears.heard == ["key 0", "key 1", "event hello"]


@pytest.mark.parametrize("size", [10, 1_500])
async def test_no_event_overtakes_a_key(meeting: Meeting, size: int) -> None:
    """Not even where the keys fill more than one frame, by their number or by their size."""
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    ears = Ears(bob)
    await speak(alice, bob, 250, "hello", size)
    await meeting.clock.until(lambda: "event hello" in ears.heard)
    assert ears.heard == [*(f"key {number}" for number in range(250)), "event hello"]
