"""The loose ends of a room's graph: few, covered, and joined when nobody speaks."""

from dataclasses import replace

import pytest

from homeserver.matrix.events import DUMMY
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.rooms import drafting
from homeserver.rooms.appending import Origin, Outcome
from homeserver.rooms.drafting import Intent
from homeserver.rooms.tying import Tying
from homeserver.storage import events, rooms
from homeserver.storage.events import Point, StoredEvent
from homeserver.storage.unit_of_work import View
from tests.rooms.servers import Server, shared_room

Three = tuple[Server, Server, Server]


def ends(server: Server, room_id: RoomId) -> tuple[EventId, ...]:
    def find(view: View) -> tuple[EventId, ...]:
        room = rooms.find_room(view, room_id)
        assert room is not None
        return room.extremities

    return server.database.read(find)


def timeline(server: Server, room_id: RoomId) -> list[StoredEvent]:
    return server.database.read(
        lambda view: events.timeline_before(view, room_id, Point(2**60), 1_000)
    )


def dummies(server: Server, room_id: RoomId) -> list[StoredEvent]:
    return [one for one in timeline(server, room_id) if one.event.type == DUMMY]


async def tie(server: Server, seconds: float = 2_000) -> None:
    """Let the server look, so much time pass, and let it look again."""
    tying = Tying(server.database, server.local, server.clock)
    await tying.tie_due()
    await server.clock.sleep(seconds)
    await tying.tie_due()


async def exchange(*servers: Server, room_id: RoomId) -> None:
    for _ in range(2):
        for one in servers:
            for other in servers:
                if one is not other:
                    await one.hear_all(other, room_id)


async def split(alice: Server, bob: Server, room_id: RoomId) -> None:
    """Both set a topic at the same time, and hear of it afterwards."""
    await alice.set_state(room_id, "m.room.topic", topic="Alice's")
    await bob.set_state(room_id, "m.room.topic", topic="Bob's")
    await exchange(alice, bob, room_id=room_id)


async def room_with_power(alice: Server, *others: Server) -> RoomId:
    users = {other.user: 50 for other in others}
    return await shared_room(alice, *others, power_level_override={"users": users})


async def test_ends_that_differ_are_joined_and_clients_are_not_shown_by_what(three: Three) -> None:
    alice, bob, _ = three
    room_id = await room_with_power(alice, bob)
    await exchange(alice, bob, room_id=room_id)
    await split(alice, bob, room_id)
    assert len(ends(alice, room_id)) == len(ends(bob, room_id)) == 2
    await tie(alice)
    (joined,) = dummies(alice, room_id)
    assert ends(alice, room_id) == (joined.event.event_id,)
    await exchange(alice, bob, room_id=room_id)
    assert ends(bob, room_id) == ends(alice, room_id)
    shown = await alice.texts(room_id)
    assert shown == []
    with pytest.raises(Exception, match="no such event"):
        alice.timeline.event(alice.requester, room_id, joined.event.event_id)


async def test_two_that_join_at_once_make_no_storm(three: Three) -> None:
    alice, bob, _ = three
    room_id = await room_with_power(alice, bob)
    await exchange(alice, bob, room_id=room_id)
    await split(alice, bob, room_id)
    await tie(alice)
    await tie(bob)
    await exchange(alice, bob, room_id=room_id)
    assert len(dummies(alice, room_id)) == 2
    for server in (alice, bob, alice, bob):
        await tie(server)
        await exchange(alice, bob, room_id=room_id)
    assert len(dummies(alice, room_id)) == len(dummies(bob, room_id)) == 2
    assert alice.current(room_id) == bob.current(room_id)


async def test_messages_at_the_same_moment_need_no_joining(three: Three) -> None:
    alice, bob, _ = three
    room_id = await room_with_power(alice, bob)
    await exchange(alice, bob, room_id=room_id)
    await alice.say(room_id, "a")
    await bob.say(room_id, "b")
    await exchange(alice, bob, room_id=room_id)
    await tie(alice)
    assert len(ends(alice, room_id)) == 2
    assert dummies(alice, room_id) == []


async def test_the_turn_is_that_of_the_first_name_and_passes_on(three: Three) -> None:
    alice, bob, _ = three
    room_id = await room_with_power(alice, bob)
    await exchange(alice, bob, room_id=room_id)
    await split(alice, bob, room_id)
    await tie(bob, seconds=40)  # Alice's turn is after 30 seconds, Bob's after 50
    assert dummies(bob, room_id) == []
    await tie(bob, seconds=60)
    assert len(dummies(bob, room_id)) == 1


async def test_who_may_not_speak_leaves_the_ends(three: Three) -> None:
    alice, bob, _ = three
    room_id = await shared_room(
        alice,
        bob,
        power_level_override={"events_default": 80, "users": {bob.user: 50}},
    )
    await exchange(alice, bob, room_id=room_id)
    await split(alice, bob, room_id)
    await tie(bob)
    assert dummies(bob, room_id) == []
    assert len(ends(bob, room_id)) == 2


async def test_what_was_hidden_at_one_server_is_agreed_about_though_nobody_speaks(
    three: Three,
) -> None:
    """Carol takes Bob's power; he sets the topic meanwhile; then Alice gives it back."""
    alice, bob, carol = three
    room_id = await shared_room(
        alice,
        bob,
        carol,
        power_level_override={
            "users": {bob.user: 50, carol.user: 60},
            "events": {"m.room.power_levels": 50},
        },
    )
    await exchange(*three, room_id=room_id)
    levels = alice.state.entry(alice.requester, room_id, "m.room.power_levels", "")["content"]
    lowered = levels | {"users": {bob.user: 0, carol.user: 60}}
    demotion = await carol.set_state(room_id, "m.room.power_levels", **lowered)
    topic = await bob.set_state(room_id, "m.room.topic", topic="Bob's")
    await alice.hear(carol, demotion)
    assert (await alice.hear(bob, topic)).outcome is Outcome.SOFT_FAILED
    await alice.set_state(room_id, "m.room.power_levels", **levels)
    await carol.hear_all(alice, room_id)
    await bob.hear(carol, demotion)
    await bob.hear_all(alice, room_id)
    assert ("m.room.topic", "") not in alice.current(room_id)
    assert bob.current(room_id)["m.room.topic", ""] == topic
    for server in three:
        await tie(server)
        await exchange(*three, room_id=room_id)
    for server in three:
        assert server.current(room_id)["m.room.topic", ""] == topic
        assert len(ends(server, room_id)) == 1


async def test_an_event_of_ours_refers_to_ten_ends_and_the_rest_follow(three: Three) -> None:
    alice, bob, carol = three
    room_id = await shared_room(alice, bob, carol)
    await exchange(*three, room_id=room_id)
    before = bob.stored(bob.current(room_id)["m.room.member", bob.user]).event
    for number in range(14):  # as if fourteen servers spoke at once
        ours = fork(bob, room_id, before.event_id, str(number))
        assert (await alice.append(ours.event, Origin(bob.name))).outcome is Outcome.ACCEPTED
    many = len(ends(alice, room_id))
    assert many > 10
    spoken = await alice.say(room_id, "hello")
    assert len(alice.stored(spoken).event.prev_events) == 10
    assert len(ends(alice, room_id)) == many - 9
    await tie(alice)
    assert len(ends(alice, room_id)) == 1


def fork(bob: Server, room_id: RoomId, after: EventId, body: str) -> StoredEvent:
    """Something that Bob's server says after one event, as if it knew no other."""

    def build(view: View) -> StoredEvent:
        room = drafting.load_room(view, room_id)
        intent = Intent(bob.user, "m.room.message", {"msgtype": "m.text", "body": body})
        placed = drafting.draft(view, room, intent, bob.clock.now_ms())
        placed = replace(placed, prev_events=(after,))
        return StoredEvent(drafting.build(bob.local, placed, room.version_id))

    return bob.database.read(build)
