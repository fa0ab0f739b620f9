"""What the owner should be told in the Connections room, in the order it happened."""

from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    LargeBinary,
    Row,
    String,
    Table,
    bindparam,
    delete,
    select,
)

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.storage import wake_ups
from homeserver.storage.tables import RowNumber, metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

notices = Table(
    "notices",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", String, nullable=False),  # request, connected, warning, alarm, expired, …
    Column("node_id", String, nullable=False, index=True),
    Column("content", LargeBinary, nullable=False),
    Column("is_told", Boolean, nullable=False),
    Column("event_id", String, index=True),  # the message that told it: what an answer refers to
    sqlite_autoincrement=True,
)

# The room in which this server speaks to its owner, and how far the answers there are read.
notice_rooms = Table(
    "notice_rooms",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("room_id", String, nullable=False),
    Column("read_until", BigInteger, nullable=False),
)

_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the owner should know or decide."""

    number: int
    at: int
    kind: str
    node_id: str
    content: JsonObject
    is_told: bool
    event_id: EventId | None = None


@dataclass(frozen=True, slots=True)
class NoticeRoom:
    """Where the owner is told things; `read_until` is the position of the last answer read."""

    user_id: UserId
    room_id: RoomId
    read_until: int


_ROOM = select(notice_rooms).where(notice_rooms.c.user_id == bindparam("user_id"))
_UNTOLD = (
    select(notices)
    .where(notices.c.is_told.is_(False))
    .order_by(notices.c.number)
    .limit(bindparam("limit"))
)
_DELETE_UP_TO = delete(notices).where(notices.c.number <= bindparam("number_"))


def tell_owner(work: UnitOfWork, at: int, kind: str, node_id: str, content: JsonObject) -> None:
    """Add a notice and wake whoever shows them. Only the newest thousand are kept."""
    number = work.insert_numbered(
        notices,
        at=at,
        kind=kind,
        node_id=node_id,
        content=orjson.dumps(content),
        is_told=False,
    )
    work.execute(_DELETE_UP_TO, {"number_": number - _MOST})
    work.wake(wake_ups.NOTICES)


def was_told(view: View, kind: str, node_id: str) -> bool:
    """Whether there is a notice of this kind about a node."""
    about = (notices.c.node_id == node_id, notices.c.kind == kind)
    return view.scalar(select(notices.c.number).where(*about).limit(1)) is not None


def untold(view: View, limit: int = 100) -> list[Notice]:
    """Notices that were not shown yet, oldest first."""
    return [_notice(row) for row in view.all(_UNTOLD, {"limit": limit})]


def newest(view: View, limit: int = 100) -> list[Notice]:
    """The newest notices, newest first."""
    query = select(notices).order_by(notices.c.number.desc()).limit(limit)
    return [_notice(row) for row in view.all(query)]


def mark_told(work: UnitOfWork, number: int, event_id: EventId | None = None) -> None:
    """The owner has been shown this notice, by a message of that ID."""
    told = {"is_told": True, "event_id": event_id}
    work.change(notices, {"number": number}, told)


def find_by_event(view: View, event_id: EventId) -> Notice | None:
    """The notice that a message told."""
    row = view.one_or_none(select(notices).where(notices.c.event_id == event_id))
    return None if row is None else _notice(row)


def find_newest(view: View, kind: str, node_id: str) -> Notice | None:
    """The newest notice of a kind about a node."""
    query = select(notices).where(notices.c.kind == kind, notices.c.node_id == node_id)
    rows = view.all(query.order_by(notices.c.number.desc()).limit(1))
    return _notice(rows[0]) if rows else None


def find_room(view: View, user_id: UserId) -> NoticeRoom | None:
    """The room in which a user is told things."""
    row = view.one_or_none(_ROOM, {"user_id": user_id})
    return None if row is None else NoticeRoom(*row)


def save_room(work: UnitOfWork, room: NoticeRoom) -> None:
    """Keep where a user is told things, and how far the answers are read."""
    work.upsert(notice_rooms, asdict(room))


def _notice(row: Row[Any]) -> Notice:
    values = row._asdict()
    return Notice(**values | {"content": orjson.loads(values["content"])})
