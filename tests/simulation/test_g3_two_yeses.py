"""G3: no connection without two yeses, however the handshake is disturbed."""

from pathlib import Path

import pytest

from homeserver.testing.crashing import crash_once
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.watched_database import digest_of
from homeserver.testing.world import DAY, HOUR, World


async def _are_connected(one: Person, other: Person) -> bool:
    return await one.standing(other) == "active" == await other.standing(one)


async def _have_agreed(*people: Person) -> bool:
    """Whether each of two people has said yes in the trail: by a link given, or one opened."""
    yeses = {"invitation agreed", "owner agreed", "owner connected"}
    trails = [{entry["step"] for entry in await person.audit()} for person in people]
    return all(trail & yeses for trail in trails)


async def _can_talk(world: World, one: Person, other: Person) -> None:
    room_id = await world.room(one, other)
    await one.say(room_id, "do you hear me?")
    await other.say(room_id, "as if you stood here")
    await world.check_healed()
    assert sorted(await one.texts(room_id)) == sorted(await other.texts(room_id))


@pytest.mark.seeds(2)
@pytest.mark.parametrize(
    "faults",
    [
        {"loss": 0.4},
        {"duplication": 0.7},
        {"reordering": 0.5},
        {"corruption": 0.3},
        {"loss": 0.2, "duplication": 0.3, "reordering": 0.3, "corruption": 0.1},
    ],
    ids="+".join,
)
@simulated
async def test_a_handshake_over_a_bad_network(world: World, faults: dict[str, float]) -> None:
    alice, bob = await world.persons("alice", "bob")
    world.network.everywhere(**faults)
    await bob.open_link(await alice.invitation())
    await world.settle()
    world.network.heal()
    await world.settle()
    assert await _are_connected(alice, bob)
    assert await _have_agreed(alice, bob)
    await _can_talk(world, alice, bob)


@pytest.mark.seeds(2)
@simulated
async def test_both_invite_each_other_at_once(world: World) -> None:
    alice, bob = await world.persons("alice", "bob")
    hers, his = await alice.invitation(), await bob.invitation()
    world.network.everywhere(jitter_s=3.0, loss=0.2)
    await bob.open_link(hers)
    await alice.open_link(his)
    await world.settle()
    world.network.heal()
    await world.settle()
    assert await _are_connected(alice, bob)
    await _can_talk(world, alice, bob)


@simulated
async def test_a_link_alone_connects_nobody(world: World) -> None:
    alice, bob = await world.persons("alice", "bob")
    await alice.invitation()
    await world.pass_time(DAY)
    await world.settle()
    assert await alice.standing(bob) == await bob.standing(alice) == "none"
    assert world.network.passages == []


@simulated
async def test_a_link_that_asks_again_connects_nobody_before_the_second_yes(world: World) -> None:
    alice, bob = await world.persons("alice", "bob")
    asks = await alice.server.admin("POST", "/invitations", {"asks_owner": True})
    await bob.open_link(asks["link"])
    await world.pass_time(HOUR)
    assert await alice.standing(bob) == "requested"
    assert await bob.standing(alice) == "offered"
    await alice.server.admin("POST", f"/peers/{bob.server.server_name}/accept")
    await world.pass_time(2 * HOUR)
    assert await _are_connected(alice, bob)


@simulated
async def test_a_handshake_waits_for_the_one_who_is_away(world: World) -> None:
    alice, bob = await world.persons("alice", "bob")
    link = await alice.invitation()
    await alice.server.stop()
    await bob.open_link(link)
    await world.pass_time(2 * DAY)
    await bob.server.restart()
    await world.pass_time(HOUR)
    await alice.server.start()
    await world.settle()
    assert await _are_connected(alice, bob)


@pytest.mark.parametrize("victim", ["alice", "bob"])
def test_a_crash_at_every_commit_of_a_handshake(
    tmp_path: Path, seed: int, victim: str, stride: int
) -> None:
    for number in range(0, 100, stride):
        inner = World(tmp_path / str(number), seed)
        try:
            if inner.run(_crash_in_handshake(inner, victim, number)) is None:
                assert number > 4
                return
        finally:
            inner.close()
    raise AssertionError("a handshake has fewer commits than that")


async def _crash_in_handshake(world: World, victim: str, number: int) -> object:
    alice, bob = await world.persons("alice", "bob")

    async def story(_number: int) -> None:
        while await bob.standing(alice) == "none":
            await bob.open_link(await alice.invitation())

    where = await crash_once(world, world.people[victim].server, story, number)
    assert await _are_connected(alice, bob), f"after a crash {where}"
    await _can_talk(world, alice, bob)
    return where


@pytest.mark.seeds(2)
@simulated
async def test_replayed_handshake_messages_change_nothing(world: World) -> None:
    alice, bob = await world.persons("alice", "bob")
    with world.recording():
        await world.connect(alice, bob)
    files = [person.server.directory / "homeserver.db" for person in (alice, bob)]
    before = [digest_of(str(file)) for file in files]
    for recorded in world.network.recorded * 2:
        await world.network.replay(recorded)
    await world.settle()
    assert [digest_of(str(file)) for file in files] == before


@pytest.mark.seeds(2)
@pytest.mark.parametrize("order", ["ab", "bba", "abab", "bbbb"])
@simulated
async def test_who_are_connected_open_links_of_each_other_at_once(
    world: World, befriended: list[Person], order: str
) -> None:
    """Each handshake mends the connection; whichever ends first where, both keep the same one."""
    by_letter = {person.name[0]: person for person in befriended}
    alice, bob = befriended
    for letter in order:
        inviter = by_letter[letter]
        invitee = bob if inviter is alice else alice
        await invitee.open_link(await inviter.invitation())
    await world.settle(within=HOUR)
    assert await _are_connected(alice, bob)
    await _can_talk(world, alice, bob)
