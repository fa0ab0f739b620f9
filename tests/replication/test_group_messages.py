"""Rooms of three whole servers: what is said is encrypted once, and nothing is lost by it."""

import contextlib
import sqlite3

import pytest

from federation.ratchets.interface import Ratchets
from federation.ratchets.libolm import Libolm
from homeserver import metrics
from homeserver.storage import groups
from homeserver.storage.groups import GroupSession
from homeserver.testing.crashing import crash_everywhere
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World


@pytest.fixture(params=["vodozemac", "python-olm"])
def library(world: World, request: pytest.FixtureRequest) -> Ratchets | None:
    """The library that the world's servers use."""
    ratchets = Libolm() if request.param == "python-olm" else None
    world._ratchets = ratchets
    return ratchets


def sent_once() -> int:
    return metrics.counters["federation_group_events"]


def session_of(person: Person, room_id: str) -> GroupSession | None:
    file = person.server.directory / "homeserver.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        row = connection.execute(
            "SELECT * FROM group_sessions WHERE room_id = ?", (room_id,)
        ).fetchone()
    return None if row is None else GroupSession(*row)


def session_id(person: Person, room_id: str) -> str:
    session = session_of(person, room_id)
    assert session is not None
    return session.session_id


async def all_heard(room_id: str, people: list[Person], said: list[str]) -> None:
    for person in people:
        texts = [text for text in await person.texts(room_id) if text in said]
        assert texts == said


@pytest.mark.usefixtures("library")
@simulated
async def test_three_in_a_room(world: World) -> None:
    people = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(*people)
    before, said = sent_once(), []
    for number in range(3):
        for person in people:
            said.append(f"{person.name} {number}")
            await person.say(room_id, said[-1])
            await world.settle()
    await all_heard(room_id, people, said)
    assert sent_once() == before + 9
    await world.check_healed()


@simulated
async def test_two_in_a_room(world: World) -> None:
    alice, bob, _ = await world.befriended("alice", "bob", "carol")
    before = sent_once()
    room_id = await world.room(alice, bob)
    await alice.say(room_id, "hello")
    await world.settle()
    assert sent_once() == before
    assert session_of(alice, room_id) is None


@simulated
async def test_the_session_ends_with_every_change_of_servers(world: World) -> None:
    people = await world.befriended("alice", "bob", "carol", "dave")
    alice, bob, carol, dave = people
    room_id = await world.room(alice, bob, carol)
    seen: list[str] = []
    said: list[str] = []

    async def is_another() -> bool:
        said.append(f"text {len(said)}")
        await alice.say(room_id, said[-1])
        await world.settle()
        seen.append(session_id(alice, room_id))
        return seen[-1] not in seen[:-1]

    assert await is_another()
    assert not await is_another()
    await alice.moderate("invite", room_id, dave)
    await world.settle()
    await dave.join(room_id)
    await world.settle()
    assert await is_another()
    await dave.leave_room(room_id)
    await world.settle()
    assert await is_another()
    await alice.pause(dave)
    assert not await is_another()
    for end in (alice.server.stop, alice.server.crash_now):
        await end()
        await alice.server.start()
        await world.settle()
        said.append(f"after {end.__name__}")  # the first of a run is said to each by itself
        await alice.say(room_id, said[-1])
        await world.settle()
        assert await is_another()
    await all_heard(room_id, [alice, bob, carol], said)
    await alice.revoke(bob)
    assert session_of(alice, room_id) is None
    await alice.say(room_id, "without Bob")
    await world.settle()
    assert session_of(alice, room_id) is None  # Carol alone is left
    assert "without Bob" in await carol.texts(room_id)


@pytest.mark.seeds(3)
@pytest.mark.parametrize(
    "faults",
    [
        {"loss": 0.3},
        {"duplication": 0.5, "jitter_s": 2.0},
        {"loss": 0.15, "duplication": 0.15, "reordering": 0.15, "corruption": 0.05},
    ],
    ids="+".join,
)
@simulated
async def test_a_bad_network(world: World, faults: dict[str, float]) -> None:
    people = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(*people)
    before = sent_once()
    world.network.everywhere(**faults)
    for number in range(6):
        for person in people:
            await person.say(room_id, f"{person.name} {number}")
        if number % 2:
            await people[number % 3].server.restart()
            await people[(number + 1) % 3].server.built.database.write(groups.forget_everything)
        await world.pass_time(3.0)
    await world.settle()
    world.network.heal()
    await world.check_healed()
    for listener in people:
        texts = await listener.texts(room_id)
        for speaker in people:
            # What a third server refers to may be fetched before it comes from its own.
            heard = sorted(text for text in texts if text.startswith(f"{speaker.name} "))
            assert heard == [f"{speaker.name} {number}" for number in range(6)]
    assert sent_once() > before


@pytest.mark.parametrize("victim", ["alice", "bob"])
@simulated
async def test_a_crash_at_every_commit(world: World, victim: str) -> None:
    people = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(*people)
    alice, _bob, _carol = people
    before = sent_once()
    told: list[str] = []

    async def story(number: int) -> None:
        told.append(f"alice {number}")
        await alice.say(room_id, told[-1], f"txn-{number}")
        await world.pass_time(1.0)

    crashed = await crash_everywhere(world, world.people[victim].server, story)
    assert len(crashed) >= 4
    await all_heard(room_id, people, list(dict.fromkeys(told)))
    assert sent_once() > before
