"""Measure large rooms: the rules alone, what they take on disk, and how long joining one takes."""

import gc
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from homeserver.matrix import events, state_resolution
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Draft
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.matrix.room_versions import ROOM_VERSIONS, room_version
from homeserver.rooms import appending, drafting, state
from homeserver.rooms.appending import HERE
from homeserver.rooms.drafting import Intent
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import events as stored_events
from homeserver.storage import room_state
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.storage.wake_ups import WakeUps
from tests.benchmark import joining
from tests.benchmark.crowd import BEGAN_MS, Crowd
from tests.benchmark.measuring import MS, Row, ms
from tests.unit.matrix.histories import ALICE, BOB, History, State, open_room

HISTORY, CONFLICTED, WANTED_MS = 10_000, 200, 150
SERVERS = 50
MEMBERS, SAID, WANTED_BYTES = 2_000, 10_000, 3 * 1024
JOINED_SAID, WANTED_S, OLD = 5_000, 3.0, 1_001
NONE: frozenset[EventId] = frozenset()
_A_BATCH = 2_000


async def measure() -> list[Row]:
    """The rows of the table."""
    resolving = [row for version in ("11", "12") for row in await _resolving(version)]
    return [*resolving, await _storing(), *await _joining()]


async def _resolving(version_id: str) -> list[Row]:
    """The rules alone, and all of it: from SQLite, when nothing is remembered."""
    room, states = two_histories(version_id)
    gc.collect()
    took = []
    for _ in range(5):
        started = time.perf_counter()
        resolved = state_resolution.resolve(room.version, states, room.known.__getitem__)
        took.append(time.perf_counter() - started)
    assert len(resolved) >= CONFLICTED
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/rooms.db"
        state_ids = await store(url, room, states)
        read = [await _resolved_from(url, room, state_ids) for _ in range(5)]
    name = f"resolve 2 x {HISTORY} events, version {version_id}"
    return [_resolving_row(name, min(took)), _resolving_row("  the same through SQLite", min(read))]


def _resolving_row(name: str, took_s: float) -> Row:
    took = took_s * MS
    return Row(name, ms(took), "", f"< {WANTED_MS} ms", is_met=took < WANTED_MS)


async def store(url: str, room: History, states: Sequence[State]) -> list[int]:
    """Keep a room's events and some of its states; the numbers of these."""
    database = Database(url, WakeUps(), inline=True)
    made = list(room.known.values())
    for start in range(0, len(made), _A_BATCH):
        some = made[start : start + _A_BATCH]
        await database.write(partial(stored_events.save_outliers, outliers=some, rejected=NONE))
    room_id = room.room_id
    numbers = await database.write(
        lambda work: [room_state.save_state(work, room_id, one) for one in states]
    )
    database.close()
    return numbers


async def _resolved_from(url: str, room: History, state_ids: Sequence[int]) -> float:
    database = Database(url, WakeUps(), inline=True)  # which remembers nothing
    started = time.perf_counter()
    await database.write(lambda work: state.resolve(work, room.room_id, room.version, state_ids))
    took = time.perf_counter() - started
    database.close()
    return took


def two_histories(
    version_id: str, length: int = HISTORY, keys: int = CONFLICTED
) -> tuple[History, list[State]]:
    """A room that parted long ago; all of its state changed on both sides, again and again."""
    room, begun = open_room(ROOM_VERSIONS[version_id], BOB, bob=50)
    sides = [dict(begun), dict(begun)]
    for side, own in enumerate(sides):
        for number in range(length):
            _happen(room, own, side, number, keys)
    differing = [key for key in sides[0] if sides[0][key] != sides[1].get(key)]
    assert len(differing) >= keys
    return room, sides


def _happen(room: History, own: State, side: int, number: int, keys: int) -> None:
    """Mostly state of no power; now and then join rules and power levels."""
    at = 10_000 + 2 * number + side
    sender, kind, key, content = (ALICE, BOB)[side], "org.example.state", "", _numbered(at)
    if number % 100 == 0:
        kind, content = "m.room.join_rules", _numbered(at) | {"join_rule": "public"}
    elif number % 50 == 1:
        kind, content = "m.room.power_levels", _powers(room, at)
    else:
        key = str(number % (keys + 1))  # every key has its turn
    event = room.event(kind, sender, key, content, own, at=at)
    own[event.key] = event.event_id


def _numbered(at: int) -> JsonObject:
    return {"n": at}


def _powers(room: History, at: int) -> JsonObject:
    users = {BOB: 50} if room.version.creators_are_above_all else {ALICE: 100, BOB: 50}
    return {"users": users, "notifications": {"n": at % 50}}


async def _storing() -> Row:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rooms.db"
        database = Database(f"sqlite:///{path}", WakeUps(), inline=True)
        room_id = await database.write(public_room)
        crowd = Crowd.of(SERVERS)
        await crowd.enter(database, room_id, MEMBERS)
        started = time.perf_counter()
        await crowd.talk(database, room_id, MEMBERS, SAID - MEMBERS)
        each_ms = (time.perf_counter() - started) / (SAID - MEMBERS) * MS
        database.close()
        with sqlite3.connect(path) as file:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = _size_of(Path(directory)) / SAID
    name = f"disk an event, {MEMBERS} members, {SAID} events"
    cpu = f"{each_ms:.2f} ms to take in"
    return Row(name, f"{size:.0f} B", cpu, f"< {WANTED_BYTES} B", is_met=size < WANTED_BYTES)


def _size_of(directory: Path) -> int:
    return sum(one.stat().st_size for one in directory.iterdir())


def public_room(work: UnitOfWork, version_id: str = "12") -> RoomId:
    """A room of Alice's that anybody may join."""
    own = Crowd.of(1).servers[0]
    local = LocalServer(own.server_name, own.event_key)
    alice = UserId(f"@alice:{own.server_name}")
    content = {"room_version": version_id}
    create = Draft(None, alice, "m.room.create", "", content, (), (), 1, BEGAN_MS)
    event = events.build(create, room_version(version_id), local.server_name, local.signing_key)
    room = appending.append(work, event, HERE).room
    begun: list[tuple[str, JsonObject, str]] = [
        ("m.room.member", {"membership": "join"}, alice),
        ("m.room.power_levels", {"users": {}}, ""),
        ("m.room.join_rules", {"join_rule": "public"}, ""),
    ]
    for kind, said, key in begun:
        intent = Intent(alice, kind, said, key)
        room = drafting.say(work, local, room, intent, BEGAN_MS)[1].room
    return room.room_id


async def _joining() -> list[Row]:
    """Bob joins, over loopback, a room of Alice's that has 50 servers and 5,000 events."""
    said = JOINED_SAID - SERVERS
    async with joining.full_room(SERVERS, said) as (alice, bob, room_id):
        began = time.perf_counter()
        await joining.join(bob, room_id, alice)
        joined = time.perf_counter()
        page = await bob.messages(room_id, limit=100)
        read = time.perf_counter()
        assert len(page["chunk"]) == 100
        numbers = await joining.numbers_said(bob, room_id)
        paged = time.perf_counter()
        assert numbers == list(range(said)), "every message is there once, in its order"
        found = await joining.search(bob, room_id, f"{OLD} word")
        searched = time.perf_counter()
        assert found == [OLD]
    name = f"join a room, {SERVERS} servers, {JOINED_SAID} events"
    took = joined - began
    return [
        Row(name, f"{took:.2f} s", "", f"< {WANTED_S:.0f} s", is_met=took < WANTED_S),
        Row("the last 100 messages of it", f"{read - joined:.2f} s"),
        Row("back to its first message", f"{paged - read:.2f} s"),
        Row("search for an old word in it", f"{searched - paged:.2f} s"),
    ]
