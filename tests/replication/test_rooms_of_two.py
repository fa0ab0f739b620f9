"""Two servers and a room: from the invitation to the departure."""

import pytest

from homeserver import errors
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.rooms.creating import Wish
from homeserver.storage import rooms
from tests.replication.stack import Server, settle

Pair = tuple[Server, Server]


async def shared_room(alice: Server, bob: Server, version: str = "12") -> RoomId:
    wish = Wish(version_id=version, invite=[bob.user])
    room_id = await alice.creator.create(alice.requester, wish)
    await settle(alice, bob)
    await bob.membership.join(bob.requester, room_id, [], {})
    await settle(alice, bob)
    return room_id


@pytest.mark.parametrize("version", ["10", "11", "12"])
async def test_an_invitation_leads_into_a_room_that_both_see_alike(
    pair: Pair, version: str
) -> None:
    alice, bob = pair
    room_id = await alice.creator.create(
        alice.requester, Wish(version_id=version, invite=[bob.user], name="Tea")
    )
    await settle(alice, bob)
    assert bob.membership_in(room_id) == "invite"
    shown = bob.database.read(lambda view: rooms.find_outside_state(view, room_id, bob.user))
    assert {"m.room.create", "m.room.name"} <= {one["type"] for one in shown}

    await bob.membership.join(bob.requester, room_id, [], {})
    await settle(alice, bob)
    assert alice.membership_in(room_id, bob.user) == "join"
    assert bob.state(room_id) == alice.state(room_id)


async def test_messages_pass_both_ways_in_order(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    for number in range(3):
        await alice.say(room_id, f"alice {number}")
        await settle(alice, bob)
        await bob.say(room_id, f"bob {number}")
        await settle(alice, bob)
    said = ["alice 0", "bob 0", "alice 1", "bob 1", "alice 2", "bob 2"]
    assert alice.texts(room_id) == said
    assert bob.texts(room_id) == said


async def test_a_redaction_takes_effect_on_the_other_side(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    event_id = EventId(await alice.say(room_id, "regretted"))
    await settle(alice, bob)
    await alice.sender.redact(alice.requester, room_id, event_id, "txn", {})
    await settle(alice, bob)
    assert bob.texts(room_id) == ["(redacted)"]


@pytest.mark.parametrize("version", ["10", "11", "12"])
async def test_conflicting_changes_of_state_end_alike_on_both_servers(
    pair: Pair, version: str
) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob, version)
    owners = {bob.user} if version == "12" else {alice.user, bob.user}
    levels = {"users": dict.fromkeys(owners, 100)}
    await alice.set_state(room_id, "m.room.power_levels", levels)
    await settle(alice, bob)
    await alice.set_state(room_id, "m.room.name", {"name": "by Alice"})
    await bob.set_state(room_id, "m.room.name", {"name": "by Bob"})
    await bob.set_state(room_id, "m.room.topic", {"topic": "by Bob"})
    await settle(alice, bob)
    await alice.say(room_id, "both ends meet")
    await settle(alice, bob)
    assert alice.state(room_id) == bob.state(room_id)
    assert ("m.room.topic", "") in alice.state(room_id)
    assert bob.texts(room_id) == ["both ends meet"]


async def test_what_was_missed_is_fetched_and_stands_in_order(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    said = [f"message {number}" for number in range(30)]
    for text in said:
        await alice.say(room_id, text)
    newest = alice.timeline(room_id)[-1].event
    await bob.intake.take_in(alice.name, [newest.pdu])
    assert bob.texts(room_id) == said
    assert (alice.name, "get_missing_events") in bob.wire.asked


async def test_after_a_long_absence_the_newest_come_first_and_the_gap_is_filled(
    pair: Pair,
) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    said = [f"message {number}" for number in range(620)]
    for text in said:
        await alice.say(room_id, text)
    await settle(alice, bob)
    assert bob.texts(room_id) == said


async def test_events_taken_in_twice_are_there_once(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    await alice.say(room_id, "once")
    await settle(alice, bob)
    everything = [stored.event.pdu for stored in bob.timeline(room_id)]
    before = bob.database.position
    await bob.intake.take_in(alice.name, everything)
    assert bob.texts(room_id) == ["once"]
    assert bob.database.position == before


async def test_leaving_ends_what_is_sent(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    await bob.membership.leave(bob.requester, room_id, {})
    await settle(alice, bob)
    assert alice.membership_in(room_id, bob.user) == "leave"
    await alice.say(room_id, "alone at last")
    await settle(alice, bob)
    assert bob.texts(room_id) == []


async def test_an_invitation_can_be_declined(pair: Pair) -> None:
    alice, bob = pair
    room_id = await alice.creator.create(alice.requester, Wish(invite=[bob.user]))
    await settle(alice, bob)
    await bob.membership.leave(bob.requester, room_id, {})
    await settle(alice, bob)
    assert alice.membership_in(room_id, bob.user) == "leave"
    assert bob.membership_in(room_id) == "leave"


async def test_an_invitation_can_be_taken_back(pair: Pair) -> None:
    alice, bob = pair
    room_id = await alice.creator.create(alice.requester, Wish(invite=[bob.user]))
    await settle(alice, bob)
    await alice.membership.kick(alice.requester, room_id, bob.user, {})
    await settle(alice, bob)
    assert bob.membership_in(room_id) == "leave"
    with pytest.raises(errors.PeerRefused):
        await bob.membership.join(bob.requester, room_id, [], {})


async def test_who_left_may_be_invited_again_and_sees_what_is_said_then(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    await bob.membership.leave(bob.requester, room_id, {})
    await settle(alice, bob)
    await alice.say(room_id, "meanwhile")
    await alice.membership.invite(alice.requester, room_id, bob.user, {})
    await settle(alice, bob)
    assert bob.membership_in(room_id) == "invite"
    await bob.membership.join(bob.requester, room_id, [], {})
    await settle(alice, bob)
    await alice.say(room_id, "welcome back")
    await settle(alice, bob)
    assert bob.texts(room_id)[-1] == "welcome back"
    assert bob.state(room_id) == alice.state(room_id)


async def test_a_public_room_is_joined_by_its_alias(pair: Pair) -> None:
    alice, bob = pair
    wish = Wish(preset="public_chat", alias_localpart="tea")
    room_id = await alice.creator.create(alice.requester, wish)
    found = await bob.membership.join(bob.requester, f"#tea:{alice.name}", [], {})
    assert found == room_id
    await settle(alice, bob)
    assert alice.membership_in(room_id, bob.user) == "join"


async def test_knocking_waits_for_an_invitation(pair: Pair) -> None:
    alice, bob = pair
    knock = ("m.room.join_rules", "", {"join_rule": "knock"})
    room_id = await alice.creator.create(alice.requester, Wish(initial_state=[knock]))
    await bob.membership.knock(bob.requester, room_id, [alice.name], {})
    assert bob.membership_in(room_id) == "knock"
    assert alice.membership_in(room_id, bob.user) == "knock"
    await alice.membership.invite(alice.requester, room_id, bob.user, {})
    await settle(alice, bob)
    await bob.membership.join(bob.requester, room_id, [], {})
    assert alice.membership_in(room_id, bob.user) == "join"


async def test_a_restricted_room_admits_members_of_the_other_room_only(pair: Pair) -> None:
    alice, bob = pair
    club = await alice.creator.create(alice.requester, Wish(preset="public_chat"))
    rule = {
        "join_rule": "restricted",
        "allow": [{"type": "m.room_membership", "room_id": club}],
    }
    wish = Wish(initial_state=[("m.room.join_rules", "", rule)])
    room_id = await alice.creator.create(alice.requester, wish)
    with pytest.raises(errors.PeerRefused):
        await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await bob.membership.join(bob.requester, club, [alice.name], {})
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await settle(alice, bob)
    assert alice.membership_in(room_id, bob.user) == "join"
    assert bob.state(room_id) == alice.state(room_id)
