"""Holes in rooms' graphs: events that some event refers to and that we do not have."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Column, Index, String, Table, bindparam, delete, func, select

from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.storage import events
from homeserver.storage.events import Point
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

gaps = Table(
    "gaps",
    metadata,
    Column("missing_event_id", String, primary_key=True),
    # The event that refers to it.
    Column("event_id", String, primary_key=True),
    Column("room_id", String, nullable=False),
)
# What is missing before this event?
Index("ix_gaps_event", gaps.c.event_id)


@dataclass(frozen=True, slots=True)
class Gap:
    """An event that we lack, and the place in the timeline directly before which it belongs."""

    missing: EventId
    event_id: EventId
    before: Point


_OF_EVENTS = (
    select(gaps, events.events.c.position, events.events.c.rank)
    .join(events.events, events.events.c.event_id == gaps.c.event_id)
    .where(
        gaps.c.event_id.in_(bindparam("event_ids", expanding=True)),
        events.events.c.position.is_not(None),
    )
)
_OF_ROOM = (
    select(gaps, events.events.c.position, events.events.c.rank)
    .join(events.events, events.events.c.event_id == gaps.c.event_id)
    .where(gaps.c.room_id == bindparam("room_id"), events.events.c.position.is_not(None))
    .order_by(events.events.c.position.desc(), events.events.c.rank.desc())
    .limit(bindparam("limit"))
)
_LOWEST_RANK = select(func.min(events.events.c.rank)).where(
    events.events.c.room_id == bindparam("room_id"),
    events.events.c.position == bindparam("position"),
)
_FILL = delete(gaps).where(gaps.c.missing_event_id == bindparam("found"))
_WAITING_FOR = (
    select(gaps.c.missing_event_id, func.min(events.events.c.position).label("position"))
    .join(events.events, events.events.c.event_id == gaps.c.event_id)
    .where(
        gaps.c.missing_event_id.in_(bindparam("event_ids", expanding=True)),
        events.events.c.position.is_not(None),
    )
    .group_by(gaps.c.missing_event_id)
)
_IS_MISSING = (
    select(gaps.c.event_id).where(gaps.c.missing_event_id == bindparam("event_id")).limit(1)
)


def save_gaps(
    work: UnitOfWork, room_id: RoomId, event_id: EventId, missing: Collection[EventId]
) -> None:
    """Note what an event refers to and we lack."""
    rows = [{"missing_event_id": one, "event_id": event_id, "room_id": room_id} for one in missing]
    work.upsert_many(gaps, rows, changes=())


def close_gaps(work: UnitOfWork, found: EventId) -> None:
    """An event that was missing is here."""
    work.execute(_FILL, {"found": found})


def is_missing(view: View, event_id: EventId) -> bool:
    """Whether some event we have refers to this one and waits for it."""
    return view.scalar(_IS_MISSING, {"event_id": event_id}) is not None


def positions_waiting_for(view: View, event_ids: Collection[EventId]) -> dict[EventId, int]:
    """The live events of the timeline before which these missing ones belong, by position."""
    rows = view.all(_WAITING_FOR, {"event_ids": list(event_ids)}) if event_ids else ()
    return {row.missing_event_id: row.position for row in rows}


def gaps_before(view: View, event_ids: Collection[EventId]) -> list[Gap]:
    """What is missing directly before these events of a timeline."""
    if not event_ids:
        return []
    return [
        Gap(row.missing_event_id, row.event_id, Point(row.position, row.rank))
        for row in view.all(_OF_EVENTS, {"event_ids": list(event_ids)})
    ]


def gaps_of(view: View, room_id: RoomId, limit: int) -> list[Gap]:
    """A room's holes, the newest first."""
    return [
        Gap(row.missing_event_id, row.event_id, Point(row.position, row.rank))
        for row in view.all(_OF_ROOM, {"room_id": room_id, "limit": limit})
    ]


def next_rank_before(view: View, room_id: RoomId, position: int) -> int:
    """The first free rank directly before a live event, for history that fills its gap."""
    lowest: int = view.scalar(_LOWEST_RANK, {"room_id": room_id, "position": position}) or 0
    return lowest - 1
