"""Two servers and three: invitations, joins, leaving, gaps, late and hidden events."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from homeserver import errors
from homeserver.matrix.identifiers import RoomId
from homeserver.matrix.room_versions import room_version
from homeserver.rooms import drafting, taking_in
from homeserver.rooms.appending import Origin, Outcome
from homeserver.rooms.drafting import Intent
from homeserver.rooms.state import MissingEvents
from homeserver.rooms.timeline import PageRequest
from homeserver.storage import events, rooms
from homeserver.sync.filters import RoomEventFilter
from tests.rooms.servers import Server, running

Three = tuple[Server, Server, Server]
VERSIONS = pytest.mark.parametrize("version", ["10", "11", "12"])


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Three]:
    async with running(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        yield alice, bob, carol


async def shared_room(
    alice: Server, *others: Server, version: str = "12", **wish: object
) -> RoomId:
    room_id = await alice.create(version, invite=[other.user for other in others], **wish)
    for other in others:
        await other.take_in_items(alice)
        await other.membership.join(other.requester, room_id, [], {})
    return room_id


async def texts(server: Server, room_id: RoomId) -> list[str]:
    """Everything the owner reads when paging back to the beginning."""
    found: list[str] = []
    start: str | None = None
    while True:
        request = PageRequest(limit=5, wanted=RoomEventFilter(), start=start)
        page = await server.timeline.messages(server.requester, room_id, request)
        found += [one["content"]["body"] for one in page["chunk"] if "body" in one["content"]]
        if "end" not in page:
            return found[::-1]
        start = page["end"]


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
    assert await texts(bob, room_id) == ["before"]


async def test_a_join_by_way_of_one_server_is_passed_on_to_the_third(three: Three) -> None:
    alice, bob, carol = three
    room_id = await shared_room(alice, bob)
    await alice.membership.invite(alice.requester, room_id, carol.user, {})
    await carol.take_in_items(alice)
    await carol.membership.join(carol.requester, room_id, [], {})

    await bob.hear_all(alice, room_id)

    assert bob.member(room_id, carol.user) == "join"
    assert bob.current(room_id) == carol.current(room_id) == alice.current(room_id)


async def test_history_from_before_the_join_is_fetched_in_its_order(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create(preset="public_chat")
    said = [str(number) for number in range(150)]
    for body in said:
        await alice.say(room_id, body)
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await bob.say(room_id, "after")

    assert await texts(bob, room_id) == [*said, "after"]


async def test_history_is_not_shown_where_the_room_hides_it(three: Three) -> None:
    alice, bob, _ = three
    hidden = [("m.room.history_visibility", "", {"history_visibility": "joined"})]
    room_id = await alice.create(preset="public_chat", initial_state=hidden)
    secret = await alice.say(room_id, "secret")
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await alice.say(room_id, "hello bob")
    await bob.hear_all(alice, room_id)

    assert await texts(bob, room_id) == ["hello bob"]
    with pytest.raises(errors.NotFound):
        bob.timeline.event(bob.requester, room_id, secret)


async def test_what_is_said_while_nobody_answers_is_fetched_later(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create(preset="public_chat")
    await alice.say(room_id, "old")
    await bob.membership.join(bob.requester, room_id, [alice.name], {})

    bob.network.asleep.add(alice.name)
    assert await texts(bob, room_id) == []
    bob.network.asleep.clear()
    assert await texts(bob, room_id) == ["old"]


async def test_a_gap_in_the_middle_is_shown_in_its_place(three: Three) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob)
    await alice.say(room_id, "first")
    await bob.hear_all(alice, room_id)
    for body in ("lost 1", "lost 2"):
        await alice.say(room_id, body)
    newest = await alice.say(room_id, "newest")
    before = alice.current(room_id)

    with pytest.raises(MissingEvents):
        await bob.hear(alice, newest)
    await bob.append(alice.stored(newest).event, Origin(alice.name, state_before=before))

    found = bob.database.read(
        lambda view: events.timeline_since(view, room_id, 0, bob.database.position, 10)
    )
    assert [one.event.event_id for one in found.events] == [newest]
    assert found.has_more
    assert (await texts(bob, room_id))[-4:] == ["first", "lost 1", "lost 2", "newest"]
    assert alice.current(room_id) == bob.current(room_id)


async def test_a_redaction_that_comes_before_its_target_takes_effect(three: Three) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob)
    sent = await alice.say(room_id, "regret")
    redaction = await alice.sender.redact(alice.requester, room_id, sent, "r", {})

    target = alice.stored(sent).event
    state = alice.current(room_id)
    await bob.append(alice.stored(redaction).event, Origin(alice.name, state_before=state))
    assert (await bob.append(target, Origin(alice.name))).outcome is Outcome.ACCEPTED

    shown = bob.timeline.event(bob.requester, room_id, sent)
    assert shown["content"] == {}
    assert shown["unsigned"]["redacted_because"]["event_id"] == redaction


async def test_a_redaction_without_the_power_to_changes_nothing(three: Three) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob)
    sent = await alice.say(room_id, "stays")
    await bob.hear_all(alice, room_id)

    with pytest.raises(errors.NotAllowed):
        await bob.sender.redact(bob.requester, room_id, sent, "r", {})
    forged = await bob.database.write(
        lambda work: drafting.say(
            work,
            bob.local,
            drafting.load_room(work, room_id),
            Intent(bob.user, "m.room.redaction", {}, redacts=sent),
            1,
        )[0]
    )
    await alice.append(forged, Origin(bob.name))

    assert alice.timeline.event(alice.requester, room_id, sent)["content"]["body"] == "stays"


async def test_an_event_of_a_banned_user_is_soft_failed(three: Three) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob)
    late = await bob.say(room_id, "you will not see this")
    await alice.membership.ban(alice.requester, room_id, bob.user, {})

    appended = await alice.hear(bob, late)

    assert appended.outcome is Outcome.SOFT_FAILED
    assert alice.bodies(room_id) == []
    assert (await alice.hear(bob, late)).outcome is Outcome.KNOWN


async def test_an_event_that_was_never_allowed_is_rejected(three: Three) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob)
    room = bob.database.read(lambda view: drafting.load_room(view, room_id))
    placed = bob.database.read(
        lambda view: drafting.draft(
            view, room, Intent(bob.user, "m.room.topic", {"topic": "mine"}, ""), 1
        )
    )
    forged = drafting.build(bob.local, placed, room.version_id)

    assert (await alice.append(forged, Origin(bob.name))).outcome is Outcome.REJECTED
    assert ("m.room.topic", "") not in alice.current(room_id)
    child = drafting.build(
        bob.local,
        replace(
            placed, type="m.room.message", state_key=None, auth_events=(forged.event_id,), depth=9
        ),
        room.version_id,
    )
    assert (await alice.append(child, Origin(bob.name))).outcome is Outcome.REJECTED


async def test_what_rests_on_unknown_events_is_asked_for(three: Three) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob)
    unknown = await bob.set_state(
        room_id, "m.room.member", bob.user, membership="join", displayname="B"
    )
    sent = await bob.say(room_id, "hi")

    with pytest.raises(MissingEvents) as missing:
        await alice.hear(bob, sent)

    assert missing.value.event_ids == (unknown,)


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
