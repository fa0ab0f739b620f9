"""People who meet in a room get connected for that room, through somebody both know."""

from typing import Any

from homeserver.config import DefaultGrants, FederationSettings
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World


def settings(strangers: str, *, introduce: bool = True) -> FederationSettings:
    """With these settings, and peers who may introduce the owner."""
    grants = DefaultGrants(introduce=introduce)
    return FederationSettings.model_validate(
        {"strangers_in_rooms": strangers, "default_grants": grants.model_dump()}
    )


async def chain(world: World, *policies: str) -> list[Person]:
    """Alice, Bob and Carol: only Bob knows both."""
    people = [
        await world.person(name, settings=settings(policy))
        for name, policy in zip(("alice", "bob", "carol"), policies, strict=True)
    ]
    alice, bob, carol = people
    await world.connect(bob, alice)
    await world.connect(bob, carol)
    return people


async def meet(world: World, alice: Person, bob: Person, carol: Person) -> str:
    """A room of Bob's that first Alice and then Carol enters."""
    room_id = await world.room(bob, alice, carol)
    await world.settle()
    return room_id


async def strangers(person: Person) -> list[dict[str, Any]]:
    """What the owner sees of strangers in rooms."""
    return list((await person.server.admin("GET", "/strangers"))["rooms"])


@simulated
async def test_who_accepts_strangers_is_introduced_and_speaks_to_them_directly(
    world: World,
) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    room_id = await meet(world, alice, bob, carol)
    assert await alice.standing(carol) == "active"
    assert await carol.standing(alice) == "active"
    await bob.server.stop()
    await alice.say(room_id, "bob is away")
    await world.settle()
    await carol.say(room_id, "so he is")
    await world.settle()
    assert await alice.texts(room_id) == await carol.texts(room_id) == ["bob is away", "so he is"]
    await bob.server.start()
    await world.check_healed()
