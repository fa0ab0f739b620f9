"""Servers under a name from DNS: events of strangers are checked, and nothing else is believed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from federation import alarms, own_identity
from federation.connections_room import telling
from federation.introductions import wishing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.rooms.creating import Wish
from homeserver.storage import cards, notices, peers
from tests.replication.stack import START_MS, Entropy, Server, connect, settle

Trio = tuple[Server, Server, Server]
NAME = ServerName("bob.example.org")


@pytest.fixture
async def named(tmp_path: Path) -> AsyncIterator[Trio]:
    """Alice, Bob who has a name from DNS, and Carol; Bob and Carol are not connected."""
    alice, bob = Server(tmp_path, "alice"), Server(tmp_path, "bob", NAME)
    carol = Server(tmp_path, "carol")
    for server in (alice, bob, carol):
        await server.register()
    await connect(alice, bob)
    await connect(alice, carol)
    yield alice, bob, carol
    for server in (alice, bob, carol):
        await server.close()


def another_card() -> JsonObject:
    """Somebody else's card under Bob's name: anybody can make one."""
    return own_identity.create(Entropy("mallory"), START_MS, NAME)[0].proof


def card_at(server: Server) -> JsonObject | None:
    return server.database.read(lambda view: cards.find_cards(view, {NAME})).get(NAME)


def told_to(server: Server) -> list[str]:
    return [one.kind for one in server.database.read(notices.newest)]


async def test_a_member_with_a_name_from_dns_does_not_split_the_room(named: Trio) -> None:
    alice, bob, carol = named
    levels: JsonObject = {"users": {bob.user: 90}}
    wish = Wish(preset="public_chat", power_level_override=levels)
    room_id = await alice.creator.create(alice.requester, wish)
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await settle(alice, bob)
    await bob.set_state(room_id, "m.room.topic", {"topic": "before Carol"})
    await settle(alice, bob)
    await carol.membership.join(carol.requester, room_id, [alice.name], {})
    await settle(*named)
    assert carol.state(room_id) == alice.state(room_id)

    await bob.set_state(room_id, "m.room.name", {"name": "with Carol"})
    await settle(*named)
    await alice.say(room_id, "what Bob said is before this")
    await settle(*named)
    assert ("m.room.name", "") in carol.state(room_id)
    assert carol.state(room_id) == alice.state(room_id) == bob.state(room_id)
    assert card_at(carol) == bob.own.proof


async def test_the_first_card_counts_and_another_one_is_told_once(named: Trio) -> None:
    _, bob, carol = named
    await carol.cards.take_in([bob.own.proof], [NAME])
    for _ in range(2):
        await carol.cards.take_in([another_card()], [NAME])
    assert card_at(carol) == bob.own.proof
    assert told_to(carol) == [alarms.TWO_UNDER_ONE_NAME]
    (notice,) = carol.database.read(notices.newest)
    assert NAME in telling.text_of(notice.kind, notice.content)


async def test_a_name_that_a_peer_holds_is_no_one_else_s_and_the_peer_is_not_suspected(
    named: Trio,
) -> None:
    alice, bob, _ = named
    await alice.cards.take_in([another_card()], [NAME])
    key_at = alice.database.read(lambda view: alice.cards.known_keys(view, {NAME}))
    key = bob.local.signing_key
    assert key_at(NAME, key.key_id, 0) == key.public
    peer = alice.database.read(lambda view: peers.find_peer(view, NAME))
    assert peer is not None
    assert peer.alarm is None
    assert card_at(alice) is None
    assert told_to(alice) == []


async def test_our_own_name_is_no_one_else_s(named: Trio) -> None:
    _, bob, _ = named
    await bob.cards.take_in([another_card()], [NAME])
    key_at = bob.database.read(lambda view: bob.cards.known_keys(view, {NAME}))
    key = bob.local.signing_key
    assert key_at(NAME, key.key_id, 0) == key.public
    assert card_at(bob) is None


async def test_a_card_that_nobody_asked_for_is_not_kept(named: Trio) -> None:
    _, bob, carol = named
    await carol.cards.take_in([bob.own.proof])
    assert card_at(carol) is None


async def test_the_card_counts_for_events_and_for_no_introduction(named: Trio) -> None:
    _, bob, carol = named
    await carol.cards.take_in([bob.own.proof], [NAME])
    assert card_at(carol) is not None
    assert carol.database.read(lambda view: wishing._identity_of(view, NAME)) is None


async def test_events_are_checked_while_a_link_to_their_server_is_being_opened(named: Trio) -> None:
    """The link names the peer; its proof comes with the answer."""
    _, bob, carol = named
    await connect(carol, bob)
    await carol.database.write(lambda work: peers.change_peer(work, NAME, proof={}))
    await carol.cards.take_in([bob.own.proof], [NAME])
    key_at = carol.database.read(lambda view: carol.cards.known_keys(view, {NAME}))
    key = bob.local.signing_key
    assert key_at(NAME, key.key_id, 0) == key.public
