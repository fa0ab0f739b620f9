"""G15 and repair: a server that comes back as an older copy of itself finds its way."""

from pathlib import Path

import pytest

from homeserver.testing.crashing import CrashAfter
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import HOUR, World


async def _chat(world: World, room_id: str, people: list[Person], lines: int, word: str) -> None:
    for number in range(lines):
        for person in people:
            await person.say(room_id, f"{person.name} {word} {number}")
        await world.pass_time(5.0)
    await world.settle()


async def _go_back(world: World, person: Person, copy: Path) -> None:
    """Put the older copy in the place of what the server has, as after a disk was replaced."""
    await person.server.crash_now()
    person.server.replace_by(copy)
    await person.server.start()
    person.forget_syncs()
    person.acknowledged.clear()
    await world.settle()


async def _talk_again(world: World, room_id: str, people: list[Person], word: str) -> None:
    await _chat(world, room_id, people, 2, word)
    for listener in people:
        texts = await listener.texts(room_id)
        for speaker in people:
            assert f"{speaker.name} {word} 1" in texts, (listener.name, texts)


@pytest.mark.parametrize("victim", ["alice", "bob"])
@simulated
async def test_a_raw_copy_of_the_files(
    world: World, befriended: list[Person], tmp_path: Path, victim: str
) -> None:
    room_id = await world.room(*befriended)
    await _chat(world, room_id, befriended, 2, "before")
    person = world.people[victim]
    # Both times the chain of keys goes on from the copy's last word: a key is there to be reused.
    await person.say(room_id, "the last word before the copy")
    await world.settle()
    person.server.copy_to(tmp_path / "copy")
    await person.say(room_id, "the first that is forgotten")
    await world.settle()
    await _chat(world, room_id, befriended, 4, "forgotten")
    await _go_back(world, person, tmp_path / "copy")
    await _talk_again(world, room_id, befriended, "after")


@simulated
async def test_a_copy_made_in_the_middle_of_an_exchange(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    world.network.everywhere(latency_s=10.0)
    await alice.say(room_id, "under way")
    await world.pass_time(12.0)
    bob.server.copy_to(tmp_path / "copy")
    await world.settle()
    world.network.heal()
    await _chat(world, room_id, befriended, 3, "forgotten")
    await _go_back(world, bob, tmp_path / "copy")
    await _talk_again(world, room_id, befriended, "after")
    assert "under way" in await bob.texts(room_id)


@simulated
async def test_a_copy_from_before_the_room(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    alice, bob = befriended
    bob.server.copy_to(tmp_path / "copy")
    room_id = await world.room(alice, bob)
    await _chat(world, room_id, befriended, 2, "forgotten")
    await _go_back(world, bob, tmp_path / "copy")
    other = await world.room(alice, bob)
    await _talk_again(world, other, befriended, "after")


def test_a_crash_at_every_commit_of_the_repair(tmp_path: Path, seed: int, stride: int) -> None:
    for number in range(0, 100, stride):
        world = World(tmp_path / str(number), seed)
        try:
            if not world.run(_crash_in_repair(world, tmp_path / f"copy-{number}", number)):
                assert number > 4
                return
        finally:
            world.close()
    raise AssertionError("a repair has fewer commits than that")


async def _crash_in_repair(world: World, copy: Path, number: int) -> bool:
    alice, bob = people = await world.befriended("alice", "bob")
    room_id = await world.room(*people)
    bob.server.copy_to(copy)
    await _chat(world, room_id, people, 2, "forgotten")
    await bob.server.crash_now()
    bob.server.replace_by(copy)
    bob.forget_syncs()
    bob.acknowledged.clear()
    await bob.server.start()
    plan = alice.server.crash_at = CrashAfter(number)
    await world.settle()
    if plan.where is not None:
        await alice.server.start()
    alice.server.crash_at = lambda _boundary: False
    await _talk_again(world, room_id, people, "after")
    return plan.where is not None


@simulated
async def test_an_old_copy_never_reads_like_the_peer(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    """What was replayed from before the copy is not taken for something of today."""
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    bob.server.copy_to(tmp_path / "copy")
    with world.recording():
        await _chat(world, room_id, befriended, 2, "forgotten")
    await _go_back(world, bob, tmp_path / "copy")
    await _talk_again(world, room_id, befriended, "after")
    before = [await person.texts(room_id) for person in befriended]
    for recorded in world.network.recorded:
        await world.network.replay(recorded)
    await world.pass_time(HOUR)
    assert [await person.texts(room_id) for person in befriended] == before
