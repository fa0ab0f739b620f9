"""G15: an old copy uses no key twice with anybody, whether or not somebody notices that it is one.

The watch on the wire knows every key that left a server, also in boxes that never arrived.
"""

from pathlib import Path

import pytest

from homeserver.matrix.identifiers import ServerName
from homeserver.storage import channels
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World


def _cut(world: World, one: Person, other: Person, *, is_cut: bool = True) -> None:
    world.network.between(one.name, other.name, is_cut=is_cut)


async def _put_back(person: Person, copy: Path) -> None:
    await person.server.crash_now()
    person.server.replace_by(copy)
    await person.server.start()
    person.forget_syncs()
    person.acknowledged.clear()


async def _all_hear_all(world: World, room_id: str, *people: Person, word: str) -> None:
    for person in people:
        await person.say(room_id, f"{person.name} {word}")
    await world.settle()  # which checks what was watched
    for listener in people:
        texts = await listener.texts(room_id)
        assert {f"{speaker.name} {word}" for speaker in people} <= set(texts)


async def _speak_last(world: World, person: Person, *rooms: str) -> None:
    """So that the next frame is to go on with the chain of keys that this one uses."""
    for room_id in rooms:
        await person.say(room_id, "the last word before the copy")
        await world.settle()


def _epoch(one: Person, other: Person) -> int:
    name = ServerName(other.server.server_name)
    channel = one.server.built.database.read(lambda view: channels.find_channel(view, name))
    assert channel is not None
    return channel.epoch


async def _notices(person: Person) -> list[str]:
    told = await person.server.admin("GET", "/notices")
    return [notice["kind"] for notice in told["notices"]]


@pytest.mark.parametrize("first", ["bob", "carol"])
@simulated
async def test_what_one_peer_saw_counts_for_all(world: World, tmp_path: Path, first: str) -> None:
    """Bob has something newer than the copy; what went to Carol was lost."""
    alice, bob, carol = people = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(*people)
    with_carol = await world.room(alice, carol)
    await _all_hear_all(world, room_id, *people, word="before")
    await _speak_last(world, alice, with_carol, room_id)
    alice.server.copy_to(tmp_path / "copy")
    _cut(world, alice, carol)
    await alice.say(with_carol, "never seen again")
    await alice.say(room_id, "only Bob has it")
    await world.pass_time(60.0)
    later = bob if first == "carol" else carol
    _cut(world, alice, carol, is_cut=False)
    _cut(world, alice, later)
    await _put_back(alice, tmp_path / "copy")
    if later is bob:
        await alice.say(with_carol, "while nobody knows that it is an old copy")
    await world.pass_time(60.0)
    _cut(world, alice, later, is_cut=False)
    await world.pass_time(60.0)
    await _all_hear_all(world, with_carol, alice, carol, word="after")
    await _all_hear_all(world, room_id, *people, word="after")
    assert (await _notices(alice)).count("old_copy") == 1
    assert (await _notices(bob)).count("peer_restored") == 1
    assert "peer_restored" not in await _notices(carol)
    assert "never seen again" not in await carol.texts(with_carol)


@pytest.mark.parametrize("victim", ["alice", "bob"])
@pytest.mark.parametrize("is_stopped", [True, False], ids=["stopped", "running"])
@simulated
async def test_nobody_saw_anything_newer(
    world: World, befriended: list[Person], tmp_path: Path, victim: str, is_stopped: bool
) -> None:
    """What left after the copy was lost, so nobody can know; but a session is of one run."""
    room_id = await world.room(*befriended)
    person = world.people[victim]
    (other,) = (one for one in befriended if one is not person)
    await _all_hear_all(world, room_id, *befriended, word="before")
    await _speak_last(world, person, room_id)
    if is_stopped:
        await person.server.stop()
    person.server.copy_to(tmp_path / "copy")
    if is_stopped:
        await person.server.start()
        await world.settle()
    _cut(world, person, other)
    await person.say(room_id, "lost on the way")
    await world.pass_time(60.0)
    await _put_back(person, tmp_path / "copy")
    await person.say(room_id, "something else under the same number")
    _cut(world, person, other, is_cut=False)
    await world.settle()  # before the other has said anything, which would begin another chain
    await _all_hear_all(world, room_id, *befriended, word="after")
    assert "something else under the same number" in await other.texts(room_id)
    assert not {"old_copy", "peer_restored", "alarm"} & {
        *await _notices(person),
        *await _notices(other),
    }


@pytest.mark.parametrize("who", ["alice", "bob", "both"])
@simulated
async def test_a_start_costs_nothing_until_something_is_said(
    world: World, befriended: list[Person], who: str
) -> None:
    """And then one change of keys, however many sides were started."""
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await _all_hear_all(world, room_id, alice, bob, word="before")
    epoch = _epoch(alice, bob)
    for _ in range(3):
        for person in befriended:
            if who in (person.name, "both"):
                await person.server.restart()
        await world.pass_time(120.0)
    assert _epoch(alice, bob) == _epoch(bob, alice) == epoch
    await _all_hear_all(world, room_id, alice, bob, word="after")
    await _all_hear_all(world, room_id, alice, bob, word="later")
    assert _epoch(alice, bob) == _epoch(bob, alice) == epoch + 1


@simulated
async def test_a_server_that_only_polls_begins_a_session_as_well(world: World) -> None:
    alice = await world.person("alice")
    bob = await world.person("bob", is_reachable=False)
    await world.connect(alice, bob)
    room_id = await world.room(alice, bob)
    for started in (alice, bob):
        await _all_hear_all(world, room_id, alice, bob, word=f"before {started.name}")
        epoch = _epoch(alice, bob)
        await started.server.restart()
        await world.pass_time(5.0)
        await _all_hear_all(world, room_id, started, word="has started")
        assert _epoch(alice, bob) == _epoch(bob, alice) == epoch + 1


@simulated
async def test_a_position_of_before_the_copy_that_nobody_can_prove_concerns_one_peer(
    world: World, tmp_path: Path
) -> None:
    """Bob knows that Alice took what she does not remember: the two repair, and nobody else."""
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    room_id, quiet = await world.room(alice, bob), await world.room(alice, carol)
    await _all_hear_all(world, room_id, alice, bob, word="before")
    await _all_hear_all(world, quiet, alice, carol, word="before")
    await alice.server.stop()
    alice.server.copy_to(tmp_path / "copy")
    await alice.server.start()
    await world.settle()
    await bob.say(room_id, "forgotten")
    await world.settle()
    await _put_back(alice, tmp_path / "copy")
    await world.settle()
    await _all_hear_all(world, room_id, alice, bob, word="after")
    epoch = _epoch(alice, carol)
    await world.pass_time(60.0)
    assert _epoch(alice, carol) == epoch
    assert "missed" in await _notices(alice)
    assert "old_copy" not in await _notices(alice)
