"""Events of rooms, and each room's timeline as one line.

A live event stands at its `position`, with rank 0. History that is fetched later stands directly
before the live event whose gap it fills: the same position, a rank below 0. Events without a
position are not shown: outliers (known as state or authority only), soft-failed, rejected ones.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    bindparam,
    or_,
    select,
    update,
)

from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import DeviceId, EventId, RoomId
from homeserver.storage import caches, event_rows, listing
from homeserver.storage.event_rows import Point, StoredEvent
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# Whoever reads events names these through here.
__all__ = ["Point", "StoredEvent"]

events = Table(
    "events",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("room_id", String, nullable=False),
    Column("version_id", String, nullable=False),
    Column("position", BigInteger),
    Column("rank", Integer, nullable=False),
    Column("depth", BigInteger, nullable=False),
    Column("is_ours", Boolean, nullable=False),
    Column("is_rejected", Boolean, nullable=False),
    Column("is_soft_failed", Boolean, nullable=False),
    # Something between this live event and the one before it is not known: sync stops here.
    Column("follows_gap", Boolean, nullable=False),
    # The room's state before and after the event in the graph: NULL where it is not known.
    Column("state_before", BigInteger),
    Column("state_after", BigInteger),
    # The room's current state as soon as this live event was in.
    Column("room_state_after", BigInteger),
    Column("redacted_by", String),
    # The device and transaction that made it, so that a repeated request makes no second one.
    Column("transaction_device", String),
    Column("transaction_id", String),
    # When its sender says that it was made, in milliseconds since 1970.
    Column("origin_server_ts", BigInteger),
    # The canonical bytes of the PDU; of a redacted event only what is left of it.
    Column("pdu", LargeBinary, nullable=False),
)
# Which events of this room come next, in either direction?
Index("ix_events_room_timeline", events.c.room_id, events.c.position, events.c.rank)
# Which rooms have changed?
Index("ix_events_position", events.c.position)
# Which event of this room was nearest to some moment? Which ones are older than they may be?
Index("ix_events_room_time", events.c.room_id, events.c.origin_server_ts)
# Has this device sent this transaction already?
Index("ix_events_transaction", events.c.transaction_device, events.c.transaction_id)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Some events in timeline order, and whether there are more before them.

    `state_before` is the room's state as the one before them left it, where that is at hand.
    """

    events: list[StoredEvent]
    has_more: bool
    state_before: int | None = None


_SELECT = select(*(events.c[name] for name in event_rows.COLUMNS))
_BY_IDS = _SELECT.where(listing.among(events.c.event_id, "event_ids"))
_BODIES = select(*(events.c[name] for name in event_rows.BODY)).where(
    listing.among(events.c.event_id, "event_ids")
)
_IN_ROOM = events.c.room_id == bindparam("room_id")
_NEWEST_FIRST = (events.c.position.desc(), events.c.rank.desc())
_LIVE_BETWEEN = (
    events.c.position > bindparam("after"),
    events.c.position <= bindparam("until"),
    events.c.rank == 0,
)
_SINCE = (
    _SELECT.where(_IN_ROOM, *_LIVE_BETWEEN)
    .order_by(events.c.position.desc())
    .limit(bindparam("limit"))
)
_CHANGED_ROOMS = select(events.c.room_id).where(*_LIVE_BETWEEN).distinct()
_BEFORE = (
    _SELECT.where(
        _IN_ROOM,
        events.c.position <= bindparam("position"),
        or_(events.c.position < bindparam("position"), events.c.rank <= bindparam("rank")),
    )
    .order_by(*_NEWEST_FIRST)
    .limit(bindparam("limit"))
)
_AFTER = (
    _SELECT.where(
        _IN_ROOM,
        events.c.position >= bindparam("position"),
        or_(events.c.position > bindparam("position"), events.c.rank > bindparam("rank")),
    )
    .order_by(events.c.position, events.c.rank)
    .limit(bindparam("limit"))
)
_BY_TRANSACTION = _SELECT.where(
    events.c.transaction_device == bindparam("device_id"),
    events.c.transaction_id == bindparam("transaction_id"),
    _IN_ROOM,
)
_REDACT = (
    update(events)
    .where(events.c.event_id == bindparam("target"))
    .values(pdu=bindparam("pdu"), redacted_by=bindparam("redacted_by"))
)


def save_event(work: UnitOfWork, stored: StoredEvent) -> None:
    """Keep an event, in place of what was known of it as an outlier."""
    work.upsert(events, event_rows.to_row(stored))
    _remember(work, stored.event, is_redacted=stored.redacted_by is not None)


def save_outliers(
    work: UnitOfWork, outliers: Collection[Event], rejected: frozenset[EventId]
) -> None:
    """Keep events that belong to a state or an auth chain; those already known stay as they are."""
    rows = [
        event_rows.to_row(StoredEvent(event, is_rejected=event.event_id in rejected))
        for event in outliers
    ]
    work.upsert_many(events, rows, changes=())


def replace_with_redacted(
    work: UnitOfWork, target: EventId, redacted: bytes, redacted_by: EventId
) -> None:
    """Keep only what a redaction leaves of an event."""
    work.execute(_REDACT, {"target": target, "pdu": redacted, "redacted_by": redacted_by})
    caches.drop_event(work, target)


def load_events(view: View, event_ids: Collection[EventId]) -> dict[EventId, StoredEvent]:
    """Everything known about these events; the unknown ones are missing from the answer."""
    if not event_ids:
        return {}
    rows = view.raw(_BY_IDS, {"event_ids": listing.values(event_ids)})
    return {stored.event.event_id: stored for stored in _stored(view, rows)}


def find_event(view: View, event_id: EventId) -> StoredEvent | None:
    """One event, if it is known."""
    return load_events(view, (event_id,)).get(event_id)


def load_bodies(view: View, event_ids: Collection[EventId]) -> dict[EventId, Event]:
    """The events alone, for auth rules and state resolution: no query for remembered ones.

    An event redacted a moment ago may come back unredacted; what the rules look at is the same.
    """
    remembered = caches.of(view).events
    found: dict[EventId, Event] = {}
    for event_id in event_ids:
        event = remembered.find((event_id, False)) or remembered.find((event_id, True))
        if event is not None:
            found[event_id] = event
    missing = [event_id for event_id in event_ids if event_id not in found]
    if missing:
        for row in view.raw(_BODIES, {"event_ids": listing.values(missing)}):
            event = event_rows.event_of(remembered, *row)
            found[event.event_id] = event
    return found


def timeline_since(view: View, room_id: RoomId, after: int, until: int, limit: int) -> Timeline:
    """The newest live events after one position and up to another, oldest first.

    The line ends at the newest event that follows a gap: what lies before it is for pages.
    """
    rows = view.raw(
        _SINCE, {"room_id": room_id, "after": after, "until": until, "limit": limit + 1}
    )
    shown = rows[:limit]
    gap = next((index for index, row in enumerate(shown) if row[event_rows.FOLLOWS_GAP]), None)
    if gap is not None:
        return Timeline(_stored(view, shown[: gap + 1])[::-1], has_more=True)
    # Whoever reads a whole room reads many: what is remembered of others is worth more.
    found = _stored(view, shown, keeps=after > 0)[::-1]
    before = rows[limit][event_rows.ROOM_STATE_AFTER] if len(rows) > limit else None
    return Timeline(found, has_more=len(rows) > limit, state_before=before)


def timeline_before(view: View, room_id: RoomId, point: Point, limit: int) -> list[StoredEvent]:
    """The events up to a point of the timeline, newest first."""
    return _stored(view, view.raw(_BEFORE, _at(room_id, point, limit)))


def timeline_after(view: View, room_id: RoomId, point: Point, limit: int) -> list[StoredEvent]:
    """The events after a point of the timeline, oldest first."""
    return _stored(view, view.raw(_AFTER, _at(room_id, point, limit)))


def changed_rooms(view: View, after: int, until: int) -> set[RoomId]:
    """The rooms with live events after one position and up to another."""
    return {row.room_id for row in view.all(_CHANGED_ROOMS, {"after": after, "until": until})}


def sent_in_transaction(
    view: View, device_id: DeviceId, transaction_id: str, room_id: RoomId
) -> list[StoredEvent]:
    """The events that a device's earlier requests with this transaction ID made in a room."""
    rows = view.raw(
        _BY_TRANSACTION,
        {"device_id": device_id, "transaction_id": transaction_id, "room_id": room_id},
    )
    return list(_stored(view, rows))


def _at(room_id: RoomId, point: Point, limit: int) -> dict[str, Any]:
    return {"room_id": room_id, "position": point.position, "rank": point.rank, "limit": limit}


def _stored(
    view: View, rows: Sequence[tuple[Any, ...]], *, keeps: bool = True
) -> list[StoredEvent]:
    redactions = load_bodies(view, event_rows.redactions_of(rows))
    return event_rows.from_rows(rows, redactions, caches.of(view).events if keeps else None)


def _remember(view: View, event: Event, *, is_redacted: bool) -> None:
    caches.of(view).events.keep((event.event_id, is_redacted), event)
