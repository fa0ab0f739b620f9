"""Power goes at every named step of sending, receiving, shaking hands, revoking, saying goodbye."""

import contextlib
from pathlib import Path

import aiohttp
import pytest

from homeserver import crash_points
from homeserver.crash_points import Point
from homeserver.testing.crashing import CrashAfter, CrashAt, passing
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import HOUR, World


def test_every_point_belongs_to_one_of_the_five() -> None:
    parts = (
        crash_points.SEND,
        crash_points.RECEIVE,
        crash_points.HANDSHAKE,
        crash_points.REVOKE,
        crash_points.GOODBYE,
    )
    assert [point for part in parts for point in part] == list(Point)
    assert all(parts)


@simulated
async def test_every_point_is_really_passed(world: World) -> None:
    alice, bob = await world.persons("alice", "bob")
    with passing(alice.server, bob.server) as passed:
        await world.connect(alice, bob)
        room_id = await world.room(alice, bob)
        await alice.send_key(bob, "key", "1")
        await alice.say(room_id, "hello")
        await bob.say(room_id, "hello too")
        await world.settle()
        await world.pass_time(60.0)  # a goodbye takes the place of what is still in flight
        await alice.revoke(bob, goodbye=True)
        await world.settle()
    assert passed == set(Point)


# Where the inviter passes, and where the invitee does.
BY_THE_INVITER = (
    *(Point.INVITATION_KEPT, Point.REQUEST_CAME, Point.ACCEPT_SEALED, Point.ACCEPT_KEPT),
    *(Point.PROVE_CAME, Point.READY_SEALED, Point.READY_KEPT),
)
BY_THE_INVITEE = (
    *(Point.REQUEST_KEPT, Point.ACCEPT_CAME, Point.PROVE_SEALED, Point.PROVE_KEPT),
    Point.READY_CAME,
)
BY_BOTH = (Point.CHANNEL_MADE, Point.STANDING_MOVED)


def test_no_point_of_the_handshake_is_left_out() -> None:
    named = {*BY_THE_INVITER, *BY_THE_INVITEE, *BY_BOTH}
    assert named == {*crash_points.HANDSHAKE, Point.STANDING_MOVED}


@pytest.mark.parametrize(
    ("victim", "point"),
    [
        *(("alice", point) for point in (*BY_THE_INVITER, *BY_BOTH)),
        *(("bob", point) for point in (*BY_THE_INVITEE, *BY_BOTH)),
    ],
)
def test_handshake(tmp_path: Path, seed: int, victim: str, point: Point) -> None:
    world = World(tmp_path, seed)
    try:
        world.run(_crash_in_handshake(world, victim, point))
    finally:
        world.close()


async def _crash_in_handshake(world: World, victim: str, point: Point) -> None:
    alice, bob = await world.persons("alice", "bob")
    server = world.people[victim].server
    plan = server.crash_at = CrashAt(point)
    with contextlib.suppress(aiohttp.ClientError):
        await bob.open_link(await alice.invitation())
        await world.pass_time(HOUR)
    assert plan.where is not None
    assert not server.is_running
    await server.start()
    if await bob.standing(alice) == "none":
        await bob.open_link(await alice.invitation())
    await world.settle()
    assert await alice.standing(bob) == await bob.standing(alice) == "active", plan.where
    room_id = await world.room(alice, bob)
    await bob.say(room_id, "as if nothing had been")
    await world.check_healed()
    assert await alice.texts(room_id) == ["as if nothing had been"]


@pytest.mark.parametrize("point", crash_points.REVOKE)
@simulated
async def test_revoke(world: World, befriended: list[Person], point: Point) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await bob.say(room_id, "in flight")
    plan = alice.server.crash_at = CrashAt(point)
    with pytest.raises(aiohttp.ClientError):
        await alice.revoke(bob)
    assert plan.where is not None
    await alice.server.start()
    await world.settle()
    is_kept = point in (Point.REVOKE_KEPT, Point.REVOKE_DONE)
    assert await alice.standing(bob) == ("revoked" if is_kept else "active")
    if not is_kept:
        assert await alice.texts(room_id) == ["in flight"]
        await alice.revoke(bob)
    begun = world.now
    await bob.say(room_id, "never heard")
    await world.pass_time(HOUR)
    assert "never heard" not in await alice.texts(room_id)
    left = [one for one in world.network.passages if one.at > begun and one.source == "alice"]
    assert {one.fate for one in left} <= {"refused"}


@pytest.mark.parametrize("point", crash_points.GOODBYE)
@simulated
async def test_goodbye(world: World, befriended: list[Person], point: Point) -> None:
    alice, bob = befriended
    victim = bob if point is Point.GOODBYE_TAKEN else alice
    plan = victim.server.crash_at = CrashAt(point)
    with contextlib.suppress(aiohttp.ClientError):
        await alice.revoke(bob, goodbye=True)
        await world.pass_time(HOUR)
    assert plan.where is not None
    await victim.server.start()
    await world.settle()
    # It leaves once what it tells of is so for ever, and nothing of it outlives its server's run.
    is_over = point is not Point.GOODBYE_SEALED
    assert await alice.standing(bob) == ("revoked" if is_over else "active")
    is_told = point in (Point.GOODBYE_GONE, Point.GOODBYE_TAKEN)
    assert await goodbyes(bob) == int(is_told)
    if not is_over:
        await say_goodbye(world, alice, bob)
        assert await goodbyes(bob) == 1


@pytest.mark.parametrize("victim", ["alice", "bob"])
def test_a_goodbye_through_a_crash_at_every_commit(tmp_path: Path, seed: int, victim: str) -> None:
    for number in range(40):
        world = World(tmp_path / str(number), seed)
        try:
            if not world.run(_crash_in_goodbye(world, victim, number)):
                assert number >= 2
                return
        finally:
            world.close()
    raise AssertionError("a goodbye has fewer commits than that")


async def _crash_in_goodbye(world: World, victim: str, number: int) -> bool:
    alice, bob = await world.befriended("alice", "bob")
    plan = CrashAfter(number)
    world.people[victim].server.crash_at = plan
    with contextlib.suppress(aiohttp.ClientError):
        await alice.revoke(bob, goodbye=True)
        await world.pass_time(60.0)
    if plan.where is None:
        return False
    await world.make_whole()
    await world.settle()
    is_over = await alice.standing(bob) == "revoked"
    told = await goodbyes(bob)
    # Who is down while it is said, for longer than ten seconds, is not told; nobody is told twice.
    assert told <= int(is_over), plan.where
    if not is_over:
        await say_goodbye(world, alice, bob)
        assert await goodbyes(bob) == 1, plan.where
    return True


async def say_goodbye(world: World, person: Person, other: Person) -> None:
    """In a session of this run, which the first thing said makes, and with nothing in flight."""
    await world.room(person, other)
    await world.pass_time(60.0)
    await person.revoke(other, goodbye=True)
    await world.settle()


async def goodbyes(person: Person) -> int:
    """How often an owner is told that somebody said goodbye."""
    told = (await person.server.admin("GET", "/notices"))["notices"]
    return [one["kind"] for one in told].count("goodbye")
