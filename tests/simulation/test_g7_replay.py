"""G7: a replayed envelope does nothing: not a row of the database is another afterwards."""

import random

from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.watched_database import digest_of
from homeserver.testing.world import HOUR, World


def _digests(people: list[Person]) -> list[str]:
    return [digest_of(str(person.server.directory / "homeserver.db")) for person in people]


async def _replay_all(world: World, people: list[Person], order: random.Random) -> None:
    await world.settle()
    before = _digests(people)
    recorded = list(world.network.recorded)
    order.shuffle(recorded)
    for one in recorded:
        await world.network.replay(one)
    await world.settle()
    assert _digests(people) == before


async def _chat(world: World, room_id: str, people: list[Person]) -> None:
    for person in people:
        await person.say(room_id, f"{person.name} at {world.now}")
        await world.pass_time(1.0)
    await world.settle()


@simulated
async def test_every_envelope_again(world: World, seed: int) -> None:
    order = random.Random(seed)
    with world.recording():
        people = await world.befriended("alice", "bob")
        room_id = await world.room(*people)
        await _chat(world, room_id, people)
        await _replay_all(world, people, order)
        await _chat(world, room_id, people)
        await _replay_all(world, people, order)
        for person in people:
            await person.server.restart()
        await _replay_all(world, people, order)
        await world.pass_time(HOUR)
        await _chat(world, room_id, people)
        await _replay_all(world, people, order)
    await world.check_healed()


@simulated
async def test_every_envelope_again_while_the_other_is_away(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    with world.recording():
        await _chat(world, room_id, befriended)
    await alice.server.crash_now()
    for restart in (False, True):
        if restart:
            await bob.server.restart()
        await world.settle()
        before = _digests([bob])
        for one in world.network.recorded:
            await world.network.replay(one)
        await world.settle()
        assert _digests([bob]) == before
    await alice.server.start()
    await world.check_healed()


@simulated
async def test_every_envelope_again_after_the_revoke(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    with world.recording():
        await _chat(world, room_id, befriended)
        await alice.revoke(bob)
        await world.settle()
    before = _digests([alice])
    to_alice = [one for one in world.network.recorded if one.source == "bob"]
    assert to_alice
    assert [await world.network.replay(one) for one in to_alice] == [None] * len(to_alice)
    assert _digests([alice]) == before
