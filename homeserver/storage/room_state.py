"""States of rooms, each stored as its difference from another one.

A state is immutable and known by a number. A chain of differences stays shorter than a bound that
grows with the state, so that loading reads little and a large room is seldom written whole.
"""

from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    String,
    Table,
    bindparam,
    func,
    insert,
    select,
)

from homeserver.matrix import canonical_json
from homeserver.matrix.events import StateKey, StateMap
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.storage import caches, events, rooms
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

states = Table(
    "states",
    metadata,
    Column("state_id", BigInteger, primary_key=True, autoincrement=False),
    Column("room_id", String, nullable=False),
    # The state this one differs from; NULL: it is written whole.
    Column("parent_id", BigInteger),
    Column("chain_length", Integer, nullable=False),
    # JSON: [[type, state_key, event_id or null where the entry is gone], …]
    Column("changes", LargeBinary, nullable=False),
)

EMPTY: StateMap = MappingProxyType({})

_SHORTEST_CHAIN = 50
_LONGEST_CHAIN = 1_000

_ancestry = (
    select(states.c.state_id, states.c.parent_id, states.c.chain_length, states.c.changes)
    .where(states.c.state_id == bindparam("state_id"))
    .cte("ancestry", recursive=True)
)
_CHAIN = select(
    _ancestry.union_all(
        select(
            states.c.state_id, states.c.parent_id, states.c.chain_length, states.c.changes
        ).where(states.c.state_id == _ancestry.c.parent_id)
    )
)
_ONE = select(states.c.parent_id, states.c.chain_length, states.c.changes).where(
    states.c.state_id == bindparam("state_id")
)
_CHAIN_LENGTH = select(states.c.chain_length).where(states.c.state_id == bindparam("state_id"))
_STATE_AT = select(events.events.c.state_before).where(
    events.events.c.room_id == bindparam("room_id"),
    events.events.c.position == bindparam("position"),
    events.events.c.rank == 0,
)
_ROOM_STATE_AT = (
    select(events.events.c.room_state_after)
    .where(
        events.events.c.room_id == bindparam("room_id"),
        events.events.c.position <= bindparam("position"),
        events.events.c.rank == 0,
    )
    .order_by(events.events.c.position.desc())
    .limit(1)
)
_INSERT = insert(states)


def load_state(view: View, state_id: int) -> StateMap:
    """A whole state. The map is remembered and shared: never change it."""
    remembered = caches.of(view).states
    state = remembered.find(state_id)
    if state is None:
        state = _read(view, state_id)
        remembered.keep(state_id, state, len(state) + 1)
    return state


def save_state(work: UnitOfWork, room_id: RoomId, state: StateMap) -> int:
    """Keep a whole state and return its number."""
    return _insert(work, room_id, None, 0, {key: state[key] for key in state}, dict(state))


def save_change(
    work: UnitOfWork,
    room_id: RoomId,
    parent_id: int | None,
    changes: Mapping[StateKey, EventId | None],
) -> int:
    """Keep the state that differs from another one in these entries (None: gone)."""
    if parent_id is None:
        return save_state(work, room_id, {k: v for k, v in changes.items() if v is not None})
    state = dict(load_state(work, parent_id))
    for key, event_id in changes.items():
        if event_id is None:
            state.pop(key, None)
        else:
            state[key] = event_id
    length = 1 + (work.scalar(_CHAIN_LENGTH, {"state_id": parent_id}) or 0)
    if length > min(_LONGEST_CHAIN, _SHORTEST_CHAIN + len(state) // 4):
        return save_state(work, room_id, state)
    return _insert(work, room_id, parent_id, length, changes, state)


def save_resolved(work: UnitOfWork, room_id: RoomId, parent_id: int | None, state: StateMap) -> int:
    """Keep a whole state as its difference from one that is likely to be near it."""
    if parent_id is None:
        return save_state(work, room_id, state)
    changes = difference(load_state(work, parent_id), state)
    return save_change(work, room_id, parent_id, changes) if changes else parent_id


def difference(before: StateMap, after: StateMap) -> dict[StateKey, EventId | None]:
    """The entries that must be set, or taken away (None), to get from one state to another."""
    if before is after:
        return {}
    changes: dict[StateKey, EventId | None] = {
        key: event_id for key, event_id in after.items() if before.get(key) != event_id
    }
    changes.update((key, None) for key in before if key not in after)
    return changes


def current_state(view: View, room_id: RoomId) -> StateMap:
    """The room's state now; empty where we do not know the room."""
    room = rooms.find_room(view, room_id)
    return load_state(view, room.current_state_id) if room is not None else EMPTY


def state_before(view: View, event_id: EventId) -> StateMap | None:
    """The state an event happened in, where it is known exactly."""
    stored = events.find_event(view, event_id)
    if stored is None or stored.state_before is None:
        return None
    return load_state(view, stored.state_before)


def find_state_at(view: View, room_id: RoomId, position: int) -> int | None:
    """The number of the state before the live event at a position."""
    state_id: int | None = view.scalar(_STATE_AT, {"room_id": room_id, "position": position})
    return state_id


def find_room_state_at(view: View, room_id: RoomId, position: int) -> int | None:
    """The number of the room's current state as it was at a position."""
    state_id: int | None = view.scalar(_ROOM_STATE_AT, {"room_id": room_id, "position": position})
    return state_id


def forward_extremities(view: View, room_id: RoomId) -> tuple[EventId, ...]:
    """The newest events of the graph: those that the next event refers to."""
    room = rooms.find_room(view, room_id)
    return room.extremities if room is not None else ()


def _insert(
    work: UnitOfWork,
    room_id: RoomId,
    parent_id: int | None,
    length: int,
    changes: Mapping[StateKey, EventId | None],
    state: dict[StateKey, EventId],
) -> int:
    state_id = _next_id(work)
    work.execute(
        _INSERT,
        {
            "state_id": state_id,
            "room_id": room_id,
            "parent_id": parent_id,
            "chain_length": length,
            "changes": canonical_json.encode([[*key, changes[key]] for key in changes]),
        },
    )
    caches.of(work).states.keep(state_id, MappingProxyType(state), len(state) + 1)
    return state_id


def _next_id(work: UnitOfWork) -> int:
    """A number no state ever had, not even in a transaction that was rolled back."""
    remembered = caches.of(work)
    if remembered.next_state_id is None:
        remembered.next_state_id = 1 + (work.scalar(select(func.max(states.c.state_id))) or 0)
    state_id = remembered.next_state_id
    remembered.next_state_id += 1
    return state_id


def _read(view: View, state_id: int) -> StateMap:
    """From the nearest remembered parent, else from the whole chain."""
    row = view.one_or_none(_ONE, {"state_id": state_id})
    if row is None:
        raise LookupError(f"no state {state_id}")
    parent = caches.of(view).states.find(row.parent_id) if row.parent_id is not None else EMPTY
    if parent is not None:
        return _applied(dict(parent), [row.changes])
    rows = sorted(view.all(_CHAIN, {"state_id": state_id}), key=lambda one: one.chain_length)
    return _applied({}, [one.changes for one in rows])


def _applied(state: dict[StateKey, EventId], differences: list[bytes]) -> StateMap:
    for event_type, state_key, event_id in chain.from_iterable(
        canonical_json.decode(changes) for changes in differences
    ):
        if event_id is None:
            state.pop((event_type, state_key), None)
        else:
            state[event_type, state_key] = event_id
    return MappingProxyType(state)
