"""What becomes of events that are rejected or hidden, and of those that rest on them."""

import asyncio
from dataclasses import replace
from pathlib import Path

from homeserver import errors
from homeserver.matrix import events as matrix_events
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Draft, Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.matrix.room_versions import room_version
from homeserver.rooms import drafting, taking_in
from homeserver.rooms.appending import Origin, Outcome
from homeserver.rooms.backfilling import Backfilling
from homeserver.rooms.drafting import Intent
from homeserver.storage import rooms
from homeserver.storage.events import Point
from homeserver.storage.gaps import Gap
from homeserver.storage.unit_of_work import View
from homeserver.testing.virtual_time import VirtualLoop
from tests.rooms.servers import Network, Server, running, shared_room

Three = tuple[Server, Server, Server]


def drafted(server: Server, room_id: RoomId, intent: Intent, **changes: object) -> Event:
    """An event of a server's, allowed or not."""

    def build(view: View) -> Event:
        room = drafting.load_room(view, room_id)
        placed = drafting.draft(view, room, intent, server.clock.now_ms())
        return drafting.build(server.local, replace(placed, **changes), room.version_id)  # type: ignore[arg-type]

    return server.database.read(build)


def ends(server: Server, room_id: RoomId) -> tuple[EventId, ...]:
    room = server.database.read(lambda view: rooms.find_room(view, room_id))
    assert room is not None
    return room.extremities


async def test_what_follows_a_rejected_event_is_judged_by_itself(three: Three) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob)
    await bob.hear_all(alice, room_id)
    await alice.hear_all(bob, room_id)
    forbidden = drafted(bob, room_id, Intent(bob.user, "m.room.topic", {"topic": "mine"}, ""))
    after = drafted(
        bob,
        room_id,
        Intent(bob.user, "m.room.message", {"msgtype": "m.text", "body": "fine"}),
        prev_events=(forbidden.event_id,),
        depth=forbidden.depth + 1,
    )
    assert (await alice.append(forbidden, Origin(bob.name))).outcome is Outcome.REJECTED
    assert (await alice.append(after, Origin(bob.name))).outcome is Outcome.ACCEPTED
    assert ends(alice, room_id) == (after.event_id,)
    assert ("m.room.topic", "") not in alice.current(room_id)
    assert alice.bodies(room_id) == ["fine"]


async def test_a_rejected_part_of_an_auth_chain_has_its_place_once_it_arrives(
    three: Three,
) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob)
    await alice.hear_all(bob, room_id)
    forbidden = drafted(bob, room_id, Intent(bob.user, "m.room.topic", {"topic": "mine"}, ""))
    after = drafted(
        bob,
        room_id,
        Intent(bob.user, "m.room.message", {"msgtype": "m.text", "body": "fine"}),
        prev_events=(forbidden.event_id,),
    )
    rejected = await alice.database.write(
        lambda work: taking_in.take_in_outliers(work, [forbidden])
    )
    assert rejected == {forbidden.event_id}
    assert not alice.stored(forbidden.event_id).is_placed
    assert (await alice.append(forbidden, Origin(bob.name))).outcome is Outcome.REJECTED
    assert alice.stored(forbidden.event_id).is_placed
    assert (await alice.append(after, Origin(bob.name))).outcome is Outcome.ACCEPTED


async def test_an_event_covers_what_lies_behind_a_hidden_one(three: Three) -> None:
    alice, bob, carol = three
    room_id = await shared_room(alice, bob, carol)
    for one in three:
        for other in three:
            if one is not other:
                await one.hear_all(other, room_id)
    before = ends(carol, room_id)
    hidden = await bob.say(room_id, "hidden at Alice's")
    assert bob.stored(hidden).event.prev_events == before
    await carol.hear(bob, hidden)
    said = await carol.say(room_id, "I heard Bob")
    await alice.membership.ban(alice.requester, room_id, bob.user, {})
    banned = ends(alice, room_id)
    assert (await alice.hear(bob, hidden)).outcome is Outcome.SOFT_FAILED
    assert ends(alice, room_id) == banned
    assert (await alice.hear(carol, said)).outcome is Outcome.ACCEPTED
    assert ends(alice, room_id) == (*banned, said)
    assert alice.bodies(room_id) == ["I heard Bob"]


async def test_a_create_event_of_any_depth_comes_before_what_rests_on_it(three: Three) -> None:
    alice, bob, _ = three
    version = room_version("12")
    content: JsonObject = {"room_version": "12"}
    first = Draft(None, alice.user, "m.room.create", "", content, (), (), 2**40, 1)
    create = matrix_events.build(first, version, alice.name, alice.local.signing_key)
    joining = Draft(
        create.room_id,
        alice.user,
        "m.room.member",
        alice.user,
        {"membership": "join"},
        (create.event_id,),
        (),
        2,
        2,
    )
    join = matrix_events.build(joining, version, alice.name, alice.local.signing_key)
    rejected = await bob.database.write(
        lambda work: taking_in.take_in_outliers(work, [join, create])
    )
    assert rejected == frozenset()


class Slow(Network):
    """Answers nothing, and takes all the time that it is given for it."""

    async def ask(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        await asyncio.sleep(timeout_s)
        raise errors.PeerUnreachable


def test_asking_for_history_ends_soon_however_slow_all_peers_are(tmp_path: Path) -> None:
    loop = VirtualLoop()

    async def story() -> float:
        async with running(tmp_path, "alice", "bob", "carol", "dave", "erin") as servers:
            alice, *others = servers
            room_id = await shared_room(alice, *others)
            gap = Gap(EventId("$missing"), alice.current(room_id)["m.room.create", ""], Point(1))
            slow = Slow()
            began = loop.time()
            assert not await Backfilling(alice.database, slow, slow.verify).fill(room_id, [gap])
            return loop.time() - began

    assert 12 < loop.run_until_complete(story()) <= 15.1
    loop.close()
