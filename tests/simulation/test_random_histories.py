"""Random histories by several servers, under faults, end in one state at all of them.

Whole servers, on a network that loses, holds back and parts, and machines that lose power. Several
rooms live at the same time, as they do: each is a history of its own.
"""

import itertools
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from homeserver.matrix import server_acl
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import events as stored_events
from homeserver.storage.events import events
from homeserver.testing.client import Refused
from homeserver.testing.crashing import CrashAfter
from homeserver.testing.fast_ratchets import FastRatchets
from homeserver.testing.person import Person
from homeserver.testing.world import World
from tests.simulation.random_history import History

VERSIONS = ("10", "11", "12")
NAMES = ("alice", "bob", "carol", "dave")
FORGER = "carol"
ROOMS, ROUNDS, DEEDS = 12, 3, 8
State = dict[tuple[str, str], str]
A_FEW, MANY = 3, 17  # worlds a seed


@pytest.fixture
def how_many(pytestconfig: pytest.Config) -> int:
    """How many worlds a seed stands for: more where thoroughness was asked for."""
    return MANY if pytestconfig.getoption("--seeds") else A_FEW


@pytest.mark.seeds(3)
def test_random_histories_end_alike(seed: int, how_many: int, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for number in range(how_many):
        world_seed = 1_000 * seed + number
        world = World(tmp_path / str(number), world_seed, ratchets=FastRatchets(world_seed))
        try:
            world.run(_live(world, seen))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, world {number}: {error}") from error
        finally:
            world.close()
        shutil.rmtree(tmp_path / str(number))
    _check_mix(seen, how_many * ROOMS * ROUNDS)


def _check_mix(seen: Counter[str], rounds: int) -> None:
    """Nothing is shown where nobody disagrees, nobody is refused, or nobody is left."""
    assert seen["compared"] + seen["alone"] == rounds
    assert seen["compared"] > rounds * 0.7, seen
    assert seen["parted"] > rounds * 0.15, seen
    assert seen["not told"] < rounds * 0.5, seen
    assert seen["soft-failed"] >= 3, seen
    assert seen["rejected"] >= 1, seen


async def _live(world: World, seen: Counter[str]) -> None:
    """What people do in several rooms, in several rounds of trouble; after each all are alike."""
    world.checks_itself = False  # in the end, once
    people = await world.befriended(*NAMES)
    world.watch.spared.add(FORGER)
    chance = random.Random(world.seed)
    histories = await _begin(world, people, chance)
    for _ in range(ROUNDS):
        _disturb(world, people, chance)
        for _ in range(DEEDS):
            for history in histories:
                await history.go_on()
            await world.pass_time(chance.random() * 30)
        for history in histories:
            seen["parted"] += await _have_parted(history)
        await _heal(world, histories)
        for history in histories:
            await _compare(history, seen)
    await world.check()
    for person in people:
        seen.update(_verdicts(person))


async def _begin(world: World, people: list[Person], chance: random.Random) -> list[History]:
    club = await world.room(*people)
    histories = [
        History(people, club, VERSIONS[place % len(VERSIONS)], random.Random(chance.random()))
        for place in range(ROOMS)
    ]
    for history in histories:
        await history.begin()
    await world.settle()
    return histories


def _disturb(world: World, people: list[Person], chance: random.Random) -> None:
    alone, unlucky = chance.choice(people), chance.choice([people[0], people[1], people[3]])
    rest = [one for one in people if one is not alone]
    faults = [
        lambda: world.partition([alone], rest),
        lambda: world.partition(people[:2], people[2:]),
        lambda: world.partition(*([one] for one in people)),
        lambda: world.network.everywhere(loss=0.3, duplication=0.2, reordering=0.2, jitter_s=5.0),
    ]
    chance.choice(faults)()
    if chance.random() < 0.5:
        unlucky.server.crash_at = CrashAfter(chance.randrange(200))


async def _heal(world: World, histories: list[History]) -> None:
    """End the trouble. Whom nobody has heard for a good reason has to speak for it to be known."""
    world.network.heal()
    for server in world.servers:
        server.crash_at = lambda _where: False
        await server.gone()
        if not server.is_running:
            await server.start()
    await world.settle()
    for history in histories:
        if not (history.is_honest and history.is_open):
            await _let_all_speak(history)
    await world.settle()


async def _inside(history: History) -> dict[Person, State]:
    """The room as those have it who think that they are in it."""
    running = [one for one in history.people if one.server.is_running]
    return {
        one: await one.state(history.room_id)
        for one in running
        if await one.membership(history.room_id) == "join"
    }


async def _have_parted(history: History) -> bool:
    """Whether two of those who are inside hold different events for the same piece of state."""
    states = (await _inside(history)).values()
    return any(
        one.get(key, event_id) != event_id
        for one in states
        for other in states
        for key, event_id in other.items()
    )


async def _let_all_speak(history: History) -> None:
    for person in await _inside(history):
        try:
            await person.say(history.room_id, "here I am")
        except Refused as refused:
            if refused.status != 403:
                raise


async def _compare(history: History, seen: Counter[str]) -> None:
    """Whoever are inside for each other have the same state.

    Somebody may not know that he is out: his coming was undone by what another server did before
    it knew of him, and whoever is out is told nothing any more. Those are counted.
    """
    inside = await _inside(history)
    pairs = [
        (one, other)
        for one, other in itertools.combinations(inside, 2)
        if await _has_in(history, one, other) and await _has_in(history, other, one)
    ]
    seen["compared" if pairs else "alone"] += 1
    seen["not told"] += len(list(itertools.combinations(inside, 2))) - len(pairs)
    for one, other in pairs:
        if history.is_open:  # what is said by whom a room shuts out is dropped, and rightly
            await _check_heard(history, one, other)
            await _check_heard(history, other, one)
        ours, theirs = inside[one], inside[other]
        differing = {key for key in ours | theirs if ours.get(key) != theirs.get(key)}
        assert not differing, (
            f"{one.name} and {other.name} differ about {sorted(differing)} in {history.room_id}"
        )


async def _check_heard(history: History, speaker: Person, listener: Person) -> None:
    """What a speaker said after his server had the listener in the room has arrived there.

    It may have been judged otherwise there: what the room did meanwhile may forbid it. Where the
    speaker's server put off the listener's coming, which no timeline shows, nothing is owed.
    """
    told = await speaker.timeline(history.room_id)
    moves = [
        place
        for place, event in enumerate(told)
        if event["type"] == "m.room.member" and event["state_key"] == listener.user_id
    ]
    is_in = bool(moves) and told[moves[-1]]["content"]["membership"] == "join"
    later = told[moves[-1] :] if is_in else []
    own = {event["event_id"] for event in later if event["sender"] == speaker.user_id}
    owed = own & {*speaker.acknowledged.get(history.room_id, ()), *history.made}
    known = listener.server.built.database.read(lambda view: stored_events.load_events(view, owed))
    lost = owed - known.keys()
    assert not lost, f"{listener.name} never heard {sorted(lost)} of {speaker.name}'s"


async def _has_in(history: History, person: Person, other: Person) -> bool:
    """Whether somebody's server has another one in the room, and lets that one's server in."""
    member = await _state_of(history, person, "m.room.member", other.user_id)
    listed = await _state_of(history, person, "m.room.server_acl")
    server = ServerName(other.server.server_name)
    is_let_in = listed is None or server_acl.allows(listed, server)
    return is_let_in and member is not None and member["membership"] == "join"


async def _state_of(
    history: History, person: Person, kind: str, key: str = ""
) -> dict[str, Any] | None:
    try:
        return await person.client.state(history.room_id, kind, key)
    except Refused as refused:
        if refused.status != 404:
            raise
        return None


def _verdicts(person: Person) -> Counter[str]:
    told = select(events.c.is_rejected, events.c.is_soft_failed, func.count()).group_by(
        events.c.is_rejected, events.c.is_soft_failed
    )
    found: Counter[str] = Counter()
    for is_rejected, is_soft_failed, count in person.server.built.database.read(
        lambda view: view.raw(told)
    ):
        found["rejected" if is_rejected else "soft-failed" if is_soft_failed else "taken"] += count
    return found
