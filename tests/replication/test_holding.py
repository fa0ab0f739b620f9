"""An event whose past we lack is kept and asked about until it has its place."""

from federation.replication.holding import Holding
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.rooms.creating import Wish
from homeserver.storage import events, waiting_events
from homeserver.storage.events import StoredEvent
from tests.replication.stack import Server, connect, settle, take_in
from tests.replication.test_rooms_of_three import room_of_three

Pair = tuple[Server, Server]
Trio = tuple[Server, Server, Server]


def holding_of(server: Server) -> Holding:
    return Holding(server.database, server.intake.placing, server.name, server.clock)


def waiting_in(server: Server, room_id: RoomId) -> dict[EventId, str]:
    return server.database.read(lambda view: waiting_events.reasons_of(view, room_id))


def stored_at(server: Server, event_id: str) -> StoredEvent:
    found = server.database.read(lambda view: events.find_event(view, EventId(event_id)))
    assert found is not None
    return found


async def room_of_two(alice: Server, bob: Server) -> RoomId:
    room_id = await alice.creator.create(alice.requester, Wish(invite=[bob.user]))
    await settle(alice, bob)
    await bob.membership.join(bob.requester, room_id, [], {})
    await settle(alice, bob)
    return room_id


async def hand_over(source: Server, target: Server, *event_ids: str) -> None:
    """Only these events arrive, as a frame of the source's."""
    pdus = [stored_at(source, one).event.pdu for one in event_ids]
    body: JsonObject = {"pdus": pdus, "edus": [], "items": []}
    await take_in(target, source.name, "transaction", body)


async def test_the_peer_sleeps_right_after_sending_and_its_event_comes_through(pair: Pair) -> None:
    alice, bob = pair
    room_id = await room_of_two(alice, bob)
    await bob.say(room_id, "first")
    second = await bob.say(room_id, "second")
    del alice.reachable[bob.name]
    await hand_over(bob, alice, second)
    assert alice.texts(room_id) == []
    assert waiting_in(alice, room_id) == {second: "PeerUnreachable"}

    await holding_of(alice).try_room(room_id)  # he still sleeps
    assert list(waiting_in(alice, room_id)) == [second]
    alice.reachable[bob.name] = bob
    await holding_of(alice).try_room(room_id)
    assert alice.texts(room_id) == ["first", "second"]
    assert waiting_in(alice, room_id) == {}


async def test_another_member_gives_what_the_sender_sleeps_over(trio: Trio) -> None:
    alice, bob, carol = trio
    await connect(bob, carol)
    room_id = await room_of_three(alice, bob, carol)
    first = await bob.say(room_id, "first")
    second = await bob.say(room_id, "second")
    await hand_over(bob, carol, first)
    del alice.reachable[bob.name]
    await hand_over(bob, alice, second)
    assert list(waiting_in(alice, room_id)) == [second]

    await holding_of(alice).try_room(room_id)
    assert alice.texts(room_id) == ["first", "second"]
    assert waiting_in(alice, room_id) == {}


async def test_a_refusal_does_not_lose_the_event_either(pair: Pair) -> None:
    alice, bob = pair
    room_id = await room_of_two(alice, bob)
    await bob.say(room_id, "first")
    second = await bob.say(room_id, "second")
    honest = alice.wire.tamper

    def refuse(_operation: str, _answer: JsonObject) -> JsonObject:
        raise errors.PeerRefused

    alice.wire.tamper = refuse
    await hand_over(bob, alice, second)
    assert waiting_in(alice, room_id) == {second: "PeerRefused"}
    alice.wire.tamper = honest
    await holding_of(alice).try_room(room_id)
    assert alice.texts(room_id) == ["first", "second"]


async def test_what_a_newcomer_says_waits_for_the_join_that_another_server_accepted(
    trio: Trio,
) -> None:
    alice, bob, carol = trio
    await connect(alice, bob)
    await connect(alice, carol)
    await connect(bob, carol)
    room_id = await room_of_two(alice, bob)
    await bob.membership.invite(bob.requester, room_id, carol.user, {})
    await settle(bob, carol)
    # Alice hears nothing of Bob, who lets Carol in.
    await carol.membership.join(carol.requester, room_id, [bob.name], {})
    said = await carol.say(room_id, "Alice?")
    await hand_over(carol, alice, said)
    assert waiting_in(alice, room_id) == {said: "NotInRoom"}
    assert (carol.name, "get_missing_events") not in alice.wire.asked

    await settle(alice, bob, carol)
    await holding_of(alice).try_room(room_id)
    assert alice.texts(room_id) == ["Alice?"]
    assert waiting_in(alice, room_id) == {}


async def test_a_server_that_never_joins_gains_nothing_by_it(trio: Trio) -> None:
    alice, bob, carol = trio
    await connect(alice, bob)
    await connect(alice, carol)
    room_id = await room_of_two(alice, bob)
    said = await bob.say(room_id, "mine")
    forged = stored_at(bob, said).event.pdu | {"sender": carol.user}
    body: JsonObject = {"pdus": [forged], "edus": [], "items": []}
    await take_in(alice, carol.name, "transaction", body)
    assert waiting_in(alice, room_id) == {}


async def test_too_many_leave_the_newest_which_lead_to_all(pair: Pair) -> None:
    alice, bob = pair
    room_id = await room_of_two(alice, bob)
    del bob.reachable[alice.name]
    said = [await bob.say(room_id, str(number)) for number in range(6)]
    several = [stored_at(bob, one).event for one in said[1:]]
    arrival = waiting_events.Arrival(room_id, bob.name, 0, "test", most=2)
    await alice.database.write(lambda work: waiting_events.save_events(work, arrival, several))
    assert set(waiting_in(alice, room_id)) == set(said[-2:])
    await holding_of(alice).try_room(room_id)
    assert alice.texts(room_id) == ["0", "1", "2", "3", "4", "5"]


async def test_leaving_the_room_ends_the_waiting(pair: Pair) -> None:
    alice, bob = pair
    room_id = await room_of_two(alice, bob)
    await bob.say(room_id, "first")
    second = await bob.say(room_id, "second")
    del alice.reachable[bob.name]
    await hand_over(bob, alice, second)
    await alice.membership.leave(alice.requester, room_id, {})
    await holding_of(alice).try_room(room_id)
    assert waiting_in(alice, room_id) == {}
