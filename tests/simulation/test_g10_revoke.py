"""G10: revoke is immediate, complete, and survives a crash."""

import contextlib
from pathlib import Path

import aiohttp
import pytest

from homeserver.testing import census
from homeserver.testing.client import Refused
from homeserver.testing.crashing import CrashAfter
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import DAY, World


async def _spend_a_day(world: World, alice: Person, bob: Person) -> str:
    """Leave something of everything behind: events, receipts, keys, files, open invites."""
    room_id = await world.room(alice, bob)
    for person in (alice, bob):
        await person.say(room_id, f"{person.name} was here")
    await alice.client.download(await bob.client.upload(b"a file of Bob's", "text/plain"))
    await bob.create_room(alice)
    await world.settle()
    return room_id


async def _is_gone(world: World, alice: Person, bob: Person) -> None:
    begun = world.now
    assert await alice.standing(bob) == "revoked"
    await bob.server.restart()
    await world.pass_time(DAY)
    moved = [
        one
        for one in world.network.passages
        if one.at > begun and one.source == "alice" and one.fate != "refused"
    ]
    assert moved == []
    left = census.tables_naming(
        alice.server, bob.server.server_name, bob.server.server_name.split(".")[0]
    )
    assert left <= census.MAY_REMAIN, left - census.MAY_REMAIN


@simulated
async def test_nothing_is_left_and_nothing_moves(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await _spend_a_day(world, alice, bob)
    await alice.revoke(bob)
    await bob.say(room_id, "anybody there?")
    await _is_gone(world, alice, bob)
    assert "anybody there?" not in await alice.texts(room_id)
    alice.forget_syncs()
    assert "invite" not in (await alice.sync())["rooms"]


@simulated
async def test_with_mail_held_and_mail_under_way(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await _spend_a_day(world, alice, bob)
    world.network.everywhere(latency_s=5.0)
    await bob.say(room_id, "under way")
    await alice.say(room_id, "held")
    await world.pass_time(7.0)
    await alice.revoke(bob)
    await _is_gone(world, alice, bob)


@simulated
async def test_while_the_peer_is_away(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    await _spend_a_day(world, alice, bob)
    await bob.server.stop()
    await alice.pause(bob)
    await alice.revoke(bob)
    await _is_gone(world, alice, bob)


def test_a_crash_at_every_commit(tmp_path: Path, seed: int) -> None:
    for number in range(20):
        world = World(tmp_path / str(number), seed)
        try:
            if not world.run(_crash_in_revoke(world, number)):
                assert number >= 2
                return
        finally:
            world.close()
    raise AssertionError("a revoke has fewer commits than that")


async def _crash_in_revoke(world: World, number: int) -> bool:
    alice, bob = await world.befriended("alice", "bob")
    room_id = await _spend_a_day(world, alice, bob)
    await bob.say(room_id, "in flight")
    plan = alice.server.crash_at = CrashAfter(number)
    with contextlib.suppress(aiohttp.ClientError):
        await alice.revoke(bob)
        await world.settle()
    if plan.where is None:
        return False
    await alice.server.start()
    await world.settle()
    if await alice.standing(bob) != "revoked":
        await alice.revoke(bob)
    await _is_gone(world, alice, bob)
    return True


@simulated
async def test_only_a_new_invitation_reopens(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await _spend_a_day(world, alice, bob)
    await alice.revoke(bob)
    with pytest.raises(Refused):
        await alice.resume(bob)
    await world.pass_time(DAY)
    assert await alice.standing(bob) == "revoked"
    await bob.revoke(alice)
    await world.connect(alice, bob)
    for person in (alice, bob):
        await person.say(room_id, f"{person.name} is back")
    await world.check_healed()
    for person in (alice, bob):
        assert {"alice is back", "bob is back"} <= set(await person.texts(room_id))
