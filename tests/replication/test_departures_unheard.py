"""Somebody leaves unheard while the others remove and invite them again: no two rooms of it."""

import pytest

from homeserver import errors
from homeserver.matrix.identifiers import RoomId
from tests.replication.stack import Server, deliver, settle
from tests.replication.test_rooms_of_two import shared_room

Pair = tuple[Server, Server]


async def removed_and_invited(alice: Server, bob: Server, room_id: RoomId) -> None:
    await alice.membership.kick(alice.requester, room_id, bob.user, {})
    alice.clock.now += 10_000
    await alice.membership.invite(alice.requester, room_id, bob.user, {})


async def left_at(bob: Server, room_id: RoomId, now: int) -> None:
    bob.clock.now = now
    await bob.membership.leave(bob.requester, room_id, {})


@pytest.mark.parametrize("version", ["10", "11", "12"])
async def test_who_left_before_the_invitation_comes_back_by_it_on_both_sides(
    pair: Pair, version: str
) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob, version)
    await left_at(bob, room_id, alice.clock.now + 1_000)
    await removed_and_invited(alice, bob, room_id)
    await deliver(alice, bob)
    bob.clock.now = alice.clock.now + 10_000
    await bob.membership.join(bob.requester, room_id, [], {})
    await settle(alice, bob)
    assert alice.membership_in(room_id, bob.user) == bob.membership_in(room_id) == "join"
    assert alice.state(room_id) == bob.state(room_id)
    await bob.say(room_id, "here again")
    await settle(alice, bob)
    assert alice.texts(room_id)[-1] == "here again"


@pytest.mark.parametrize("version", ["10", "11", "12"])
async def test_who_left_after_the_invitation_is_out_on_both_sides(pair: Pair, version: str) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob, version)
    await removed_and_invited(alice, bob, room_id)
    await left_at(bob, room_id, alice.clock.now + 10_000)
    await deliver(alice, bob)
    bob.clock.now += 10_000
    with pytest.raises(errors.PeerRefused):
        await bob.membership.join(bob.requester, room_id, [], {})
    await settle(alice, bob)
    assert alice.membership_in(room_id, bob.user) == "leave"
    await alice.membership.invite(alice.requester, room_id, bob.user, {})
    await settle(alice, bob)
    await bob.membership.join(bob.requester, room_id, [], {})
    await settle(alice, bob)
    assert alice.membership_in(room_id, bob.user) == bob.membership_in(room_id) == "join"
    assert alice.state(room_id) == bob.state(room_id)
