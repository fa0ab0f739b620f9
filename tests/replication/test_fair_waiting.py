"""What one peer made up keeps nobody else's events waiting; who is shut out is not heard."""

from dataclasses import replace

import pytest

from federation.replication import events as intake
from federation.replication import holding
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.rooms import drafting
from homeserver.rooms.drafting import Intent
from homeserver.storage import waiting_events
from homeserver.storage.unit_of_work import UnitOfWork, View
from tests.replication.stack import Server, connect, settle, take_in
from tests.replication.test_holding import (
    Pair,
    Trio,
    hand_over,
    holding_of,
    room_of_two,
    stored_at,
    waiting_in,
)
from tests.replication.test_rooms_of_three import room_of_three

_DAY_MS = 86_400_000


def made_up(author: Server, knows: Server, room_id: RoomId, count: int) -> list[JsonObject]:
    """Signed events at the room's very beginning, after events that do not exist."""

    def make(view: View) -> list[JsonObject]:
        room = drafting.load_room(view, room_id)
        intent = Intent(author.user, "m.room.message", {"msgtype": "m.text", "body": "?"})
        draft = drafting.draft(view, room, intent, author.clock.now_ms())
        return [
            drafting.build(
                author.local,
                replace(draft, prev_events=(EventId(f"${number:04d}{'A' * 39}"),), depth=1),
                room.version_id,
            ).pdu
            for number in range(count)
        ]

    return knows.database.read(make)


async def send(source: Server, target: Server, pdus: list[JsonObject]) -> None:
    for at in range(0, len(pdus), 50):
        body: JsonObject = {"pdus": pdus[at : at + 50], "edus": [], "items": []}
        await take_in(target, source.name, "transaction", body)


async def late(bob: Server, alice: Server, room_id: RoomId) -> str:
    """An event of Bob's whose past Alice lacks, for he is away; then he is back."""
    await bob.say(room_id, "first")
    second = await bob.say(room_id, "second")
    del alice.reachable[bob.name]
    await hand_over(bob, alice, second)
    alice.reachable[bob.name] = bob
    assert second in waiting_in(alice, room_id)
    return second


async def test_a_member_s_made_up_events_keep_nobody_waiting(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_AT_ONCE", 20)
    alice, bob, carol = trio
    await connect(bob, carol)
    room_id = await room_of_three(alice, bob, carol)
    await send(carol, alice, made_up(carol, carol, room_id, 40))
    await late(bob, alice, room_id)
    await holding_of(alice).try_room(room_id)
    assert alice.texts(room_id) == ["first", "second"]


async def test_little_of_a_server_that_is_not_in_the_room_waits_and_not_for_ever(
    trio: Trio,
) -> None:
    alice, bob, carol = trio
    for one, other in ((alice, bob), (alice, carol), (bob, carol)):
        await connect(one, other)
    room_id = await room_of_two(alice, bob)
    await send(carol, alice, made_up(carol, alice, room_id, 120))
    assert len(waiting_in(alice, room_id)) == intake._MOST_OF_A_NEWCOMER
    await late(bob, alice, room_id)
    alice.wire.asked.clear()
    await holding_of(alice).try_room(room_id)
    assert alice.texts(room_id) == ["first", "second"]
    assert carol.name not in {peer for peer, _ in alice.wire.asked}
    alice.clock.now += 15 * _DAY_MS
    await holding_of(alice).try_room(room_id)
    assert waiting_in(alice, room_id) == {}


async def test_who_is_shut_out_meanwhile_is_not_heard(pair: Pair) -> None:
    alice, bob = pair
    room_id = await room_of_two(alice, bob)
    await late(bob, alice, room_id)
    await shut_out(alice, bob, room_id)
    await holding_of(alice).try_room(room_id)
    assert alice.texts(room_id) == []
    assert waiting_in(alice, room_id) == {}


async def test_what_comes_from_who_is_shut_out_does_not_even_wait(pair: Pair) -> None:
    alice, bob = pair
    room_id = await room_of_two(alice, bob)
    await shut_out(alice, bob, room_id)
    said = await bob.say(room_id, "shut out")
    await hand_over(bob, alice, said)
    assert waiting_in(alice, room_id) == {}
    await holding_of(alice).try_room(room_id)
    assert alice.texts(room_id) == []


async def shut_out(alice: Server, bob: Server, room_id: RoomId) -> None:
    content: JsonObject = {"allow": ["*"], "deny": [bob.name]}

    def say(work: UnitOfWork) -> None:
        room = drafting.load_room(work, room_id)
        intent = Intent(alice.user, "m.room.server_acl", content, "")
        drafting.say(work, alice.local, room, intent, alice.clock.now_ms())

    await alice.database.write(say)
    await settle(alice, bob)


async def test_a_room_s_bytes_are_shared_among_the_peers(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = pair
    room_id = await room_of_two(alice, bob)
    del bob.reachable[alice.name]
    events: list[Event] = [
        stored_at(bob, await bob.say(room_id, str(number))).event for number in range(10)
    ]
    monkeypatch.setattr(waiting_events, "MOST_BYTES_OF_A_ROOM", 4_000)
    for name, several in (("x.example", events[:2]), ("y.example", events[2:])):
        arrival = waiting_events.Arrival(room_id, ServerName(name), 0, "test")
        await alice.database.write(
            lambda work, at=arrival, some=several: waiting_events.save_events(work, at, some)  # type: ignore[misc]
        )
    kept = waiting_in(alice, room_id).keys()
    assert {one.event_id for one in events[:2]} | {events[-1].event_id} <= kept
    assert events[2].event_id not in kept
