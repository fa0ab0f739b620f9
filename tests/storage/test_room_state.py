from functools import partial

import pytest
from sqlalchemy import func, select

from homeserver.matrix.events import StateKey, StateMap
from homeserver.matrix.identifiers import EventId
from homeserver.storage import caches, room_state
from homeserver.storage.caches import Lru
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View
from tests.storage.room_events import ROOM

TOPIC: StateKey = ("m.room.topic", "")
NAME: StateKey = ("m.room.name", "")


def forget_states(database: Database) -> None:
    def forget(view: View) -> None:
        caches.of(view).states = Lru(1_000)

    database.read(forget)


def load(view: View, state_id: int) -> StateMap:
    return room_state.load_state(view, state_id)


async def test_a_state_is_its_parent_with_its_changes(database: Database) -> None:
    def build(work: UnitOfWork) -> tuple[int, int, int]:
        first = room_state.save_state(work, ROOM, {TOPIC: EventId("$1"), NAME: EventId("$2")})
        second = room_state.save_change(work, ROOM, first, {TOPIC: EventId("$3")})
        third = room_state.save_change(work, ROOM, second, {NAME: None})
        return first, second, third

    ids = await database.write(build)
    expected = [
        {TOPIC: "$1", NAME: "$2"},
        {TOPIC: "$3", NAME: "$2"},
        {TOPIC: "$3"},
    ]
    for _ in range(2):
        states = [dict(database.read(partial(load, state_id=one))) for one in reversed(ids)]
        assert states == expected[::-1]
        forget_states(database)


async def test_a_long_history_is_no_long_chain(database: Database) -> None:
    def build(work: UnitOfWork) -> int:
        state_id = room_state.save_state(work, ROOM, {})
        for number in range(200):
            state_id = room_state.save_change(work, ROOM, state_id, {TOPIC: EventId(f"${number}")})
        return state_id

    newest = await database.write(build)
    forget_states(database)

    assert database.read(lambda view: room_state.load_state(view, newest)) == {TOPIC: "$199"}
    longest = database.read(
        lambda view: view.scalar(select(func.max(room_state.states.c.chain_length)))
    )
    assert 40 < longest < 60


async def test_resolving_to_what_is_there_already_stores_nothing(database: Database) -> None:
    def build(work: UnitOfWork) -> tuple[int, int, int]:
        state = {TOPIC: EventId("$1")}
        first = room_state.save_state(work, ROOM, state)
        same = room_state.save_resolved(work, ROOM, first, dict(state))
        other = room_state.save_resolved(work, ROOM, first, {NAME: EventId("$2")})
        return first, same, other

    first, same, other = await database.write(build)

    assert first == same != other
    assert database.read(lambda view: room_state.load_state(view, other)) == {NAME: "$2"}


async def test_a_rolled_back_state_leaves_no_number_behind(database: Database) -> None:
    numbers: list[int] = []

    def fail(work: UnitOfWork) -> None:
        numbers.append(room_state.save_state(work, ROOM, {TOPIC: EventId("$never")}))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.write(fail)
    kept = await database.write(
        lambda work: room_state.save_state(work, ROOM, {TOPIC: EventId("$kept")})
    )

    assert kept not in numbers
    forget_states(database)
    assert database.read(lambda view: room_state.load_state(view, kept)) == {TOPIC: "$kept"}


async def test_differences_name_what_is_gone() -> None:
    before = {TOPIC: EventId("$1"), NAME: EventId("$2")}
    after = {TOPIC: EventId("$3"), ("m.room.avatar", ""): EventId("$4")}

    assert room_state.difference(before, after) == {
        TOPIC: "$3",
        ("m.room.avatar", ""): "$4",
        NAME: None,
    }
    assert room_state.difference(before, before) == {}


def test_a_cache_forgets_what_was_not_used_for_longest() -> None:
    cache: Lru[str, int] = Lru(3)
    for key in "abc":
        cache.keep(key, ord(key))
    cache.find("a")
    cache.keep("d", 1)

    assert [cache.find(key) for key in "abcd"] == [97, None, 99, 1]
    cache.keep("heavy", 5, weight=3)
    assert len(cache) == 1
