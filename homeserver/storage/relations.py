"""Which events refer to which: relations (edits, threads, reactions) and redactions.

A redaction is kept even if its target is not known yet, and takes effect when that arrives.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    String,
    Table,
    and_,
    bindparam,
    or_,
    select,
)

from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.storage import events
from homeserver.storage.events import Point, StoredEvent
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

relations = Table(
    "relations",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("relates_to", String, nullable=False),
    Column("rel_type", String, nullable=False),
    Column("type", String, nullable=False),
    Column("sender", String, nullable=False),
    Column("aggregation_key", String),
    Column("origin_server_ts", BigInteger, nullable=False),
)
# What relates to this event, and how?
Index("ix_relations_target", relations.c.relates_to, relations.c.rel_type)

redactions = Table(
    "redactions",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("redacts", String, nullable=False, index=True),
    Column("room_id", String, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Relation:
    """One event's `m.relates_to`, as far as it has a relationship type."""

    event_id: EventId
    relates_to: EventId
    rel_type: str
    type: str
    sender: UserId
    aggregation_key: str | None
    origin_server_ts: int


@dataclass(frozen=True, slots=True)
class ThreadSummary:
    """How many events a thread has and which is its newest."""

    root: EventId
    count: int
    latest: EventId
    # Whether the reader wrote in it, or began it.
    has_reader: bool


_table = events.events
_shown = (
    select(relations, _table.c.position, _table.c.rank)
    .join(_table, _table.c.event_id == relations.c.event_id)
    .where(_table.c.position.is_not(None), _table.c.redacted_by.is_(None))
)
_REPLACEMENTS = _shown.where(
    relations.c.relates_to.in_(bindparam("targets", expanding=True)),
    relations.c.rel_type == "m.replace",
).order_by(relations.c.origin_server_ts, relations.c.event_id)
_THREADED = _shown.where(
    relations.c.relates_to.in_(bindparam("targets", expanding=True)),
    relations.c.rel_type == "m.thread",
)
_ANNOTATION = _shown.where(
    relations.c.relates_to == bindparam("target"),
    relations.c.rel_type == "m.annotation",
    relations.c.type == bindparam("type"),
    relations.c.sender == bindparam("sender"),
    relations.c.aggregation_key == bindparam("key"),
).limit(1)
_PARENT = select(relations.c.relates_to, relations.c.rel_type).where(
    relations.c.event_id == bindparam("event_id")
)
_PENDING = select(redactions.c.event_id).where(
    redactions.c.redacts == bindparam("target"), redactions.c.room_id == bindparam("room_id")
)


def save_relation(work: UnitOfWork, relation: Relation) -> None:
    """Keep what an event relates to."""
    work.upsert(relations, asdict(relation), changes=())


def save_redaction(work: UnitOfWork, event_id: EventId, redacts: EventId, room_id: RoomId) -> None:
    """Keep which event a redaction is about."""
    values = {"event_id": event_id, "redacts": redacts, "room_id": room_id}
    work.upsert(redactions, values, changes=())


def redactions_of(view: View, room_id: RoomId, target: EventId) -> list[EventId]:
    """The redactions that came for an event."""
    rows = view.all(_PENDING, {"target": target, "room_id": room_id})
    return [row.event_id for row in rows]


def replacements_of(view: View, targets: Collection[EventId]) -> dict[EventId, list[Relation]]:
    """The edits of these events, oldest first; which of them count is for the caller to say."""
    found: dict[EventId, list[Relation]] = {}
    for row in view.all(_REPLACEMENTS, {"targets": list(targets)}) if targets else ():
        relation = Relation(*row[: len(Relation.__slots__)])
        found.setdefault(relation.relates_to, []).append(relation)
    return found


def parent_of(view: View, event_id: EventId) -> tuple[EventId, str] | None:
    """The event that an event relates to, and how."""
    row = view.one_or_none(_PARENT, {"event_id": event_id})
    return None if row is None else (row.relates_to, row.rel_type)


def is_annotated(view: View, target: str, sender: UserId, event_type: str, key: str) -> bool:
    """Whether somebody has annotated an event in this way, and not taken it back."""
    wanted = {"target": target, "sender": sender, "type": event_type, "key": key}
    return view.one_or_none(_ANNOTATION, wanted) is not None


def thread_summaries(
    view: View, targets: Collection[EventId], reader: UserId
) -> dict[EventId, ThreadSummary]:
    """What is to be said about the threads that start at these events."""
    newest: dict[EventId, tuple[Point, EventId]] = {}
    senders: dict[EventId, list[UserId]] = {}
    for row in view.all(_THREADED, {"targets": list(targets)}) if targets else ():
        senders.setdefault(row.relates_to, []).append(row.sender)
        candidate = (Point(row.position, row.rank), row.event_id)
        newest[row.relates_to] = max(newest.get(row.relates_to, candidate), candidate)
    return {
        root: ThreadSummary(root, len(who), newest[root][1], has_reader=reader in who)
        for root, who in senders.items()
    }


def related_events(
    view: View,
    target: EventId,
    wanted: tuple[str | None, str | None],
    start: Point | None,
    limit: int,
    *,
    is_backwards: bool,
) -> list[StoredEvent]:
    """One page of the events that relate to an event, of a relationship and event type."""
    rel_type, event_type = wanted
    query = _shown.where(relations.c.relates_to == target)
    if rel_type is not None:
        query = query.where(relations.c.rel_type == rel_type)
    if event_type is not None:
        query = query.where(relations.c.type == event_type)
    if start is not None:
        query = query.where(_from(start, is_backwards=is_backwards))
    order = (_table.c.position, _table.c.rank)
    ordered = query.order_by(*(column.desc() for column in order) if is_backwards else order)
    rows = view.all(ordered.limit(limit))
    found = events.load_events(view, [row.event_id for row in rows])
    return [found[row.event_id] for row in rows]


def _from(start: Point, *, is_backwards: bool) -> ColumnElement[bool]:
    position, rank = _table.c.position, _table.c.rank
    if is_backwards:
        return or_(position < start.position, and_(position == start.position, rank <= start.rank))
    return or_(position > start.position, and_(position == start.position, rank > start.rank))
