"""What an owner asks for at once survives one box that is lost."""

import asyncio

from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World


@simulated
async def test_a_join_whose_first_box_is_lost(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await alice.create_room(bob)
    await world.settle()
    world.network.one_way("bob", "alice", loss=1.0)
    joining = asyncio.ensure_future(bob.join(room_id))
    await world.pass_time(1.0)
    world.network.heal()
    await joining
    await world.check_healed()
    assert await bob.joined_rooms() == [room_id]
