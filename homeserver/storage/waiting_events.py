"""Events that came from peers and have no place yet, because we lack what they rest on.

A peer's own events of a room follow each other, so the newest lead to all others: where there are
too many, the oldest can be asked for again and are let go. No peer's events crowd out another's.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    func,
    select,
    update,
)

from homeserver.matrix import canonical_json
from homeserver.matrix import events as matrix_events
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.matrix.room_versions import RoomVersion
from homeserver.storage import wake_ups
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

waiting_events = Table(
    "waiting_events",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("room_id", String, nullable=False),
    # Who sent it, and so surely has what it rests on.
    Column("peer", String, nullable=False),
    Column("depth", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    # Why it could not be placed when it was tried last: the name of an error.
    Column("reason", String, nullable=False),
    Column("pdu", LargeBinary, nullable=False),
)
# Which events of this room wait, and for whom?
Index("ix_waiting_events_room", waiting_events.c.room_id, waiting_events.c.peer)

MOST_OF_A_PEER = 500
MOST_BYTES_OF_A_ROOM = 8 << 20
# Why events wait that were not tried, because others of their room were.
UNKNOWN = "MissingEvents"
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where some events came from, when, and why they wait."""

    room_id: RoomId
    peer: ServerName
    since: int
    reason: str
    most: int = MOST_OF_A_PEER  # how many events of this peer may wait in this room


def _turn_of(first: ColumnElement[Any]) -> ColumnElement[int]:
    """Which of its peer's events one is, so that peers take turns."""
    return func.row_number().over(
        partition_by=waiting_events.c.peer, order_by=(first, waiting_events.c.event_id)
    )


_IN_TURNS = (
    select(
        waiting_events.c.peer,
        waiting_events.c.pdu,
        _turn_of(waiting_events.c.depth.asc()).label("turn"),
    )
    .where(waiting_events.c.room_id == bindparam("room_id"))
    .subquery()
)
_OF_ROOM = (
    select(_IN_TURNS.c.peer, _IN_TURNS.c.pdu)
    .order_by(_IN_TURNS.c.turn, _IN_TURNS.c.peer)
    .limit(bindparam("limit"))
)
_BYTES = select(func.coalesce(func.sum(func.length(waiting_events.c.pdu)), 0)).where(
    waiting_events.c.room_id == bindparam("room_id")
)
_SIZES = (
    select(waiting_events.c.event_id, func.length(waiting_events.c.pdu).label("size"))
    .where(waiting_events.c.room_id == bindparam("room_id"))
    .order_by(_turn_of(waiting_events.c.depth.desc()), waiting_events.c.peer)
)
_PEERS = (
    select(waiting_events.c.peer)
    .where(waiting_events.c.room_id == bindparam("room_id"))
    .distinct()
    .order_by(waiting_events.c.peer)
)
_ROOMS = select(waiting_events.c.room_id).distinct().order_by(waiting_events.c.room_id)
_TOO_MANY = (
    select(waiting_events.c.event_id)
    .where(
        waiting_events.c.room_id == bindparam("room_id"), waiting_events.c.peer == bindparam("peer")
    )
    .order_by(waiting_events.c.depth.desc(), waiting_events.c.event_id)
    .offset(bindparam("most"))
)
_REASONS = select(waiting_events.c.event_id, waiting_events.c.reason).where(
    waiting_events.c.room_id == bindparam("room_id")
)
_UNANSWERED = (
    select(waiting_events.c.peer).where(waiting_events.c.reason == "PeerUnreachable").distinct()
)
_NOTE = (
    update(waiting_events)
    .where(waiting_events.c.event_id.in_(bindparam("event_ids", expanding=True)))
    .values(reason=bindparam("why"))
)
_DELETE = delete(waiting_events).where(
    waiting_events.c.event_id.in_(bindparam("event_ids", expanding=True))
)


def save_events(work: UnitOfWork, arrival: Arrival, several: Iterable[Event]) -> None:
    """Keep events that cannot be placed, the newest of each peer and room."""
    rows = [
        {
            "event_id": event.event_id,
            "room_id": arrival.room_id,
            "peer": arrival.peer,
            "depth": event.depth,
            "since": arrival.since,
            "reason": arrival.reason,
            "pdu": canonical_json.encode_checked(event.pdu),
        }
        for event in several
    ]
    work.upsert_many(waiting_events, rows, changes=("reason",))
    kept = {"room_id": arrival.room_id, "peer": arrival.peer, "most": arrival.most}
    delete_events(work, [row.event_id for row in work.all(_TOO_MANY, kept)])
    _keep_within_bytes(work, arrival.room_id)
    work.wake(wake_ups.WAITING_EVENTS)


def _keep_within_bytes(work: UnitOfWork, room_id: RoomId) -> None:
    """Let go of what is too much for a room: the peers keep their newest, in turns."""
    held = {"room_id": room_id}
    if (work.scalar(_BYTES, held) or 0) <= MOST_BYTES_OF_A_ROOM:
        return
    kept, let_go = 0, []
    for row in work.all(_SIZES, held):
        kept += row.size
        if kept > MOST_BYTES_OF_A_ROOM:
            let_go.append(EventId(row.event_id))
    delete_events(work, let_go)


def save_reason(work: UnitOfWork, event_ids: Collection[EventId], reason: str) -> None:
    """Note why these still have no place."""
    work.execute(_NOTE, {"event_ids": list(event_ids), "why": reason or UNKNOWN})


def events_of(
    view: View, room_id: RoomId, version: RoomVersion, limit: int
) -> list[tuple[ServerName, Event]]:
    """What waits in a room, each with the peer that it came from: each one's oldest, in turns."""
    rows = view.all(_OF_ROOM, {"room_id": room_id, "limit": limit})
    return [
        (ServerName(row.peer), matrix_events.parse(canonical_json.decode(row.pdu), version))
        for row in rows
    ]


def reasons_of(view: View, room_id: RoomId) -> dict[EventId, str]:
    """Why the events of a room wait."""
    return {EventId(row.event_id): row.reason for row in view.all(_REASONS, {"room_id": room_id})}


def rooms_with_waiting(view: View) -> list[RoomId]:
    """The rooms in which something waits."""
    return [RoomId(row.room_id) for row in view.all(_ROOMS)]


def peers_unanswered(view: View) -> frozenset[ServerName]:
    """The peers whose events wait because nobody could be reached when they were tried last."""
    return frozenset(ServerName(row.peer) for row in view.all(_UNANSWERED))


def peers_of(view: View, room_id: RoomId) -> list[ServerName]:
    """The peers whose events of a room wait."""
    return [ServerName(row.peer) for row in view.all(_PEERS, {"room_id": room_id})]


def delete_events(work: UnitOfWork, event_ids: Collection[EventId]) -> None:
    """These have their place now, or were refused it."""
    gone = list(event_ids)
    for start in range(0, len(gone), _AT_ONCE):
        work.execute(_DELETE, {"event_ids": gone[start : start + _AT_ONCE]})


def delete_peer(
    work: UnitOfWork, peer: ServerName, room_id: RoomId | None = None, before: int | None = None
) -> None:
    """Let go of what came from a peer: all of it, or of one room, or before a moment."""
    gone = delete(waiting_events).where(waiting_events.c.peer == peer)
    if room_id is not None:
        gone = gone.where(waiting_events.c.room_id == room_id)
    if before is not None:
        gone = gone.where(waiting_events.c.since < before)
    work.execute(gone)


def delete_room(work: UnitOfWork, room_id: RoomId) -> None:
    """Nothing of a room is waited for any more."""
    work.execute(delete(waiting_events).where(waiting_events.c.room_id == room_id))
