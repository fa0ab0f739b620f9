"""Events of a peer: gaps, history, late and hidden ones, redactions before their targets."""

from dataclasses import replace

import pytest

from homeserver import errors
from homeserver.rooms import drafting
from homeserver.rooms.appending import Origin, Outcome
from homeserver.rooms.drafting import Intent
from homeserver.rooms.state import MissingEvents
from homeserver.storage import events
from tests.rooms.servers import Server, shared_room

Three = tuple[Server, Server, Server]


async def test_history_from_before_the_join_is_fetched_in_its_order(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create(preset="public_chat")
    said = [str(number) for number in range(150)]
    for body in said:
        await alice.say(room_id, body)
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await bob.say(room_id, "after")

    assert await bob.texts(room_id) == [*said, "after"]


async def test_history_is_not_shown_where_the_room_hides_it(three: Three) -> None:
    alice, bob, _ = three
    hidden = [("m.room.history_visibility", "", {"history_visibility": "joined"})]
    room_id = await alice.create(preset="public_chat", initial_state=hidden)
    secret = await alice.say(room_id, "secret")
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await alice.say(room_id, "hello bob")
    await bob.hear_all(alice, room_id)

    assert await bob.texts(room_id) == ["hello bob"]
    with pytest.raises(errors.NotFound):
        bob.timeline.event(bob.requester, room_id, secret)


async def test_what_is_said_while_nobody_answers_is_fetched_later(three: Three) -> None:
    alice, bob, _ = three
    room_id = await alice.create(preset="public_chat")
    await alice.say(room_id, "old")
    await bob.membership.join(bob.requester, room_id, [alice.name], {})

    bob.network.asleep.add(alice.name)
    assert await bob.texts(room_id) == []
    bob.network.asleep.clear()
    assert await bob.texts(room_id) == ["old"]


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
    assert (await bob.texts(room_id))[-4:] == ["first", "lost 1", "lost 2", "newest"]
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


async def test_a_redacted_membership_shows_no_name(three: Three) -> None:
    alice, bob, _ = three
    room_id = await shared_room(alice, bob)
    await bob.sender.update_member_profile(bob.user, "Rude Name", None)
    await alice.hear_all(bob, room_id)
    rude = alice.current(room_id)["m.room.member", bob.user]

    await alice.sender.redact(alice.requester, room_id, rude, "r", {})

    joined = await alice.state.joined_members(alice.requester, room_id)
    assert "display_name" not in joined[bob.user]
    entry = alice.state.entry(alice.requester, room_id, "m.room.member", bob.user)
    assert entry["content"] == {"membership": "join"}
