"""The inbox of each device: messages wait here until a sync proves that they arrived."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, bindparam, delete
from sqlalchemy import select as choose

from homeserver.matrix.identifiers import DeviceId, UserId
from homeserver.storage import wake_ups
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# A device that never syncs again must not fill the disk: what is older than this falls out.
INBOX_LIMIT = 10_000

to_device_messages = Table(
    "to_device_messages",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", String, nullable=False),
    Column("device_id", String, nullable=False),
    Column("message", LargeBinary, nullable=False),  # JSON: sender, type, content
    Index("ix_to_device_messages_device", "user_id", "device_id", "position"),
)


@dataclass(frozen=True, slots=True)
class ToDevice:
    """A message for one device; `message` is JSON as a sync shows it."""

    position: int
    message: bytes


_OF_DEVICE = (
    to_device_messages.c.user_id == bindparam("user_id"),
    to_device_messages.c.device_id == bindparam("device_id"),
)
_SINCE = (
    choose(to_device_messages.c.position, to_device_messages.c.message)
    .where(
        *_OF_DEVICE,
        to_device_messages.c.position > bindparam("after"),
        to_device_messages.c.position <= bindparam("until"),
    )
    .order_by(to_device_messages.c.position)
    .limit(bindparam("limit"))
)
_TOO_OLD = (
    choose(to_device_messages.c.position)
    .where(*_OF_DEVICE)
    .order_by(to_device_messages.c.position.desc())
    .offset(INBOX_LIMIT)
    .limit(1)
)
_DELETE_UP_TO = delete(to_device_messages).where(
    *_OF_DEVICE, to_device_messages.c.position <= bindparam("until")
)


def save_to_device(
    work: UnitOfWork, user_id: UserId, messages: Iterable[tuple[DeviceId, bytes]]
) -> None:
    """Put messages into the inboxes of the user's devices, and wake their syncs."""
    rows = [
        {
            "position": work.next_position(),
            "user_id": user_id,
            "device_id": device_id,
            "message": message,
        }
        for device_id, message in messages
    ]
    if not rows:
        return
    work.insert_many(to_device_messages, rows)
    for device_id in {row["device_id"] for row in rows}:
        key = {"user_id": user_id, "device_id": device_id}
        too_old = work.scalar(_TOO_OLD, key)
        if too_old is not None:
            work.execute(_DELETE_UP_TO, key | {"until": too_old})
    work.wake(wake_ups.SYNC)


def to_device_since(
    view: View, user_id: UserId, device_id: DeviceId, after: int, until: int, limit: int
) -> list[ToDevice]:
    """The oldest messages after one position and up to another."""
    span = {"after": after, "until": until, "limit": limit}
    rows = view.all(_SINCE, {"user_id": user_id, "device_id": device_id} | span)
    return [ToDevice(*row) for row in rows]


def delete_to_device_up_to(
    work: UnitOfWork, user_id: UserId, device_id: DeviceId, until: int
) -> None:
    """Forget what the device has: it asked for what comes after that position."""
    work.execute(_DELETE_UP_TO, {"user_id": user_id, "device_id": device_id, "until": until})


def delete_inboxes(work: UnitOfWork, user_id: UserId, device_ids: Sequence[DeviceId]) -> None:
    """Forget what waits for devices that are gone."""
    work.execute(
        delete(to_device_messages).where(
            to_device_messages.c.user_id == user_id, to_device_messages.c.device_id.in_(device_ids)
        )
    )
