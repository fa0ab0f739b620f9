"""The harness itself: time, chance, crashes, and whether it sees what it should see."""

import asyncio
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from homeserver.testing.invariants import Broken
from homeserver.testing.person import Person
from homeserver.testing.settling import NeverSettled
from homeserver.testing.simulated import simulated
from homeserver.testing.virtual_time import NobodyIsLeft
from homeserver.testing.world import DAY, HOUR, World


async def _tell(world: World) -> None:
    world.network.everywhere(loss=0.2, duplication=0.1, reordering=0.1, jitter_s=0.5)
    alice, bob = await world.befriended("alice", "bob")
    room_id = await world.room(alice, bob)
    for number in range(3):
        await alice.say(room_id, f"line {number}")
        await bob.say(room_id, f"answer {number}")
    await world.settle()


def _trace(directory: Path, seed: int) -> object:
    world = World(directory, seed)
    try:
        world.run(_tell(world))
        work = [[str(one) for one in server.boundaries] for server in world.servers]
        return world.network.passages, work
    finally:
        world.close()


def test_the_same_seed_tells_the_same_story(tmp_path: Path) -> None:
    once, again, other = (
        _trace(tmp_path / name, seed) for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    assert once == again
    assert once != other


@simulated
async def test_a_day_passes_at_once(world: World) -> None:
    alice = await world.person("alice")
    before = alice.server.clock.now_ms()
    await world.pass_time(DAY)
    assert alice.server.clock.now_ms() - before == DAY * 1000


@simulated
async def test_a_clock_may_be_wrong(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    bob.server.clock.skew_s = -3 * HOUR
    room_id = await world.room(alice, bob)
    await bob.say(room_id, "late?")
    await world.check_healed()
    sent = next(one for one in await alice.timeline(room_id) if one["type"] == "m.room.message")
    assert alice.server.clock.now_ms() - sent["origin_server_ts"] > 2.9 * HOUR * 1000


def test_nobody_left_is_an_error_and_no_wait(world: World) -> None:
    with pytest.raises(NobodyIsLeft):
        world.run(asyncio.wait_for(asyncio.Event().wait(), None))


@simulated
async def test_a_crash_ends_requests_and_keeps_what_was_committed(world: World) -> None:
    alice = await world.person("alice")
    room_id = await alice.create_room()
    await alice.say(room_id, "kept")
    alice.server.crash_at = lambda boundary: boundary.side == "before"
    with pytest.raises(aiohttp.ClientError):
        await alice.say(room_id, "lost")
    assert not alice.server.is_running
    await alice.server.start()
    assert await alice.texts(room_id) == ["kept"]
    alice.server.crash_at = lambda boundary: boundary.side == "after"
    with pytest.raises(aiohttp.ClientError):
        await alice.say(room_id, "not told")
    await alice.server.start()
    assert await alice.texts(room_id) == ["kept", "not told"]


@simulated
async def test_a_stopped_server_is_not_reachable(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    await bob.server.stop()
    with pytest.raises(aiohttp.ClientError):
        await bob.joined_rooms()
    room_id = await alice.create_room(bob)
    await world.settle()
    await bob.server.start()
    await world.settle()
    await bob.join(room_id)
    await world.check_healed()
    assert await bob.joined_rooms() == [room_id]


@simulated
async def test_who_is_behind_a_nat_is_heard_and_hears(world: World) -> None:
    alice, bob = await world.person("alice"), await world.person("bob", is_reachable=False)
    await world.connect(alice, bob)
    room_id = await world.room(alice, bob)
    await alice.say(room_id, "you call me")
    await bob.say(room_id, "so I do")
    await world.check_healed()
    assert {one.target for one in world.network.passages if one.kind == "request"} == {"alice"}


@simulated
async def test_an_invariant_names_the_seed(
    world: World, befriended: list[Person], seed: int
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    alice.acknowledged[room_id] = ["$never"]
    with pytest.raises(Broken, match=rf"seed {seed}\b.*does not have"):
        await world.settle()
    alice.acknowledged.clear()


@simulated
async def test_settling_tells_what_never_ends(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    world.network.everywhere(loss=1.0)
    await alice.say(room_id, "into the void")
    with pytest.raises(NeverSettled, match="alice has something for bob"):
        await world.settle(within=HOUR)
    world.network.heal()
    await world.check_healed()


@simulated
async def test_faults_are_per_direction(world: World, befriended: list[Person]) -> None:
    world.network.one_way("alice", "bob", latency_s=5.0)
    there, back = world.network.link("alice", "bob"), world.network.link("bob", "alice")
    assert there.faults == replace(back.faults, latency_s=5.0)
