"""Power goes at every commit of an introduction, on each of the three servers in turn."""

from pathlib import Path

import pytest

from homeserver.testing.crashing import CrashAfter
from homeserver.testing.person import Person
from homeserver.testing.simulated_server import SimulatedServer
from homeserver.testing.watched_database import Boundary
from homeserver.testing.world import DAY, HOUR, World
from tests.simulation.test_introductions import chain

_MOST = 400


async def _meet(world: World, people: list[Person], victim: SimulatedServer, at: int) -> bool:
    """Carol comes into the room; the victim loses power at a commit. False: there is none left."""
    alice, bob, carol = people
    room_id = await world.room(bob, alice)
    await bob.moderate("invite", room_id, carol)
    await world.settle()
    await carol.join(room_id, 5)
    plan = CrashAfter(at)
    victim.crash_at = plan
    await world.pass_time(HOUR)
    victim.crash_at = _never
    has_crashed = plan.where is not None
    if has_crashed:
        await victim.start()
    await world.pass_time(HOUR)
    await world.check_healed()
    assert await alice.standing(carol) == await carol.standing(alice) == "active"
    assert (await alice.peer(carol) or {})["rooms"] == [room_id]
    await alice.say(room_id, "there you are")
    await world.settle()
    assert await carol.texts(room_id) == ["there you are"]
    for one in (carol, alice):
        await one.leave_room(room_id)
    await world.pass_time(2 * DAY)
    await world.settle()
    assert await alice.standing(carol) == await carol.standing(alice) == "none"
    return has_crashed


def _never(_boundary: Boundary) -> bool:
    return False


async def _story(world: World, victim: str, step: int) -> int:
    people = await chain(world, "accept", "accept", "accept")
    server = world.people[victim].server
    for count, at in enumerate(range(0, _MOST, step)):
        if not await _meet(world, people, server, at):
            return count
    raise AssertionError("it never got through")


@pytest.mark.parametrize("victim", ["alice", "bob", "carol"])
def test_an_introduction_survives_a_crash_at_every_commit(
    tmp_path: Path, seed: int, victim: str, request: pytest.FixtureRequest
) -> None:
    """Every commit with `--seeds` above 1 (`make simulate`), else every forty-fifth."""
    is_long = int(request.config.getoption("--seeds") or 1) > 1
    world = World(tmp_path, seed)
    try:
        assert world.run(_story(world, victim, 1 if is_long else 45)) > 0
    finally:
        world.close()
