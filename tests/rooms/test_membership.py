"""Invitations, joins, knocks, leaving, being removed, between servers."""

import pytest

from homeserver import errors
from homeserver.matrix.room_versions import room_version
from homeserver.rooms import drafting, taking_in
from homeserver.rooms.state import MissingEvents
from homeserver.storage import rooms
from tests.rooms.servers import Server, shared_room

Three = tuple[Server, Server, Server]
VERSIONS = pytest.mark.parametrize("version", ["10", "11", "12"])


@VERSIONS
async def test_an_invited_peer_joins_and_both_hold_the_same_state(
    three: Three, version: str
) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob, version=version, name="Kitchen")

    await alice.say(room_id, "hello")
    await bob.hear_all(alice, room_id)
    await bob.say(room_id, "hi")
    await alice.hear_all(bob, room_id)

    assert alice.current(room_id) == bob.current(room_id)
    assert bob.bodies(room_id) == alice.bodies(room_id) == ["hello", "hi"]
    assert alice.member(room_id, bob.user) == bob.member(room_id, alice.user) == "join"
    assert alice.waiting_rooms(bob.name) == bob.waiting_rooms(alice.name) == {room_id}


async def test_an_invitation_shows_the_room(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create(name="Kitchen", invite=[bob.user], is_direct=True)

    await bob.take_in_items(alice)

    told = bob.database.read(lambda view: rooms.find_stripped_state(view, room_id, bob.user))
    assert {"Kitchen"} == {one["content"]["name"] for one in told if one["type"] == "m.room.name"}
    assert all(one.keys() == {"type", "state_key", "content", "sender"} for one in told)
    (pending,) = bob.database.read(
        lambda view: rooms.rooms_of(view, bob.user, frozenset({"invite"}))
    )
    assert bob.stored(pending.event_id).event.content["is_direct"] is True
    with pytest.raises(errors.NotInRoom):
        await bob.state.all(bob.requester, room_id)


@VERSIONS
async def test_an_invitation_is_declined_while_its_sender_sleeps(
    three: Three, version: str
) -> None:
    alice, bob, _ = three
    room_id = await alice.create(version, invite=[bob.user])
    await bob.take_in_items(alice)
    alice.network.asleep.add(alice.name)

    await bob.membership.leave(bob.requester, room_id, {"reason": "no time"})

    assert bob.member(room_id, bob.user) == "leave"
    await alice.take_in_items(bob)
    assert alice.member(room_id, bob.user) == "leave"


async def test_an_invitation_is_taken_back(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create(invite=[bob.user])
    await bob.take_in_items(alice)

    await alice.membership.kick(alice.requester, room_id, bob.user, {})
    await bob.take_in_items(alice)

    assert bob.member(room_id, bob.user) == "leave"


async def test_nobody_joins_uninvited(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create()

    with pytest.raises(errors.PeerRefused):
        await bob.membership.join(bob.requester, room_id, [alice.name], {})


async def test_a_public_room_is_joined_by_alias(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create(preset="public_chat", alias_localpart="kitchen")

    joined = await bob.membership.join(bob.requester, "#kitchen:alice.test", [], {})

    assert joined == room_id
    assert alice.member(room_id, bob.user) == "join"


async def test_a_knock_is_answered_by_an_invitation(three: Three) -> None:
    alice, bob, _ = three
    knocking = [("m.room.join_rules", "", {"join_rule": "knock"})]
    room_id = await alice.create(initial_state=knocking)

    await bob.membership.knock(bob.requester, room_id, [alice.name], {"reason": "please"})
    assert (alice.member(room_id, bob.user), bob.member(room_id, bob.user)) == ("knock", "knock")
    await alice.membership.invite(alice.requester, room_id, bob.user, {})
    await bob.take_in_items(alice)
    await bob.membership.join(bob.requester, room_id, [], {})

    assert alice.member(room_id, bob.user) == "join"


async def test_who_was_removed_gets_the_removal_and_nothing_after_it(three: Three) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob)
    await alice.say(room_id, "before")

    await alice.membership.kick(alice.requester, room_id, bob.user, {})
    await alice.say(room_id, "secret")

    due = [stored.event.content for stored in alice.own_events(room_id, bob.name)]
    assert [one.get("body", one.get("membership")) for one in due] == ["join", "before", "leave"]
    await bob.hear_all(alice, room_id)
    assert bob.member(room_id, bob.user) == "leave"
    assert await bob.texts(room_id) == ["before"]


async def test_a_join_by_way_of_one_server_is_passed_on_to_the_third(three: Three) -> None:
    alice, bob, carol = three
    room_id = await shared_room(alice, bob)
    await alice.membership.invite(alice.requester, room_id, carol.user, {})
    await carol.take_in_items(alice)
    await carol.membership.join(carol.requester, room_id, [], {})

    await bob.hear_all(alice, room_id)

    assert bob.member(room_id, carol.user) == "join"
    assert bob.current(room_id) == carol.current(room_id) == alice.current(room_id)


async def test_a_stranger_begins_no_room(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create()
    create = alice.current(room_id)["m.room.create", ""]

    with pytest.raises(errors.NotInRoom):
        await bob.hear(alice, create)


async def test_a_join_that_was_told_no_create_event_is_refused(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create("11", preset="public_chat")
    placed = alice.database.read(
        lambda view: drafting.draft(
            view,
            drafting.load_room(view, room_id),
            drafting.membership(bob.user, bob.user, "join"),
            1,
        )
    )
    join = drafting.build(bob.local, placed, "11")
    told = [
        alice.stored(event_id).event
        for key, event_id in alice.current(room_id).items()
        if key[0] != "m.room.create"
    ]

    with pytest.raises((errors.BadEvent, MissingEvents)):
        await bob.database.write(
            lambda work: taking_in.take_in_joined_room(work, room_version("11"), join, told, [])
        )
    assert bob.member(room_id, bob.user) is None


async def test_rejoining_goes_on_with_the_rooms_state(three: Three) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob)
    await bob.membership.leave(bob.requester, room_id, {})
    await alice.hear_all(bob, room_id)
    await alice.set_state(room_id, "m.room.topic", topic="meanwhile")
    await alice.membership.invite(alice.requester, room_id, bob.user, {})
    await bob.take_in_items(alice)

    await bob.membership.join(bob.requester, room_id, [], {})

    assert bob.current(room_id) == alice.current(room_id)
    entry = bob.state.entry(bob.requester, room_id, "m.room.topic", "")
    assert entry["content"] == {"topic": "meanwhile"}


async def test_membership_set_as_state_reaches_who_is_not_in_the_room(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create()

    await alice.set_state(room_id, "m.room.member", bob.user, membership="invite")
    await bob.take_in_items(alice)
    assert bob.member(room_id, bob.user) == "invite"
    await alice.set_state(room_id, "m.room.member", bob.user, membership="leave")
    await bob.take_in_items(alice)
    assert bob.member(room_id, bob.user) == "leave"
    with pytest.raises(errors.NotConnected):
        await alice.set_state(room_id, "m.room.member", "@eve:eve.test", membership="invite")


async def test_a_peer_is_invited_while_it_sleeps(three: Three) -> None:
    alice, bob, _ = three
    alice.network.asleep.add(bob.name)

    room_id = await alice.create(name="Kitchen", invite=[bob.user])

    assert alice.member(room_id, bob.user) == "invite"
    assert [kind for kind, _ in alice.queued(bob.name)] == ["invite"]
    alice.network.asleep.clear()
    await bob.take_in_items(alice)
    assert bob.member(room_id, bob.user) == "invite"


async def test_whoever_invited_us_may_be_gone_when_we_leave(three: Three) -> None:
    alice, bob, carol = three
    room_id = await shared_room(alice, bob)
    await bob.membership.invite(bob.requester, room_id, carol.user, {})
    await carol.take_in_items(bob)
    await bob.membership.leave(bob.requester, room_id, {})
    await alice.hear_all(bob, room_id)
    bob.network.asleep.update((alice.name, bob.name))

    await carol.membership.leave(carol.requester, room_id, {})

    assert carol.member(room_id, carol.user) == "leave"


async def test_the_same_invitation_is_sent_once(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create()
    for _ in range(3):
        await alice.membership.invite(alice.requester, room_id, bob.user, {"reason": "tea"})
    assert [kind for kind, _ in alice.queued(bob.name)] == ["invite"]
