"""A revoke with a goodbye is heard at once, whatever was on its way when it was said."""

import pytest

from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World


@pytest.mark.parametrize("is_taken", [True, False], ids=["taken", "lost"])
@simulated
async def test_a_goodbye_is_heard_whatever_became_of_the_frame_in_flight(
    world: World, befriended: list[Person], *, is_taken: bool
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    cut = (bob, alice) if is_taken else (alice, bob)
    world.network.one_way(*(one.server.name for one in cut), is_cut=True)
    await alice.say(room_id, "in flight")
    await world.pass_time(0.5)
    assert ("in flight" in await bob.texts(room_id)) == is_taken
    world.network.heal()
    await alice.revoke(bob, goodbye=True)
    await world.pass_time(20.0)
    notices = (await bob.server.admin("GET", "/notices"))["notices"]
    assert [one["kind"] for one in notices].count("goodbye") == 1
