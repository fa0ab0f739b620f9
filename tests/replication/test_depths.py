"""A depth is what an event's sender says: one that lies degrades nothing."""

from dataclasses import replace

import pytest

from homeserver.matrix.canonical_json import MAX_INTEGER
from homeserver.matrix.events import Draft, Event
from homeserver.matrix.identifiers import RoomId
from homeserver.rooms import appending, drafting
from homeserver.rooms.appending import HERE
from homeserver.rooms.creating import Wish
from homeserver.rooms.drafting import Intent
from homeserver.storage.unit_of_work import UnitOfWork
from tests.replication.stack import Server, connect, settle, take_in
from tests.replication.test_large_rooms import read_back
from tests.replication.test_refusals import draft, signed_by

Pair = tuple[Server, Server]
Trio = tuple[Server, Server, Server]
SAID = 120


async def public_room(alice: Server, bob: Server) -> RoomId:
    room_id = await alice.creator.create(alice.requester, Wish(preset="public_chat"))
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await settle(alice, bob)
    return room_id


def message(server: Server, room_id: RoomId, text: str) -> Draft:
    return draft(server, room_id, Intent(server.user, "m.room.message", {"body": text}))


async def say_with_depth(server: Server, room_id: RoomId, depth: int) -> Event:
    event = signed_by(server, replace(message(server, room_id, "liar"), depth=depth))

    def say(work: UnitOfWork) -> None:
        appending.append(work, event, HERE, drafting.load_room(work, room_id))

    await server.database.write(say)
    return event


@pytest.mark.parametrize("depth", [MAX_INTEGER, 1])
async def test_history_behind_an_event_whose_depth_lies_comes_in_as_few_pages(
    trio: Trio, depth: int
) -> None:
    alice, bob, carol = trio
    await connect(alice, bob)
    await connect(alice, carol)
    room_id = await public_room(alice, bob)
    for number in range(SAID // 2):
        await alice.say(room_id, str(number))
    await settle(alice, bob)
    await say_with_depth(bob, room_id, depth)
    await settle(alice, bob)
    for number in range(SAID // 2, SAID):
        await alice.say(room_id, str(number))
    await carol.membership.join(carol.requester, room_id, [alice.name], {})
    await settle(alice, carol)

    carol.wire.asked.clear()
    read = await read_back(carol, room_id, SAID + 1)
    assert [text for text in read if text != "liar"] == [str(number) for number in range(SAID)]
    assert read[SAID // 2] == "liar"
    assert len(carol.wire.asked) <= 3


@pytest.mark.parametrize("depth", [MAX_INTEGER, 7])
async def test_an_event_of_ours_is_one_deeper_than_what_it_follows(pair: Pair, depth: int) -> None:
    alice, bob = pair
    room_id = await public_room(alice, bob)
    for number in range(10):
        await alice.say(room_id, str(number))
    await settle(alice, bob)
    await say_with_depth(bob, room_id, depth)
    await settle(alice, bob)
    await alice.say(room_id, "next")
    assert alice.timeline(room_id)[-1].event.depth == min(depth + 1, MAX_INTEGER)


async def test_of_several_ends_the_deepest_counts(pair: Pair) -> None:
    alice, bob = pair
    room_id = await public_room(alice, bob)
    early = signed_by(bob, message(bob, room_id, "early"))
    for number in range(10):
        await alice.say(room_id, str(number))
    deepest = alice.timeline(room_id)[-1].event.depth
    await take_in(alice, bob.name, "transaction", {"pdus": [early.pdu], "edus": [], "items": []})
    await alice.say(room_id, "after both")
    last = alice.timeline(room_id)[-1].event
    assert early.event_id in last.prev_events
    assert early.depth < deepest
    assert last.depth == deepest + 1


async def test_what_follows_a_lie_does_not_go_before_everything_else(pair: Pair) -> None:
    alice, bob = pair
    room_id = await public_room(alice, bob)
    aside = signed_by(bob, message(bob, room_id, "aside"))
    await say_with_depth(alice, room_id, MAX_INTEGER)
    for number in range(30):
        await alice.say(room_id, str(number))
    await take_in(alice, bob.name, "transaction", {"pdus": [aside.pdu], "edus": [], "items": []})
    await alice.say(room_id, "after both")
    newest = alice.timeline(room_id)[-1].event.event_id
    body = {"room_id": room_id, "v": [newest], "limit": 5}
    answer, _ = await alice.answers.answer(bob.name, "backfill", body)
    assert [pdu["content"]["body"] for pdu in answer["pdus"]] == [
        "after both",
        "aside",
        "29",
        "28",
        "27",
    ]
