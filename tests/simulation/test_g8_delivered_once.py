"""G8: delivered exactly once, in order, or the gap is shown."""

import pytest

from homeserver import crash_points
from homeserver.testing.crashing import crash_everywhere
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import DAY, HOUR, World


async def _talk(world: World, room_id: str, people: list[Person], lines: int) -> None:
    for number in range(lines):
        for person in people:
            await person.say(room_id, f"{person.name} {number}")
        await world.pass_time(3.0)


def _said_by(name: str, texts: list[str]) -> list[str]:
    return [text for text in texts if text.startswith(f"{name} ")]


async def _all_have_heard_all(room_id: str, people: list[Person], lines: int) -> None:
    for listener in people:
        texts = await listener.texts(room_id)
        for speaker in people:
            expected = [f"{speaker.name} {number}" for number in range(lines)]
            assert _said_by(speaker.name, texts) == expected


@pytest.mark.seeds(2)
@pytest.mark.parametrize(
    "faults",
    [
        {"loss": 0.3},
        {"duplication": 0.5, "jitter_s": 2.0},
        {"reordering": 0.3},
        {"corruption": 0.2},
        {"loss": 0.15, "duplication": 0.15, "reordering": 0.15, "corruption": 0.05},
    ],
    ids="+".join,
)
@simulated
async def test_a_bad_network(
    world: World, befriended: list[Person], faults: dict[str, float]
) -> None:
    room_id = await world.room(*befriended)
    world.network.everywhere(**faults)
    await _talk(world, room_id, befriended, 5)
    await world.settle()
    world.network.heal()
    await world.check_healed()
    await _all_have_heard_all(room_id, befriended, 5)


@pytest.mark.seeds(2)
@simulated
async def test_only_the_answers_are_lost(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    world.network.one_way("bob", "alice", loss=0.6)
    await _talk(world, room_id, befriended, 4)
    world.network.heal()
    await world.check_healed()
    await _all_have_heard_all(room_id, befriended, 4)


@pytest.mark.seeds(2)
@simulated
async def test_a_partition_of_a_day(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    world.partition([alice], [bob])
    await _talk(world, room_id, befriended, 5)
    await world.pass_time(DAY)
    assert _said_by("bob", await alice.texts(room_id)) == []
    world.network.heal()
    await world.check_healed()
    await _all_have_heard_all(room_id, befriended, 5)


@simulated
async def test_a_phone_that_sleeps_and_nobody_can_call(world: World) -> None:
    alice, bob = await world.person("alice"), await world.person("bob", is_reachable=False)
    await world.connect(alice, bob)
    room_id = await world.room(alice, bob)
    for _day in range(3):
        await bob.server.stop()
        await alice.say(room_id, f"alice {_day}")
        await world.pass_time(20 * HOUR)
        await bob.server.start()
        await bob.say(room_id, f"bob {_day}")
        await world.settle()
    await world.check_healed()
    await _all_have_heard_all(room_id, [alice, bob], 3)


@simulated
async def test_a_server_returns_after_a_month(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await bob.server.stop()
    await _talk(world, room_id, [alice], 10)
    await world.pass_time(30 * DAY)
    await bob.server.start()
    await world.check_healed()
    await _all_have_heard_all(room_id, [alice], 10)
    assert _said_by("alice", await bob.texts(room_id)) == [f"alice {n}" for n in range(10)]


@pytest.mark.parametrize("victim", ["alice", "bob"])
@simulated
async def test_a_crash_at_every_step_of_a_conversation(
    world: World, befriended: list[Person], victim: str
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)

    told = []

    async def story(number: int) -> None:
        told.append(number)
        for speaker, listener in ((alice, bob), (bob, alice)):
            if speaker.server.is_running:
                await speaker.send_key(listener, str(number), f"txn-{number}")
                await speaker.say(room_id, f"{speaker.name} {number}", f"txn-{number}")
            await world.pass_time(1.0)

    crashed = await crash_everywhere(world, world.people[victim].server, story)
    points = {where.work for where in crashed if where.side == "at"}
    assert points >= {*crash_points.SEND, *crash_points.RECEIVE}
    assert len(crashed) > 8 + len(points)
    for listener in befriended:
        for speaker in befriended:
            expected = [f"{speaker.name} {number}" for number in dict.fromkeys(told)]
            assert _said_by(speaker.name, await listener.texts(room_id)) == expected
        await listener.sync()
        keys = [one["content"]["text"] for one in listener.keys]
        assert keys == [str(number) for number in dict.fromkeys(told)]
