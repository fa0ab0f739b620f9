"""After a long absence, and from a slow peer, the newest comes first and in bounded time."""

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.rooms import drafting, pages
from homeserver.rooms.drafting import Intent
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.sync.filters import RoomEventFilter
from homeserver.sync.timelines import Slice, Span, load_slice
from tests.replication.stack import Server, connect, settle
from tests.replication.test_holding import hand_over, holding_of, room_of_two, waiting_in
from tests.replication.test_large_rooms import read_back

Pair = tuple[Server, Server]
Trio = tuple[Server, Server, Server]

# More than is fetched before what arrived is shown, and two pages beside it.
MISSED = 800


async def say_many(server: Server, room_id: RoomId, count: int) -> None:
    def say(work: UnitOfWork) -> None:
        room = drafting.load_room(work, room_id)
        for number in range(count):
            content: JsonObject = {"msgtype": "m.text", "body": str(number)}
            intent = Intent(server.user, "m.room.message", content)
            _, appended = drafting.say(work, server.local, room, intent, server.clock.now_ms())
            room = appended.room

    await server.database.write(say)


async def test_after_a_long_absence_the_newest_comes_first_and_pages_bring_the_rest(
    pair: Pair,
) -> None:
    alice, bob = pair
    room_id = await room_of_two(alice, bob)
    await alice.say(room_id, "before")
    await settle(alice, bob)
    await alice.set_state(room_id, "m.room.topic", {"topic": "missed"})
    await say_many(alice, room_id, MISSED)
    bob.wire.asked.clear()
    await settle(alice, bob)

    here = bob.texts(room_id)
    assert here[0] == "before"
    assert here[1:] == [str(number) for number in range(MISSED - len(here) + 1, MISSED)]
    assert len(here) < MISSED
    assert bob.state(room_id) == alice.state(room_id)
    assert waiting_in(bob, room_id) == {}
    asked = Counter(operation for _, operation in bob.wire.asked)
    assert asked["get_missing_events"] <= 5
    assert asked["state_ids"] == 1

    shown = sync_around_the_hole(bob, room_id)
    assert shown.is_limited
    assert [one.event.content["body"] for one in shown.events] == here[1:11]
    assert shown.before == pages.before(shown.events[0])
    read = await read_back(bob, room_id, MISSED + 1)
    assert read == ["before", *(str(number) for number in range(MISSED))]
    await bob.say(room_id, "whole again")
    await settle(alice, bob)
    assert alice.texts(room_id)[-1] == "whole again"
    assert alice.state(room_id) == bob.state(room_id)


def sync_around_the_hole(server: Server, room_id: RoomId) -> Slice:
    """What a client is told that had all up to the hole, and asks when ten events are behind it."""
    timeline = server.timeline(room_id)
    before, hole = next((one, other) for one, other in pairwise(timeline) if other.follows_gap)
    span = Span(room_id, before.point.position, hole.point.position + 9, before.point.position)
    wanted = RoomEventFilter(limit=100)
    return server.database.read(lambda view: load_slice(view, server.user, span, wanted))


class Slow:
    """A peer of whose answers each takes so long, and holds one event of the past."""

    def __init__(self, server: Server, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._ask = server.wire.ask_for_bytes

    async def __call__(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> tuple[JsonObject, bytes]:
        self._server.clock.now += int(min(self._seconds, timeout_s) * 1000)
        if self._seconds > timeout_s:
            raise errors.PeerUnreachable
        answer, attached = await self._ask(peer, operation, body, timeout_s)
        if operation == "get_missing_events":
            answer["events"] = answer["events"][-1:]
        return answer, attached


@pytest.mark.parametrize(("seconds", "is_shown"), [(10.0, True), (19.0, True), (21.0, False)])
async def test_a_peer_that_gives_its_past_drop_by_drop_holds_us_for_a_minute_at_most(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, seconds: float, is_shown: bool
) -> None:
    alice, bob = pair
    room_id = await room_of_two(alice, bob)
    await say_many(bob, room_id, 100)
    monkeypatch.setattr(alice.wire, "ask_for_bytes", Slow(alice, seconds))
    began = alice.clock.monotonic()
    await hand_over(bob, alice, bob.timeline(room_id)[-1].event.event_id)
    assert alice.clock.monotonic() - began < 62
    assert (alice.texts(room_id)[-1:] == ["99"]) is is_shown
    assert bool(waiting_in(alice, room_id)) is not is_shown

    began = alice.clock.monotonic()
    await holding_of(alice).try_room(room_id)
    assert alice.clock.monotonic() - began < 32


async def test_a_room_whose_peer_never_answers_keeps_no_other_room_waiting(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, carol = trio
    await connect(alice, bob)
    await connect(alice, carol)
    rooms = [await room_of_two(alice, other) for other in (bob, carol)]
    for other, room_id in zip((bob, carol), rooms, strict=True):
        await other.say(room_id, "first")
        second = await other.say(room_id, "second")
        del alice.reachable[other.name]
        await hand_over(other, alice, second)
        alice.reachable[other.name] = other
    silence, ask = asyncio.Event(), alice.wire.ask_for_bytes

    async def ask_in_vain(
        peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> tuple[JsonObject, bytes]:
        if peer == bob.name:
            await silence.wait()
        return await ask(peer, operation, body, timeout_s)

    monkeypatch.setattr(alice.wire, "ask_for_bytes", ask_in_vain)
    holding = holding_of(alice)
    holding.start()
    for _ in range(500):
        await asyncio.sleep(0)
    assert alice.texts(rooms[1]) == ["first", "second"]
    assert alice.texts(rooms[0]) == []
    silence.set()
    for _ in range(500):
        await asyncio.sleep(0)
    await holding.close()
    assert alice.texts(rooms[0]) == ["first", "second"]
