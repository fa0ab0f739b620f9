"""What a peer may not do: forge, speak for others, read what is not its to read."""

from dataclasses import replace
from typing import Any

import pytest

from federation.replication import restricted
from homeserver import errors, metrics
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Draft, Event
from homeserver.matrix.identifiers import RoomId
from homeserver.rooms import drafting
from homeserver.rooms.creating import Wish
from homeserver.rooms.drafting import Intent
from homeserver.storage import peers
from tests.replication.stack import Server, connect, settle
from tests.replication.test_rooms_of_two import shared_room

Pair = tuple[Server, Server]
Trio = tuple[Server, Server, Server]


def draft(server: Server, room_id: RoomId, intent: Intent) -> Draft:
    """An event that follows what this server knows of the room."""

    def place(view: Any) -> Draft:
        room = drafting.load_room(view, room_id)
        return drafting.draft(view, room, intent, server.clock.now_ms())

    return server.database.read(place)


def signed_by(server: Server, drafted: Draft) -> Event:
    return drafting.build(server.local, drafted, "12")


async def test_a_peer_cannot_speak_for_our_user(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    intent = Intent(alice.user, "m.room.message", {"body": "forged"})
    await alice.intake.take_in(bob.name, [signed_by(bob, draft(bob, room_id, intent)).pdu])
    assert alice.texts(room_id) == []


async def test_a_stolen_name_on_a_signature_does_not_help(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    intent = Intent(alice.user, "m.room.message", {"body": "forged"})
    forged = signed_by(bob, draft(bob, room_id, intent)).pdu
    (signature,) = forged["signatures"][bob.name].values()
    named = {alice.name: {alice.local.signing_key.key_id: signature}}
    await alice.intake.take_in(bob.name, [forged | {"signatures": named}])
    assert alice.texts(room_id) == []


async def test_content_changed_on_the_way_arrives_redacted(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    intent = Intent(bob.user, "m.room.message", {"body": "said"})
    event = signed_by(bob, draft(bob, room_id, intent))
    await alice.intake.take_in(bob.name, [event.pdu | {"content": {"body": "changed"}}])
    assert alice.texts(room_id) == ["(redacted)"]
    assert alice.timeline(room_id)[-1].event.event_id == event.event_id


async def test_what_the_rooms_rules_forbid_is_not_shown(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    before = alice.state(room_id)
    intent = Intent(bob.user, "m.room.name", {"name": "mine now"}, "")
    await alice.intake.take_in(bob.name, [signed_by(bob, draft(bob, room_id, intent)).pdu])
    assert alice.state(room_id) == before
    assert alice.timeline(room_id)[-1].event.type != "m.room.name"


async def test_a_peer_without_part_in_a_room_can_send_nothing_into_it(trio: Trio) -> None:
    alice, bob, carol = trio
    await connect(alice, bob)
    await connect(alice, carol)
    room_id = await shared_room(alice, bob)
    before = metrics.counters["events_refused"]
    intent = Intent(bob.user, "m.room.message", {"body": "passed on by a stranger to the room"})
    event = signed_by(bob, draft(bob, room_id, intent))
    await alice.intake.take_in(carol.name, [event.pdu])
    assert alice.texts(room_id) == []
    assert metrics.counters["events_refused"] == before + 1


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("backfill", {"v": ["$x"], "limit": 10}),
        ("get_missing_events", {"earliest_events": [], "latest_events": ["$x"], "limit": 9}),
        ("state_ids", {"event_id": "$x"}),
        ("state", {"event_id": "$x"}),
        ("event", {"event_ids": ["$x"]}),
        ("event_auth", {"event_id": "$x"}),
        ("cards", {"servers": []}),
    ],
)
async def test_a_peer_outside_a_room_reads_nothing_of_it(
    trio: Trio, operation: str, body: JsonObject
) -> None:
    alice, bob, carol = trio
    await connect(alice, bob)
    await connect(alice, carol)
    room_id = await shared_room(alice, bob)
    newest = alice.timeline(room_id)[-1].event.event_id
    asked: JsonObject = {
        name: newest if value == "$x" else [newest] if value == ["$x"] else value
        for name, value in body.items()
    }
    with pytest.raises(errors.NotInRoom):
        await alice.answers.answer(carol.name, operation, asked | {"room_id": room_id})
    with pytest.raises(errors.NotInRoom):
        await alice.answers.answer(
            carol.name, operation, asked | {"room_id": "!unknown:example.org"}
        )
    await alice.answers.answer(bob.name, operation, asked | {"room_id": room_id})


async def test_what_was_said_before_a_peer_joined_is_redacted_where_the_room_wants_it(
    pair: Pair,
) -> None:
    alice, bob = pair
    hidden = ("m.room.history_visibility", "", {"history_visibility": "joined"})
    room_id = await alice.creator.create(alice.requester, Wish(initial_state=[hidden]))
    secret = await alice.say(room_id, "before Bob")
    await alice.membership.invite(alice.requester, room_id, bob.user, {})
    await settle(alice, bob)
    await bob.membership.join(bob.requester, room_id, [], {})
    await settle(alice, bob)
    said = await alice.say(room_id, "to Bob")
    asked = {"room_id": room_id, "event_ids": [secret, said]}
    answer, _ = await alice.answers.answer(bob.name, "event", asked)
    contents = [pdu["content"] for pdu in answer["pdus"]]
    assert {} in contents
    assert "before Bob" not in str(answer)
    assert "to Bob" in str(answer)


async def test_nobody_joins_without_an_invitation(pair: Pair) -> None:
    alice, bob = pair
    room_id = await alice.creator.create(alice.requester, Wish())
    with pytest.raises(errors.PeerRefused):
        await bob.membership.join(bob.requester, room_id, [alice.name], {})
    assert alice.membership_in(room_id, bob.user) is None


async def test_a_peer_sends_its_own_memberships_only(trio: Trio) -> None:
    alice, bob, carol = trio
    await connect(alice, bob)
    await connect(alice, carol)
    room_id = await alice.creator.create(alice.requester, Wish(preset="public_chat"))
    asked = {"room_id": room_id, "user_id": carol.user, "ver": ["12"]}
    with pytest.raises(errors.Forbidden):
        await alice.answers.answer(bob.name, "make_join", asked)
    template, _ = await alice.answers.answer(carol.name, "make_join", asked)
    with pytest.raises(errors.Forbidden):
        await alice.answers.answer(
            bob.name,
            "send_join",
            {"room_id": room_id, "event": template["event"] | {"signatures": {}}},
        )


async def test_an_unsigned_join_is_refused(pair: Pair) -> None:
    alice, bob = pair
    room_id = await alice.creator.create(alice.requester, Wish(preset="public_chat"))
    asked = {"room_id": room_id, "user_id": bob.user, "ver": ["12"]}
    template, _ = await alice.answers.answer(bob.name, "make_join", asked)
    unsigned = template["event"] | {"signatures": {}, "hashes": {"sha256": "x"}}
    body = {"room_id": room_id, "event": unsigned}
    with pytest.raises(errors.BadSignature):
        await alice.answers.answer(bob.name, "send_join", body)


async def test_we_vouch_for_nobody_who_is_not_entitled(pair: Pair) -> None:
    alice, bob = pair
    club = await alice.creator.create(alice.requester, Wish())
    rule = {
        "join_rule": "restricted",
        "allow": [{"type": "m.room_membership", "room_id": club}],
    }
    wish = Wish(initial_state=[("m.room.join_rules", "", rule)])
    room_id = await alice.creator.create(alice.requester, wish)
    content = {restricted.AUTHORISED_BY: alice.user}
    intent = drafting.membership(bob.user, bob.user, "join", content)
    join = signed_by(bob, draft(alice, room_id, intent))
    with pytest.raises(errors.Forbidden):
        await alice.answers.answer(bob.name, "send_join", {"room_id": room_id, "event": join.pdu})
    assert alice.membership_in(room_id, bob.user) is None


async def test_we_do_not_sign_an_event_of_another_room(pair: Pair) -> None:
    alice, bob = pair
    club = await alice.creator.create(alice.requester, Wish(preset="public_chat"))
    await bob.membership.join(bob.requester, club, [alice.name], {})
    rule = {
        "join_rule": "restricted",
        "allow": [{"type": "m.room_membership", "room_id": club}],
    }
    wish = Wish(initial_state=[("m.room.join_rules", "", rule)])
    room_id = await alice.creator.create(alice.requester, wish)
    content = {restricted.AUTHORISED_BY: alice.user}
    intent = drafting.membership(bob.user, bob.user, "join", content)
    elsewhere = signed_by(bob, draft(alice, club, intent))
    with pytest.raises(errors.BadEvent):
        await alice.answers.answer(
            bob.name, "send_join", {"room_id": room_id, "event": elsewhere.pdu}
        )


async def test_an_invitation_by_somebody_else_is_refused(trio: Trio) -> None:
    alice, bob, carol = trio
    await connect(alice, bob)
    await connect(bob, carol)
    room_id = await alice.creator.create(alice.requester, Wish())
    intent = drafting.membership(alice.user, bob.user, "invite")
    invitation = signed_by(alice, draft(alice, room_id, intent))
    body = {"room_id": room_id, "room_version": "12", "event": invitation.pdu}
    with pytest.raises(errors.HomeserverError):
        await bob.database.write(lambda work: bob.updates.take_in_invite(work, carol.name, body))
    assert bob.membership_in(room_id) is None


async def test_without_the_grant_an_invitation_is_not_shown(pair: Pair) -> None:
    alice, bob = pair
    granted = bob.database.read(lambda view: peers.find_peer(view, alice.name))
    assert granted is not None
    changed = granted.grants | {"room_invites": False}
    await bob.database.write(lambda work: peers.change_peer(work, alice.name, grants=changed))
    room_id = await alice.creator.create(alice.requester, Wish(invite=[bob.user]))
    await settle(alice, bob)
    assert bob.membership_in(room_id) is None


async def test_a_room_of_whose_state_a_part_is_forged_is_not_entered(pair: Pair) -> None:
    alice, bob = pair
    room_id = await alice.creator.create(alice.requester, Wish(invite=[bob.user], name="Tea"))
    await settle(alice, bob)

    def forge(operation: str, answer: JsonObject) -> JsonObject:
        if operation == "send_join":
            for pdu in answer["state"]:
                if pdu["type"] == "m.room.name":
                    pdu["sender"] = bob.user
        return answer

    bob.wire.tamper = forge
    with pytest.raises(errors.PeerRefused, match=rf"could not check 1 .* by {bob.name}\."):
        await bob.membership.join(bob.requester, room_id, [], {})
    assert bob.membership_in(room_id) == "invite"


async def test_an_old_key_does_not_sign_after_its_end(pair: Pair) -> None:
    alice, _ = pair
    key_at = alice.database.read(lambda view: alice.cards.known_keys(view, {alice.name}))
    key = alice.local.signing_key
    assert key_at(alice.name, key.key_id, 0) == key.public
    assert key_at(alice.name, "ed25519:other", 0) is None


async def test_events_far_apart_from_the_graph_are_dropped(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    intent = Intent(bob.user, "m.room.message", {"body": "from nowhere"})
    placed = draft(bob, room_id, intent)
    unseen = signed_by(bob, placed).event_id
    floating = replace(placed, prev_events=(unseen,))
    await alice.intake.take_in(bob.name, [signed_by(bob, floating).pdu])
    assert alice.texts(room_id) == []
