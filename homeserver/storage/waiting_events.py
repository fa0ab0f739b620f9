"""Events that came from peers and have no place yet, because we lack what they rest on.

A peer's own events of a room follow each other, so the newest lead to all others: where there are
too many, the oldest can be asked for again and are let go.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
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
# Why events wait that were not tried, because others of their room were.
UNKNOWN = "MissingEvents"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where some events came from, when, and why they wait."""

    room_id: RoomId
    peer: ServerName
    since: int
    reason: str


_OF_ROOM = (
    select(waiting_events.c.peer, waiting_events.c.pdu)
    .where(waiting_events.c.room_id == bindparam("room_id"))
    .order_by(waiting_events.c.depth, waiting_events.c.event_id)
    .limit(bindparam("limit"))
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
    kept = {"room_id": arrival.room_id, "peer": arrival.peer, "most": MOST_OF_A_PEER}
    delete_events(work, [row.event_id for row in work.all(_TOO_MANY, kept)])
    work.wake(wake_ups.WAITING_EVENTS)


def save_reason(work: UnitOfWork, event_ids: Collection[EventId], reason: str) -> None:
    """Note why these still have no place."""
    work.execute(_NOTE, {"event_ids": list(event_ids), "why": reason or UNKNOWN})


def events_of(
    view: View, room_id: RoomId, version: RoomVersion, limit: int
) -> list[tuple[ServerName, Event]]:
    """What waits in a room, the oldest first, each with the peer that it came from."""
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


def delete_events(work: UnitOfWork, event_ids: Collection[EventId]) -> None:
    """These have their place now, or were refused it."""
    if event_ids:
        work.execute(_DELETE, {"event_ids": list(event_ids)})


def delete_room(work: UnitOfWork, room_id: RoomId) -> None:
    """Nothing of a room is waited for any more."""
    work.execute(delete(waiting_events).where(waiting_events.c.room_id == room_id))
