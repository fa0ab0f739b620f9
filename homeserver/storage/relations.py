"""Which events refer to which: relations (edits, threads, reactions) and redactions.

A redaction is kept even if its target is not known yet, and takes effect when that arrives.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass

from sqlalchemy import (
    CTE,
    BigInteger,
    Column,
    ColumnElement,
    Index,
    String,
    Table,
    and_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
)

from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.storage import events, listing
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


@dataclass(frozen=True, slots=True)
class RelationsPage:
    """Which relations of an event are asked for."""

    rel_type: str | None
    event_type: str | None
    start: Point | None
    stop: Point | None
    limit: int
    is_backwards: bool
    depth: int


@dataclass(frozen=True, slots=True)
class Thread:
    """The event with which a thread begins, and where its newest one stands."""

    root: StoredEvent
    latest: Point
    # Whether the reader wrote in it, or began it.
    has_reader: bool


_table = events.events
_root = _table.alias("root_event")
# Anybody can name any event; only what was said in its room relates to it.
_shown = (
    select(relations, _table.c.position, _table.c.rank)
    .join(_table, _table.c.event_id == relations.c.event_id)
    .join(_root, _root.c.event_id == relations.c.relates_to)
    .where(_table.c.position.is_not(None), _table.c.redacted_by.is_(None))
    .where(_root.c.room_id == _table.c.room_id)
)
_AMONG = listing.among(relations.c.relates_to, "targets")
_TARGETS = select(relations.c.relates_to).where(_AMONG).distinct()
_REPLACEMENTS = _shown.where(_AMONG, relations.c.rel_type == "m.replace").order_by(
    relations.c.origin_server_ts, relations.c.event_id
)
_THREADED = _shown.where(_AMONG, relations.c.rel_type == "m.thread")
_IN_THREADS = (
    select(_table.c.event_id)
    .join(relations, relations.c.event_id == _table.c.event_id)
    .where(
        _table.c.room_id == bindparam("room_id"),
        _table.c.position > bindparam("after"),
        _table.c.position <= bindparam("until"),
        _table.c.rank == 0,
        relations.c.rel_type == "m.thread",
    )
    .order_by(_table.c.position.desc())
    .limit(bindparam("limit"))
)
_REFERENCES = _shown.where(_AMONG, relations.c.rel_type == "m.reference").order_by(
    _table.c.position, _table.c.rank
)
_MOST_REFERENCES = 100
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
_newest = (
    select(
        relations.c.relates_to.label("root"),
        _table.c.position,
        _table.c.rank,
        func.row_number()
        .over(
            partition_by=relations.c.relates_to,
            order_by=(_table.c.position.desc(), _table.c.rank.desc()),
        )
        .label("age"),
    )
    .join(_table, _table.c.event_id == relations.c.event_id)
    .where(
        relations.c.rel_type == "m.thread",
        _table.c.room_id == bindparam("room_id"),
        _table.c.position.is_not(None),
        _table.c.redacted_by.is_(None),
    )
    .subquery()
)
_written = relations.alias("written")
_has_written = exists().where(
    _written.c.relates_to == _newest.c.root,
    _written.c.rel_type == "m.thread",
    _written.c.sender == bindparam("reader"),
)
_THREADS = (
    select(_newest.c.root, _newest.c.position, _newest.c.rank, _has_written.label("has_written"))
    .join(_root, _root.c.event_id == _newest.c.root)
    .where(
        _newest.c.age == 1,
        _root.c.room_id == bindparam("room_id"),
        _root.c.position.is_not(None),
        or_(
            _newest.c.position < bindparam("position"),
            and_(_newest.c.position == bindparam("position"), _newest.c.rank <= bindparam("rank")),
        ),
    )
    .order_by(_newest.c.position.desc(), _newest.c.rank.desc())
    .limit(bindparam("limit"))
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
    return [one.event_id for one in view.all(_PENDING, {"target": target, "room_id": room_id})]


def targets_among(view: View, event_ids: Collection[EventId]) -> set[EventId]:
    """Those of these events that anything relates to: for most timelines none."""
    rows = view.raw(_TARGETS, {"targets": listing.values(event_ids)}) if event_ids else ()
    return {target for (target,) in rows}


def replacements_of(view: View, targets: Collection[EventId]) -> dict[EventId, list[Relation]]:
    """The edits of these events, oldest first; which of them count is for the caller to say."""
    found: dict[EventId, list[Relation]] = {}
    for row in view.all(_REPLACEMENTS, {"targets": listing.values(targets)}) if targets else ():
        relation = Relation(*row[: len(Relation.__slots__)])
        found.setdefault(relation.relates_to, []).append(relation)
    return found


def references_of(view: View, targets: Collection[EventId]) -> dict[EventId, list[EventId]]:
    """The events that refer to these ones with `m.reference`, oldest first, so many at most."""
    found: dict[EventId, list[EventId]] = {}
    for row in view.all(_REFERENCES, {"targets": listing.values(targets)}) if targets else ():
        referring = found.setdefault(row.relates_to, [])
        if len(referring) < _MOST_REFERENCES:
            referring.append(row.event_id)
    return found


def relating_to(view: View, targets: Collection[EventId]) -> list[Relation]:
    """Everything that relates to these events and was not taken back."""
    rows = view.all(_shown.where(_AMONG), {"targets": listing.values(targets)})
    return [Relation(*row[: len(Relation.__slots__)]) for row in rows]


def parent_of(view: View, event_id: EventId) -> tuple[EventId, str] | None:
    """The event that an event relates to, and how."""
    row = view.one_or_none(_PARENT, {"event_id": event_id})
    return None if row is None else (row.relates_to, row.rel_type)


def is_annotated(view: View, target: str, sender: UserId, event_type: str, key: str) -> bool:
    """Whether somebody has annotated an event in this way, and not taken it back."""
    wanted = {"target": target, "sender": sender, "type": event_type, "key": key}
    return view.one_or_none(_ANNOTATION, wanted) is not None


def thread_summaries(
    view: View,
    targets: Collection[EventId],
    reader: UserId,
    is_heard: Callable[[EventId, str, int], bool] = lambda _root, _sender, _position: True,
) -> dict[EventId, ThreadSummary]:
    """What is to be said about the threads that start at these events.

    `is_heard` says by root, sender and position whether an event counts.
    """
    newest: dict[EventId, tuple[Point, EventId]] = {}
    senders: dict[EventId, list[UserId]] = {}
    for row in view.all(_THREADED, {"targets": listing.values(targets)}) if targets else ():
        if not is_heard(row.relates_to, row.sender, row.position):
            continue
        senders.setdefault(row.relates_to, []).append(row.sender)
        candidate = (Point(row.position, row.rank), row.event_id)
        newest[row.relates_to] = max(newest.get(row.relates_to, candidate), candidate)
    return {
        root: ThreadSummary(root, len(who), newest[root][1], has_reader=reader in who)
        for root, who in senders.items()
    }


def related_events(
    view: View, room_id: RoomId, target: EventId, page: RelationsPage
) -> list[StoredEvent]:
    """One page of the events that relate to an event, directly or through others."""
    related = _related_to(target, page.depth)
    query = (
        select(_table.c.event_id)
        .join(relations, relations.c.event_id == _table.c.event_id)
        .where(
            _table.c.event_id.in_(select(related.c.event_id)),
            _table.c.room_id == room_id,
            _table.c.position.is_not(None),
            _table.c.redacted_by.is_(None),
        )
    )
    if page.rel_type is not None:
        query = query.where(relations.c.rel_type == page.rel_type)
    if page.event_type is not None:
        query = query.where(relations.c.type == page.event_type)
    if page.start is not None:
        query = query.where(_beyond(page.start, is_backwards=page.is_backwards))
    if page.stop is not None:
        query = query.where(_beyond(page.stop, is_backwards=not page.is_backwards))
    order = (_table.c.position, _table.c.rank)
    ordered = query.order_by(*(one.desc() for one in order) if page.is_backwards else order)
    rows = view.all(ordered.limit(page.limit))
    found = events.load_events(view, [row.event_id for row in rows])
    return [found[row.event_id] for row in rows]


def threads_before(
    view: View, room_id: RoomId, start: Point, limit: int, reader: UserId
) -> list[Thread]:
    """The threads of a room whose newest event stands at or before a point, that one's first."""
    key = {"room_id": room_id, "position": start.position, "rank": start.rank, "limit": limit}
    rows = view.all(_THREADS, key | {"reader": reader})
    found = events.load_events(view, [row.root for row in rows])
    return [
        Thread(
            found[row.root],
            Point(row.position, row.rank),
            bool(row.has_written) or found[row.root].event.sender == reader,
        )
        for row in rows
    ]


def _related_to(target: EventId, depth: int) -> CTE:
    """The IDs of what relates to an event over so many steps at most."""
    first = (
        select(relations.c.event_id, literal(1).label("steps"))
        .where(relations.c.relates_to == target)
        .cte("related", recursive=True)
    )
    further = select(relations.c.event_id, first.c.steps + 1).where(
        relations.c.relates_to == first.c.event_id, first.c.steps < depth
    )
    return first.union(further)


def _beyond(point: Point, *, is_backwards: bool) -> ColumnElement[bool]:
    """On the far side of a point, which stands directly after an event."""
    position, rank = _table.c.position, _table.c.rank
    if is_backwards:
        return or_(position < point.position, and_(position == point.position, rank <= point.rank))
    return or_(position > point.position, and_(position == point.position, rank > point.rank))


def threaded_between(
    view: View, room_id: RoomId, after: int, until: int, limit: int
) -> list[StoredEvent]:
    """The newest live events of threads after one position and up to another, oldest first."""
    span = {"room_id": room_id, "after": after, "until": until, "limit": limit}
    ids = [row.event_id for row in view.all(_IN_THREADS, span)]
    found = events.load_events(view, ids)
    return [found[event_id] for event_id in reversed(ids) if event_id in found]
