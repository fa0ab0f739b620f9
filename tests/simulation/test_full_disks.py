"""A disk that is full or slow: a clear answer, nothing acknowledged lost, and on it goes."""

import pytest

from homeserver.crash_points import Point
from homeserver.testing.client import Refused
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.watched_database import Boundary
from homeserver.testing.world import HOUR, World


@simulated
async def test_the_owner_is_told_and_loses_nothing(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await alice.say(room_id, "before")
    await world.settle()
    alice.server.disk.is_full = True
    with pytest.raises(Refused, match="disk is full") as refused:
        await alice.say(room_id, "not kept")
    assert refused.value.status == 507
    with pytest.raises(Refused, match="disk is full"):
        await alice.client.upload(b"a file" * 100_000, "text/plain")
    assert await alice.texts(room_id) == ["before"]
    alice.server.disk.is_full = False
    await alice.say(room_id, "after")
    uri = await alice.client.upload(b"a file", "text/plain")
    await world.check_healed()
    assert await bob.texts(room_id) == ["before", "after"]
    assert await bob.client.download(uri) == b"a file"


@simulated
async def test_what_peers_send_meanwhile_comes_later(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    alice.server.disk.is_full = True
    for number in range(5):
        await bob.say(room_id, f"line {number}")
        await world.pass_time(10 * 60)
    assert await alice.texts(room_id) == []
    alice.server.disk.is_full = False
    await world.check_healed()
    assert await alice.texts(room_id) == [f"line {number}" for number in range(5)]


@simulated
async def test_a_frame_that_was_acknowledged_is_never_given_up(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)

    def fill_the_disk(where: Boundary) -> bool:
        if where.work == Point.FRAME_BEGUN:
            alice.server.disk.is_full = True
        return False

    alice.server.crash_at = fill_the_disk
    await bob.say(room_id, "stored, and not worked off")
    await world.pass_time(HOUR)
    assert alice.server.disk.is_full
    alice.server.crash_at = lambda _where: False
    alice.server.disk.is_full = False
    await world.check_healed()
    assert await alice.texts(room_id) == ["stored, and not worked off"]


@pytest.mark.parametrize("whose", ["alice", "bob"])
@simulated
async def test_a_handshake_waits_for_room(world: World, whose: str) -> None:
    alice, bob = await world.persons("alice", "bob")
    await bob.open_link(await alice.invitation())
    world.people[whose].server.disk.is_full = True
    await world.pass_time(HOUR)
    world.people[whose].server.disk.is_full = False
    await world.settle()
    assert await alice.standing(bob) == await bob.standing(alice) == "active"


@simulated
async def test_a_server_that_starts_while_its_disk_is_filling(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await alice.server.restart()
    alice.server.disk.is_full = True
    await world.pass_time(HOUR)
    alice.server.disk.is_full = False
    await bob.say(room_id, "still there?")
    await world.check_healed()
    assert await alice.texts(room_id) == ["still there?"]


@pytest.mark.seeds(2)
@simulated
async def test_a_slow_disk_is_only_slow(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    bob.server.disk.seconds_per_write = 3.0
    world.network.everywhere(loss=0.1, jitter_s=1.0)
    for number in range(4):
        await alice.say(room_id, f"line {number}")
        await bob.say(room_id, f"answer {number}")
    await bob.server.crash_now()
    await bob.server.start()
    await world.settle()
    world.network.heal()
    bob.server.disk.seconds_per_write = 0.0
    await world.check_healed()
    assert sorted(await bob.texts(room_id)) == sorted(await alice.texts(room_id))
    assert len(await bob.texts(room_id)) == 8


@simulated
async def test_no_pause_is_forgotten_while_a_slow_disk_writes(
    world: World, befriended: list[Person]
) -> None:
    """What is written between two tries may take longer than the pause between them."""
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    world.partition([alice], [bob])
    await alice.say(room_id, "hello")
    alice.server.disk.seconds_per_write = 30.0
    await world.pass_time(5 * 60)
    alice.server.disk.seconds_per_write = 0.0
    world.network.heal()
    healed_at = world.now
    await world.pass_time(HOUR)
    later = [one for one in world.network.passages if one.at >= healed_at]
    assert ("alice", "request", "arrived") in {(one.source, one.kind, one.fate) for one in later}
    assert await bob.texts(room_id) == ["hello"]


@simulated
async def test_who_is_revoked_while_a_slow_disk_writes_is_not_greeted(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    alice.server.disk.seconds_per_write = 5.0
    await alice.server.restart()  # and a greeting of Bob is about to be written
    await alice.revoke(bob)
    await world.pass_time(60.0)
    await world.check()  # that nothing is left of him
