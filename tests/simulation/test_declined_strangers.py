"""A stranger whom the owner agreed to meet in a room, and then said no to."""

import pytest

from homeserver.testing.simulated import simulated
from homeserver.testing.world import World
from tests.simulation import looking
from tests.simulation.test_connections_room import room_of
from tests.simulation.test_introductions import chain, meet


@pytest.mark.parametrize("verb", ["decline", "block"])
@simulated
async def test_a_no_hides_whom_the_owner_had_agreed_to_meet(world: World, verb: str) -> None:
    alice, bob, carol = await chain(world, "ask", "accept", "accept", knock_link=True)
    room_id = await meet(world, alice, bob, carol)
    await bob.say(room_id, "carol is here")
    await world.settle()
    link = await alice.invitation(how="knock")
    await bob.server.stop()  # who would introduce them
    notices = await room_of(alice)
    await notices.order(world, f"meet {room_id} {carol.server.server_name}")
    assert await looking.joined(alice, room_id) == {alice.user_id, bob.user_id, carol.user_id}
    await carol.open_link(link)
    await world.pass_time(20)
    assert await alice.standing(carol) == "requested"
    await (alice.decline(carol) if verb == "decline" else alice.block(carol))
    assert await looking.joined(alice, room_id) == {alice.user_id, bob.user_id}
