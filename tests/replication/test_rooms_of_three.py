"""Three servers in one room, not all of them connected to each other."""

import pytest

from homeserver.matrix.identifiers import RoomId
from homeserver.rooms.creating import Wish
from homeserver.storage import cards
from tests.replication.stack import Server, connect, deliver, settle

Trio = tuple[Server, Server, Server]


async def room_of_three(alice: Server, bob: Server, carol: Server) -> RoomId:
    await connect(alice, bob)
    await connect(alice, carol)
    wish = Wish(invite=[bob.user, carol.user])
    room_id = await alice.creator.create(alice.requester, wish)
    await settle(alice, bob, carol)
    await bob.membership.join(bob.requester, room_id, [], {})
    await settle(alice, bob, carol)
    await carol.membership.join(carol.requester, room_id, [], {})
    await settle(alice, bob, carol)
    return room_id


async def test_all_three_hear_each_other_and_agree_on_the_state(trio: Trio) -> None:
    alice, bob, carol = trio
    await connect(bob, carol)
    room_id = await room_of_three(alice, bob, carol)
    for server in trio:
        await server.say(room_id, f"from {server.user[1:4]}")
        await settle(*trio)
    said = ["from ali", "from bob", "from car"]
    assert [server.texts(room_id) for server in trio] == [said] * 3
    assert alice.state(room_id) == bob.state(room_id) == carol.state(room_id)


async def test_who_hears_of_events_by_way_of_a_third_hears_causes_first(trio: Trio) -> None:
    """Concurrent events stand in the order in which they come; what follows another never does."""
    alice, bob, carol = trio
    await connect(bob, carol)
    room_id = await room_of_three(alice, bob, carol)
    for text in ("1", "2", "3"):
        await bob.say(room_id, text)
    await settle(bob, carol)  # Alice hears nothing of Bob yet
    await carol.say(room_id, "4, after Bob's")
    await deliver(carol, alice)
    assert alice.texts(room_id) == ["1", "2", "3", "4, after Bob's"]
    await settle(*trio)
    assert alice.texts(room_id) == ["1", "2", "3", "4, after Bob's"]


async def test_events_of_a_stranger_come_through_whoever_refers_to_them(trio: Trio) -> None:
    alice, bob, carol = trio
    room_id = await room_of_three(alice, bob, carol)
    await carol.say(room_id, "Bob is a stranger to me")
    await settle(*trio)
    assert bob.texts(room_id) == []
    await alice.say(room_id, "I know both")
    await settle(*trio)
    assert bob.texts(room_id) == ["Bob is a stranger to me", "I know both"]
    assert alice.state(room_id) == bob.state(room_id)


async def test_a_stranger_is_checked_by_the_card_that_members_hand_on(trio: Trio) -> None:
    alice, bob, carol = trio
    room_id = await room_of_three(alice, bob, carol)
    assert carol.membership_in(room_id, bob.user) == "join"
    known = carol.database.read(lambda view: cards.find_cards(view, {bob.name}))
    assert known == {bob.name: bob.own.proof}


async def test_a_card_under_another_name_is_not_believed(trio: Trio) -> None:
    alice, _, carol = trio
    false = carol.own.proof | {"card": alice.own.proof["card"]}
    await alice.cards.take_in([false, {}, None, "card"])
    assert alice.database.read(lambda view: cards.find_cards(view, {carol.name})) == {}


async def test_a_card_that_does_not_continue_the_known_one_is_not_believed(trio: Trio) -> None:
    alice, _, carol = trio
    await alice.cards.take_in([carol.own.proof])
    key_at = alice.database.read(lambda view: alice.cards.known_keys(view, {carol.name}))
    key = carol.local.signing_key
    assert key_at(carol.name, key.key_id, 0) == key.public
    # A peer's own card never changes by what others hand on.
    await connect(alice, carol)
    await alice.cards.take_in([carol.own.proof])
    assert list(alice.database.read(lambda view: cards.find_cards(view, {carol.name})))


@pytest.mark.parametrize("count", [0, 40])
async def test_servers_that_drift_apart_come_together_again(trio: Trio, count: int) -> None:
    alice, bob, carol = trio
    await connect(bob, carol)
    room_id = await room_of_three(alice, bob, carol)
    # A partition: Carol hears nobody.
    for server in (alice, bob):
        server.reachable.pop(carol.name)
    away = {name: carol.reachable.pop(name) for name in list(carol.reachable)}
    for number in range(count):
        await alice.say(room_id, f"without Carol {number}")
        await settle(alice, bob)
        await carol.say(room_id, f"alone {number}")
    await alice.set_state(room_id, "m.room.topic", {"topic": f"without Carol {count}"})
    await settle(alice, bob)
    # It heals.
    carol.reachable.update(away)
    for server in (alice, bob):
        server.reachable[carol.name] = carol
    await settle(*trio)
    for server in trio:
        await server.say(room_id, "together")
        await settle(*trio)
    assert alice.state(room_id) == bob.state(room_id) == carol.state(room_id)
    assert sorted(alice.texts(room_id)) == sorted(bob.texts(room_id))
    assert sorted(alice.texts(room_id)) == sorted(carol.texts(room_id))
    assert len(alice.texts(room_id)) == 2 * count + 3
