"""Hidden senders, looked at closely: who is shown what of an event."""

from typing import Any

import pytest

from homeserver import errors
from homeserver.config.retention_settings import RetentionSettings
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.rooms import hiding, veils
from homeserver.rooms.upkeep import Upkeep
from homeserver.storage import accounts, peers, rooms
from homeserver.storage.unit_of_work import UnitOfWork
from tests.rooms.servers import Server

Three = tuple[Server, Server, Server]
VERSIONS = pytest.mark.parametrize("version", ["10", "11", "12"])
_LEVELS = {"m.room.topic": 0, "m.room.name": 0, "m.room.encryption": 0}


async def _shared(three: Three, version: str = "12", **wish: Any) -> RoomId:
    """A room of Bob's in which all three are, as Alice's server has it."""
    alice, bob, carol = three
    await alice.database.write(lambda work: accounts.save_user(work, alice.user, "hash", 1))
    wish.setdefault("power_level_override", {"events": _LEVELS})
    room_id = await bob.create(version, invite=[alice.user, carol.user], **wish)
    for guest in (alice, carol):
        await guest.take_in_items(bob)
        await guest.membership.join(guest.requester, room_id, [], {})
    for one in three:
        for other in three:
            if one is not other:
                await one.hear_all(other, room_id)
    return room_id


async def _stand(alice: Server, other: Server, standing: str, **grants: Any) -> None:
    def change(work: UnitOfWork) -> None:
        peers.change_peer(work, other.name, standing=standing, grants=grants)
        hiding.follow_standing(work, other.name, alice.clock.now_ms())

    await alice.database.write(change)


def _content(alice: Server, room_id: Any, event_id: Any) -> JsonObject:
    content: JsonObject = alice.timeline.event(alice.requester, room_id, event_id)["content"]
    return content


def _shown_as(alice: Server, room_id: Any, other: Server) -> str | None:
    def find(view: Any) -> str | None:
        everybody = veils.members(view, room_id, frozenset({"join", "leave"}))
        return next((one.membership for one in everybody if one.user_id == other.user), None)

    return alice.database.read(find)


@VERSIONS
async def test_state_is_shown_as_each_room_version_redacts_it(three: Three, version: str) -> None:
    alice, bob, _ = three
    room_id = await _shared(three, version)
    await _stand(alice, bob, "revoked")
    topic = await bob.set_state(room_id, "m.room.topic", topic="words")
    rules = await bob.set_state(room_id, "m.room.join_rules", join_rule="invite", words="words")
    secret = await bob.set_state(room_id, "m.room.encryption", algorithm="m.x", more="whole")
    await alice.hear_all(bob, room_id)
    assert _content(alice, room_id, topic) == {}
    assert _content(alice, room_id, rules) == {"join_rule": "invite"}
    assert _content(alice, room_id, secret) == {"algorithm": "m.x", "more": "whole"}
    state = {one["type"]: one for one in await alice.state.all(alice.requester, room_id)}
    assert state["m.room.topic"]["content"] == {}
    assert alice.current(room_id) == bob.current(room_id)


async def test_what_somebody_else_replaces_does_not_bring_his_words_back(three: Three) -> None:
    alice, bob, carol = three
    room_id = await _shared(three)
    await _stand(alice, bob, "revoked")
    await bob.set_state(room_id, "m.room.topic", topic="words of bob")
    await carol.hear_all(bob, room_id)
    replacing = await carol.set_state(room_id, "m.room.topic", topic="carol's")
    await alice.hear_all(bob, room_id)
    await alice.hear_all(carol, room_id)
    shown = alice.timeline.event(alice.requester, room_id, replacing)
    assert shown["content"] == {"topic": "carol's"}
    assert shown["unsigned"]["prev_content"] == {}


@VERSIONS
async def test_his_redactions_apply_without_their_reason(three: Three, version: str) -> None:
    alice, bob, carol = three
    room_id = await _shared(three, version)
    target = await carol.say(room_id, "to be taken back")
    await bob.hear_all(carol, room_id)
    await alice.hear_all(carol, room_id)
    await _stand(alice, bob, "revoked")
    reason = {"reason": "words of bob"}
    redaction = await bob.sender.redact(bob.requester, room_id, target, "r1", reason)
    await alice.hear_all(bob, room_id)
    shown = alice.timeline.event(alice.requester, room_id, target)
    assert shown["content"] == {}
    assert "words" not in str(shown)
    taking = alice.timeline.event(alice.requester, room_id, redaction)
    assert taking["redacts"] == target
    assert "words" not in str(taking)


async def test_what_he_does_to_the_owner_is_shown_whole(three: Three) -> None:
    alice, bob, carol = three
    room_id = await _shared(three)
    await _stand(alice, bob, "revoked")
    for other in (carol, alice):
        reason = {"reason": "words"}
        await bob.membership.kick(bob.requester, room_id, other.user, reason)
    await alice.hear_all(bob, room_id)
    assert alice.member(room_id, alice.user) == "leave"
    state = {
        one["state_key"]: one["content"]
        for one in await alice.state.all(alice.requester, room_id)
        if one["type"] == "m.room.member"
    }
    assert state[alice.user] == {"membership": "leave", "reason": "words"}
    assert state[carol.user] == {"membership": "leave"}
    assert state[bob.user] == {"membership": "leave"}


async def test_nothing_can_rest_on_what_stands_in_for_a_departure(three: Three) -> None:
    alice, bob, carol = three
    room_id = await _shared(three)
    await _stand(alice, carol, "revoked")
    await _stand(alice, carol, "active")
    found = alice.database.read(lambda view: veils.members(view, room_id, rooms.JOINED))
    assert {one.user_id for one in found} == {alice.user, bob.user, carol.user}
    page = await alice.state.members(alice.requester, room_id, None, None, None)
    assert alice.current(room_id) == bob.current(room_id)
    assert {one["event_id"] for one in page} <= set(bob.current(room_id).values())
    await alice.say(room_id, "the graph goes on from real events")
    await bob.hear_all(alice, room_id)
    assert bob.current(room_id) == alice.current(room_id)


async def test_who_may_send_nothing_is_unheard_and_stays(three: Three) -> None:
    alice, bob, _ = three
    room_id = await _shared(three)
    await bob.say(room_id, "before")
    await alice.hear_all(bob, room_id)
    await _stand(alice, bob, "active", messages=False)
    unheard = await bob.say(room_id, "unheard")
    await alice.hear_all(bob, room_id)
    assert await alice.texts(room_id) == ["before"]
    with pytest.raises(errors.NotFound):
        alice.timeline.event(alice.requester, room_id, unheard)
    assert _shown_as(alice, room_id, bob) == "join"
    await alice.sender.send_message(alice.requester, room_id, "m.room.encrypted", {}, "e1")
    await _stand(alice, bob, "active", messages=True)
    assert await alice.texts(room_id) == ["before", "unheard"]


async def test_a_room_can_be_hidden_alone(three: Three) -> None:
    alice, bob, carol = three
    room_id, other_room = await _shared(three), await _shared_again(three)
    now_ms = alice.clock.now_ms()

    def hide(work: UnitOfWork) -> None:
        hiding.hide_server(work, carol.name, now_ms, [room_id])

    await alice.database.write(hide)
    assert _shown_as(alice, room_id, carol) == "leave"
    assert _shown_as(alice, other_room, carol) == "join"
    near = alice.database.read(lambda view: veils.users_near(view, alice.user))
    assert near == {bob.user, carol.user}
    await alice.database.write(lambda work: hiding.show_server(work, carol.name, now_ms))
    assert _shown_as(alice, room_id, carol) == "join"


async def _shared_again(three: Three) -> RoomId:
    alice, bob, carol = three
    room_id = await bob.create(invite=[alice.user, carol.user])
    for guest in (alice, carol):
        await guest.take_in_items(bob)
        await guest.membership.join(guest.requester, room_id, [], {})
    await alice.hear_all(bob, room_id)
    await bob.hear_all(carol, room_id)
    await alice.hear_all(carol, room_id)
    return room_id


async def test_a_unit_of_work_that_fails_hides_nobody(three: Three) -> None:
    alice, bob, _ = three
    room_id = await _shared(three)

    def fail(work: UnitOfWork) -> None:
        hiding.hide_server(work, bob.name, 1)
        assert veils.is_hidden(work, room_id, bob.user)
        raise errors.Forbidden

    with pytest.raises(errors.Forbidden):
        await alice.database.write(fail)
    assert _shown_as(alice, room_id, bob) == "join"
    assert not alice.database.read(lambda view: veils.is_hidden(view, room_id, bob.user))


async def test_whoever_is_hidden_does_not_say_how_long_messages_are_kept(three: Three) -> None:
    alice, bob, carol = three
    room_id = await _shared(three)
    await bob.set_state(room_id, "m.room.retention", max_lifetime=1)
    said = await carol.say(room_id, "precious")
    await alice.hear_all(bob, room_id)
    await alice.hear_all(carol, room_id)
    await _stand(alice, bob, "revoked")
    alice.clock.now += 100 * 86_400_000
    retention = RetentionSettings(obeys_rooms=True)
    upkeep = Upkeep(alice.database, alice.clock, alice.user, retention, lambda _: None)
    await upkeep.tidy()
    assert _content(alice, room_id, said)["body"] == "precious"
    await _stand(alice, bob, "active")
    await alice.say(room_id, "newer")
    await upkeep.tidy()
    with pytest.raises(errors.NotFound):
        _content(alice, room_id, said)
