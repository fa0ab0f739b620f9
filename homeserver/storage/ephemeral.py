"""Receipts and presence. Typing is never stored."""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    Row,
    String,
    Table,
    bindparam,
    delete,
    select,
)

from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.storage import listing, wake_ups
from homeserver.storage.events import Point
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# The newest receipt of each user, per room, kind and thread. Older ones are of no use.
receipts = Table(
    "receipts",
    metadata,
    Column("room_id", String, primary_key=True),
    Column("user_id", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("thread_id", String, primary_key=True),  # empty: of no thread in particular
    Column("event_id", String, nullable=False),
    Column("read_at", BigInteger, nullable=False),  # milliseconds since 1970
    # Where the event stands in the timeline: which of two receipts is further on?
    Column("event_position", BigInteger),
    Column("event_rank", Integer),
    Column("position", BigInteger, nullable=False, index=True),
)

# The newest that each user's server said about them.
presence = Table(
    "presence",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("status_msg", String),
    Column("last_active_at", BigInteger, nullable=False),  # milliseconds since 1970
    Column("is_currently_active", Boolean, nullable=False),
    Column("position", BigInteger, nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """How far somebody has read. `point` is None where the event is not in the timeline."""

    room_id: RoomId
    user_id: UserId
    kind: str
    thread_id: str | None
    event_id: EventId
    read_at: int
    point: Point | None


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether somebody is there."""

    user_id: UserId
    state: str
    status_msg: str | None
    last_active_at: int
    is_currently_active: bool


_ONE_RECEIPT = select(receipts).where(
    receipts.c.room_id == bindparam("room_id"),
    receipts.c.user_id == bindparam("user_id"),
    receipts.c.kind == bindparam("kind"),
    receipts.c.thread_id == bindparam("thread_id"),
)
_OWN_RECEIPTS = select(receipts).where(
    receipts.c.room_id == bindparam("room_id"), receipts.c.user_id == bindparam("user_id")
)
_NEWEST_TOO_MANY = (
    select(receipts.c.position)
    .where(receipts.c.room_id == bindparam("room_id"), receipts.c.user_id == bindparam("user_id"))
    .order_by(receipts.c.position.desc())
    .limit(1)
    .offset(bindparam("most"))
)
_OWN_RECEIPTS_IN = select(receipts).where(
    listing.among(receipts.c.room_id, "room_ids"), receipts.c.user_id == bindparam("user_id")
)
_RECEIPTS_SINCE = (
    select(receipts)
    .where(
        receipts.c.position > bindparam("after"),
        receipts.c.position <= bindparam("until"),
    )
    .order_by(receipts.c.position)
)
_RECEIPTS_OF_ROOMS = (
    select(receipts)
    .where(listing.among(receipts.c.room_id, "room_ids"))
    .order_by(receipts.c.position)
)
_PRESENCE_COLUMNS = [presence.c[name] for name in Presence.__slots__]
_ONE_PRESENCE = select(*_PRESENCE_COLUMNS).where(presence.c.user_id == bindparam("user_id"))
_PRESENCE_SINCE = (
    select(*_PRESENCE_COLUMNS)
    .where(
        presence.c.position > bindparam("after"),
        presence.c.position <= bindparam("until"),
    )
    .order_by(presence.c.position)
)


def save_receipt(work: UnitOfWork, receipt: Receipt) -> bool:
    """Keep this receipt in place of the user's earlier one; False if that was as far on.

    Spec: client-server-api#receipts
    """
    key = _key(receipt)
    row = work.one_or_none(_ONE_RECEIPT, key)
    if row is not None and not _is_further(receipt, _receipt(row)):
        return False
    values = {
        "event_id": receipt.event_id,
        "read_at": receipt.read_at,
        "event_position": receipt.point and receipt.point.position,
        "event_rank": receipt.point and receipt.point.rank,
        "position": work.next_position(),
    }
    work.upsert(receipts, key | values)
    work.wake(wake_ups.SYNC)
    return True


def keep_newest_receipts(work: UnitOfWork, room_id: RoomId, user_id: UserId, most: int) -> None:
    """Delete what a user's receipts in a room are more than so many, the oldest first."""
    key = {"room_id": room_id, "user_id": user_id, "most": most}
    oldest = work.scalar(_NEWEST_TOO_MANY, key)
    if oldest is not None:
        mine = (receipts.c.room_id == room_id) & (receipts.c.user_id == user_id)
        work.execute(delete(receipts).where(mine, receipts.c.position <= oldest))


def receipts_since(view: View, after: int, until: int) -> list[Receipt]:
    """The receipts that changed after one position and up to another, oldest change first."""
    return [_receipt(row) for row in view.all(_RECEIPTS_SINCE, {"after": after, "until": until})]


def receipts_of_rooms(view: View, room_ids: Collection[RoomId]) -> list[Receipt]:
    """Every receipt of some rooms, for a client that sees them for the first time."""
    if not room_ids:
        return []
    return [
        _receipt(row)
        for row in view.all(_RECEIPTS_OF_ROOMS, {"room_ids": listing.values(room_ids)})
    ]


def receipts_of_user(view: View, room_id: RoomId, user_id: UserId) -> list[Receipt]:
    """How far one user has read a room, in each kind and thread."""
    rows = view.all(_OWN_RECEIPTS, {"room_id": room_id, "user_id": user_id})
    return [_receipt(row) for row in rows]


def receipts_of_user_in(view: View, user_id: UserId, room_ids: Collection[RoomId]) -> list[Receipt]:
    """How far one user has read some rooms, in each kind and thread."""
    wanted = {"user_id": user_id, "room_ids": listing.values(room_ids)}
    return [_receipt(row) for row in view.all(_OWN_RECEIPTS_IN, wanted)]


def save_presence(work: UnitOfWork, changed: Iterable[Presence]) -> None:
    """Keep what is newest about these users."""
    rows = [asdict(one) | {"position": work.next_position()} for one in changed]
    if rows:
        work.upsert_many(presence, rows)
        work.wake(wake_ups.SYNC)


def find_presence(view: View, user_id: UserId) -> Presence | None:
    """What is newest about one user."""
    row = view.one_or_none(_ONE_PRESENCE, {"user_id": user_id})
    return None if row is None else Presence(*row)


def presence_since(view: View, after: int, until: int) -> list[Presence]:
    """Whose presence changed after one position and up to another."""
    return [Presence(*row) for row in view.all(_PRESENCE_SINCE, {"after": after, "until": until})]


def _key(receipt: Receipt) -> dict[str, Any]:
    return {
        "room_id": receipt.room_id,
        "user_id": receipt.user_id,
        "kind": receipt.kind,
        "thread_id": receipt.thread_id or "",
    }


def _is_further(receipt: Receipt, before: Receipt) -> bool:
    """A receipt for an event whose place is unknown counts by when it was given."""
    if receipt.point is None or before.point is None:
        return receipt.event_id != before.event_id and receipt.read_at >= before.read_at
    return receipt.point > before.point


def _receipt(row: Row[Any]) -> Receipt:
    point = None if row.event_position is None else Point(row.event_position, row.event_rank)
    return Receipt(
        row.room_id,
        row.user_id,
        row.kind,
        row.thread_id or None,
        row.event_id,
        row.read_at,
        point,
    )
