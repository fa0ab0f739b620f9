"""The inbox of each device: messages wait here until a sync proves that they arrived."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    func,
)
from sqlalchemy import select as choose

from homeserver.matrix.identifiers import DeviceId, ServerName, UserId
from homeserver.storage import wake_ups
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# A device that never syncs again must not fill the disk. The owner's other devices and each peer
# have a part of its inbox of their own, so that nobody can take up what is there for others.
OWN_LIMIT = 10_000
PEER_LIMIT = 5_000

# How much one answer to a device carries.
PAGE_MESSAGES = 1_000
_PAGE_BYTES = 2 * 1024 * 1024
_READ_AT_ONCE = 100

to_device_messages = Table(
    "to_device_messages",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", String, nullable=False),
    Column("device_id", String, nullable=False),
    Column("message", LargeBinary, nullable=False),  # JSON: sender, type, content
    Column("peer", String),  # the sender's server; null for our own
    Index("ix_to_device_messages_device", "user_id", "device_id", "position"),
)

# How many messages fell out of each inbox.
to_device_losses = Table(
    "to_device_losses",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("lost", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class ToDevice:
    """A message for one device; `message` is JSON as a sync shows it."""

    position: int
    message: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """The oldest messages that wait for a device, and whether more wait behind them."""

    messages: Sequence[ToDevice] = ()
    has_more: bool = False


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
_COUNTS = (
    choose(to_device_messages.c.device_id, func.count())
    .where(
        to_device_messages.c.user_id == bindparam("user_id"),
        to_device_messages.c.device_id.in_(bindparam("devices", expanding=True)),
    )
    .group_by(to_device_messages.c.device_id)
)
_OWN, _FROM_PEER = (
    to_device_messages.c.peer.is_(None),
    to_device_messages.c.peer == bindparam("peer"),
)
_OWN_COUNTS, _COUNTS_OF_PEER = _COUNTS.where(_OWN), _COUNTS.where(_FROM_PEER)
_NEWEST_BEYOND = (
    choose(to_device_messages.c.position)
    .where(*_OF_DEVICE)
    .order_by(to_device_messages.c.position.desc())
    .offset(bindparam("most"))
    .limit(1)
)
_DELETE_UP_TO = delete(to_device_messages).where(
    *_OF_DEVICE, to_device_messages.c.position <= bindparam("until")
)
_LOST = choose(to_device_losses.c.lost).where(
    to_device_losses.c.user_id == bindparam("user_id"),
    to_device_losses.c.device_id == bindparam("device_id"),
)


def save_to_device(
    work: UnitOfWork,
    user_id: UserId,
    messages: Iterable[tuple[DeviceId, bytes]],
    peer: ServerName | None = None,
) -> None:
    """Put messages into the inboxes of the user's devices, and wake their syncs.

    `peer` is the sender's server if it is not ours.
    """
    rows: list[dict[str, Any]] = [
        {
            "position": work.next_position(),
            "user_id": user_id,
            "device_id": device_id,
            "message": message,
            "peer": peer,
        }
        for device_id, message in messages
    ]
    if rows:
        work.insert_many(to_device_messages, rows)
        work.wake(wake_ups.SYNC)


def limit_for(peer: ServerName | None) -> int:
    """How many messages of one sender's server wait for a device at most."""
    return OWN_LIMIT if peer is None else PEER_LIMIT


def count_to_device(
    view: View, user_id: UserId, devices: Sequence[DeviceId], peer: ServerName | None
) -> Counter[DeviceId]:
    """How many messages of one sender's server wait for each device."""
    asked = {"user_id": user_id, "devices": devices}
    if peer is None:
        rows = view.all(_OWN_COUNTS, asked)
    else:
        rows = view.all(_COUNTS_OF_PEER, asked | {"peer": peer})
    return Counter({DeviceId(row[0]): int(row[1]) for row in rows})


def drop_oldest(
    work: UnitOfWork, user_id: UserId, device_id: DeviceId, peer: ServerName | None, most: int
) -> int:
    """Drop the oldest messages of one sender's server beyond so many; how many, which is noted."""
    of_device: dict[str, Any] = {"user_id": user_id, "device_id": device_id}
    span = of_device if peer is None else of_device | {"peer": peer}
    sender = _OWN if peer is None else _FROM_PEER
    until = work.scalar(_NEWEST_BEYOND.where(sender), span | {"most": most})
    if until is None:
        return 0
    dropped = work.execute(_DELETE_UP_TO.where(sender), span | {"until": until}).rowcount
    lost = to_device_lost(work, user_id, device_id) + dropped
    work.upsert(to_device_losses, of_device | {"lost": lost})
    return dropped


def to_device_lost(view: View, user_id: UserId, device_id: DeviceId) -> int:
    """How many messages fell out of a device's inbox because nobody fetched them."""
    return int(view.scalar(_LOST, {"user_id": user_id, "device_id": device_id}) or 0)


def to_device_since(
    view: View, user_id: UserId, device_id: DeviceId, after: int, until: int, limit: int
) -> list[ToDevice]:
    """The oldest messages after one position and up to another."""
    span = {"after": after, "until": until, "limit": limit}
    rows = view.all(_SINCE, {"user_id": user_id, "device_id": device_id} | span)
    return [ToDevice(*row) for row in rows]


def to_device_page(
    view: View,
    user_id: UserId,
    device_id: DeviceId,
    after: int,
    until: int,
    most: int = PAGE_MESSAGES,
) -> Page:
    """As many of the oldest messages as one answer carries."""
    page: list[ToDevice] = []
    size = 0
    while len(page) < most and size < _PAGE_BYTES:
        limit = min(_READ_AT_ONCE, most - len(page))
        read = to_device_since(view, user_id, device_id, after, until, limit)
        page += read
        if len(read) < limit:
            return Page(page)
        after = read[-1].position
        size += sum(len(one.message) for one in read)
    return Page(page, bool(to_device_since(view, user_id, device_id, after, until, 1)))


def delete_to_device_up_to(
    work: UnitOfWork, user_id: UserId, device_id: DeviceId, until: int
) -> None:
    """Forget what the device has: it asked for what comes after that position."""
    work.execute(_DELETE_UP_TO, {"user_id": user_id, "device_id": device_id, "until": until})


def delete_inboxes(work: UnitOfWork, user_id: UserId, device_ids: Sequence[DeviceId]) -> None:
    """Forget what waits for devices that are gone."""
    for table in (to_device_messages, to_device_losses):
        work.execute(
            delete(table).where(table.c.user_id == user_id, table.c.device_id.in_(device_ids))
        )
