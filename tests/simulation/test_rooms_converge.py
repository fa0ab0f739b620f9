"""Rooms never split: whatever happens on both sides of a partition, the healed room is one."""

import pytest

from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import HOUR, World

VERSIONS = ("10", "11", "12")


async def _shared_room(world: World, version: str, *people: Person) -> str:
    """A room whose members may all change its state."""
    users = {person.user_id: 60 - 5 * place for place, person in enumerate(people[1:])}
    if version != "12":
        users[people[0].user_id] = 100
    return await world.room(
        *people, room_version=version, power_level_content_override={"users": users}
    )


@pytest.mark.parametrize("version", VERSIONS)
@simulated
async def test_a_ban_against_words(world: World, version: str) -> None:
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    room_id = await _shared_room(world, version, alice, bob, carol)
    world.partition([alice], [bob, carol])
    await alice.moderate("ban", room_id, carol)
    await carol.say(room_id, "what did I do?")
    await bob.say(room_id, "hello Carol")
    await world.pass_time(HOUR)
    world.network.heal()
    await world.check_healed()
    for person in (alice, bob):
        state = await person.state(room_id)
        assert state == await alice.state(room_id)
    assert "what did I do?" not in await alice.texts(room_id)
    await bob.say(room_id, "Carol?")
    await world.check_healed()
    assert "Carol?" in await alice.texts(room_id)


@pytest.mark.parametrize("version", VERSIONS)
@simulated
async def test_names_topics_and_join_rules(world: World, version: str) -> None:
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    room_id = await _shared_room(world, version, alice, bob, carol)
    world.partition([alice], [bob], [carol])
    for person in (alice, bob, carol):
        for number in range(2):
            await person.set_state(room_id, "m.room.name", "", {"name": f"{person.name} {number}"})
            await person.say(room_id, f"{person.name} {number}")
            await world.pass_time(60.0)
    await alice.set_state(room_id, "m.room.join_rules", "", {"join_rule": "public"})
    await bob.set_state(room_id, "m.room.join_rules", "", {"join_rule": "invite"})
    world.network.heal()
    await world.check_healed()
    assert len(await carol.texts(room_id)) == 6


def _power(*, alice: Person, version: str, **levels: int) -> dict[str, object]:
    users: dict[str, int] = dict(levels)
    if version != "12":
        users[alice.user_id] = 100
    return {"users": users, "users_default": 0, "state_default": 50, "ban": 50, "kick": 50}


@pytest.mark.parametrize("version", VERSIONS)
@simulated
async def test_power_is_taken_while_it_is_used(world: World, version: str) -> None:
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    room_id = await _shared_room(world, version, alice, bob, carol)
    world.partition([alice, carol], [bob])
    levels = {bob.user_id: 0, carol.user_id: 50}
    power = _power(alice=alice, version=version, **levels)
    await alice.set_state(room_id, "m.room.power_levels", "", power)
    await bob.set_state(room_id, "m.room.topic", "", {"topic": "mine while I can"})
    await bob.moderate("kick", room_id, carol)
    await carol.set_state(room_id, "m.room.topic", "", {"topic": "Carol's"})
    world.network.heal()
    await world.check_healed()
    assert await carol.membership(room_id) == "join"
    assert (await bob.client.state(room_id, "m.room.topic"))["topic"] == "Carol's"


@simulated
async def test_two_who_cannot_meet_hear_of_each_other_from_the_third(world: World) -> None:
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    room_id = await _shared_room(world, "12", alice, bob, carol)
    world.partition([alice], [bob])
    await alice.say(room_id, "from Alice")
    await world.settle()
    await carol.say(room_id, "Carol heard Alice")
    await world.settle()
    assert await bob.texts(room_id) == ["from Alice", "Carol heard Alice"]
    world.network.heal()
    await world.check_healed()
    assert await bob.texts(room_id) == ["from Alice", "Carol heard Alice"]
