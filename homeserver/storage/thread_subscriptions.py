"""Which threads the owner wants to hear of, and which no more; by room and root of the thread."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, bindparam, select

from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.storage import wake_ups
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

thread_subscriptions = Table(
    "thread_subscriptions",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("room_id", String, primary_key=True),
    Column("root", String, primary_key=True),
    Column("is_subscribed", Boolean, nullable=False),
    Column("is_automatic", Boolean, nullable=False),  # the client's doing, not the owner's
    Column("position", BigInteger, nullable=False),
)
# What changed after a position, or up to one?
Index(
    "ix_thread_subscriptions_position",
    thread_subscriptions.c.user_id,
    thread_subscriptions.c.position,
)

_FIND = select(thread_subscriptions).where(
    thread_subscriptions.c.user_id == bindparam("user_id"),
    thread_subscriptions.c.room_id == bindparam("room_id"),
    thread_subscriptions.c.root == bindparam("root"),
)
_NEWEST = (
    select(thread_subscriptions)
    .where(
        thread_subscriptions.c.user_id == bindparam("user_id"),
        thread_subscriptions.c.position > bindparam("after"),
        thread_subscriptions.c.position <= bindparam("until"),
    )
    .order_by(thread_subscriptions.c.position.desc())
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True)
class ThreadSubscription:
    """What the owner, or their client for them, said last of one thread."""

    user_id: UserId
    room_id: RoomId
    root: EventId
    is_subscribed: bool
    is_automatic: bool
    position: int


def find(view: View, user_id: UserId, room_id: RoomId, root: EventId) -> ThreadSubscription | None:
    """What was said of a thread."""
    key = {"user_id": user_id, "room_id": room_id, "root": root}
    row = view.one_or_none(_FIND, key)
    return None if row is None else ThreadSubscription(*row)


def save(
    work: UnitOfWork, thread: tuple[UserId, RoomId, EventId], *, subscribed: bool, automatic: bool
) -> None:
    """Remember what is said now, and wake the other devices."""
    user_id, room_id, root = thread
    row = {
        "user_id": user_id,
        "room_id": room_id,
        "root": root,
        "is_subscribed": subscribed,
        "is_automatic": automatic,
        "position": work.next_position(),
    }
    work.upsert(thread_subscriptions, row)
    work.wake(wake_ups.SYNC)


def changed_between(
    view: View, user_id: UserId, span: tuple[int, int], limit: int
) -> Sequence[ThreadSubscription]:
    """The newest changes after one position and up to another, the newest first."""
    after, until = span
    key = {"user_id": user_id, "after": after, "until": until, "limit": limit}
    return [ThreadSubscription(*row) for row in view.all(_NEWEST, key)]
