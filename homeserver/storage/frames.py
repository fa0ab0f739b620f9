"""The outbox: what must reach a peer.

The outbox holds references: per room one position, the newest only of what replaces itself.
Control and to-device items are kept whole, within bounds; what falls out is counted.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    exists,
    func,
    select,
)
from sqlalchemy import update as update_table

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import inbox, wake_ups
from homeserver.storage.tables import RowNumber, metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

CONTROL, TO_DEVICE = "control", "to_device"
MOST_ITEMS = 10_000
_PRUNE_EVERY = 64

# Which rooms have events that a peer has not acknowledged: where queued > acknowledged.
outbox_rooms = Table(
    "outbox_rooms",
    metadata,
    Column("peer", String, primary_key=True),
    Column("room_id", String, primary_key=True),
    Column("acknowledged", BigInteger, nullable=False),
    Column("queued", BigInteger, nullable=False),
)

outbox_items = Table(
    "outbox_items",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("peer", String, nullable=False),
    Column("lane", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("noted_at", BigInteger),
    Index("ix_outbox_items_lane", "peer", "lane", "number"),
    sqlite_autoincrement=True,
)

# Receipts and presence: a newer one takes the place of the one before.
outbox_newest = Table(
    "outbox_newest",
    metadata,
    Column("peer", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("edu", LargeBinary, nullable=False),
    Column("digest", String, nullable=False),  # tells the one that was sent from a newer one
)

# How many items fell out of the outbox's bounds.
outbox_losses = Table(
    "outbox_losses",
    metadata,
    Column("peer", String, primary_key=True),
    Column("lane", String, primary_key=True),
    Column("lost", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class WaitingRoom:
    """A room with events for a peer."""

    room_id: RoomId
    acknowledged: int
    queued: int


@dataclass(frozen=True, slots=True)
class Item:
    """One control or to-device item; `body` is JSON."""

    number: int
    kind: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest EDU under one key; `edu` is JSON."""

    key: str
    edu: bytes
    digest: str


_ROOM = (outbox_rooms.c.peer == bindparam("peer")) & (
    outbox_rooms.c.room_id == bindparam("room_id")
)
_OF_PEER = outbox_rooms.c.peer == bindparam("peer")
_IS_BEHIND = outbox_rooms.c.queued > outbox_rooms.c.acknowledged
_QUEUED = select(outbox_rooms.c.queued).where(_ROOM)
_WAITING_ROOMS = (
    select(outbox_rooms.c.room_id, outbox_rooms.c.acknowledged, outbox_rooms.c.queued)
    .where(_OF_PEER, _IS_BEHIND)
    .order_by(outbox_rooms.c.acknowledged)
    .limit(bindparam("limit"))
)
_LEAST_ACKNOWLEDGED = select(func.min(outbox_rooms.c.acknowledged)).where(
    outbox_rooms.c.room_id == bindparam("room_id"),
    outbox_rooms.c.peer.in_(bindparam("peers", expanding=True)),
)
_WAITING_ITEMS = (
    select(outbox_items.c.number, outbox_items.c.kind, outbox_items.c.body)
    .where(outbox_items.c.peer == bindparam("peer"), outbox_items.c.lane == bindparam("lane"))
    .order_by(outbox_items.c.number)
    .limit(bindparam("limit"))
)
_WAITING_NEWEST = (
    select(outbox_newest.c.key, outbox_newest.c.edu, outbox_newest.c.digest)
    .where(outbox_newest.c.peer == bindparam("peer"))
    .limit(bindparam("limit"))
)
_HAS_WAITING = select(
    exists().where(_OF_PEER, _IS_BEHIND)
    | exists().where(outbox_items.c.peer == bindparam("peer"))
    | exists().where(outbox_newest.c.peer == bindparam("peer"))
)
_COUNT_ROOMS = select(func.count()).where(_OF_PEER, _IS_BEHIND)
_COUNT_NEWEST = select(func.count()).where(outbox_newest.c.peer == bindparam("peer"))
_COUNT_LANES = (
    select(outbox_items.c.lane, func.count())
    .where(outbox_items.c.peer == bindparam("peer"))
    .group_by(outbox_items.c.lane)
)
_SETTLE_ROOM = (
    update_table(outbox_rooms)
    .where(
        outbox_rooms.c.peer == bindparam("peer_"),
        outbox_rooms.c.room_id == bindparam("room_id_"),
        outbox_rooms.c.acknowledged < bindparam("position"),
    )
    .values(acknowledged=bindparam("position"))
)
_LOSSES = select(outbox_losses.c.lane, outbox_losses.c.lost).where(
    outbox_losses.c.peer == bindparam("peer")
)
_SETTLE_ITEM = delete(outbox_items).where(outbox_items.c.number == bindparam("number_"))
_SETTLE_NEWEST = delete(outbox_newest).where(
    outbox_newest.c.peer == bindparam("peer_"),
    outbox_newest.c.key == bindparam("key_"),
    outbox_newest.c.digest == bindparam("digest_"),
)


def outbox_topic(peer: ServerName) -> str:
    """What the worker of one peer listens to."""
    return f"{wake_ups.OUTBOX}/{peer}"


def queue_room(
    work: UnitOfWork, peer: ServerName, room_id: RoomId, position: int | None = None
) -> None:
    """Note that an event of ours in this room, at this position, has to reach the peer.

    Without a position it is the newest one taken. A room that is queued for the first time
    starts just before it: what came earlier reaches the peer with the room's state.
    """
    newest = work.position if position is None else position
    work.upsert(
        outbox_rooms,
        {"peer": peer, "room_id": room_id, "acknowledged": newest - 1, "queued": newest},
        ("queued",),
    )
    work.wake(outbox_topic(peer))


def queue_item(work: UnitOfWork, peer: ServerName, lane: str, kind: str, body: JsonObject) -> None:
    """Queue a control or to-device item. The oldest fall out beyond the bound, and are counted."""
    number = work.insert_numbered(
        outbox_items, peer=peer, lane=lane, kind=kind, body=orjson.dumps(body)
    )
    if number % _PRUNE_EVERY == 0:
        prune_items(work, peer, lane, MOST_ITEMS)
    work.wake(outbox_topic(peer))


def queue_newest(work: UnitOfWork, peer: ServerName, key: str, edu: JsonObject) -> None:
    """Queue an EDU that takes the place of the one before it under the same key."""
    raw = orjson.dumps(edu)
    digest = hashlib.sha256(raw).hexdigest()[:16]
    work.upsert(outbox_newest, {"peer": peer, "key": key, "edu": raw, "digest": digest})
    work.wake(outbox_topic(peer))


def prune_items(
    work: UnitOfWork,
    peer: ServerName,
    lane: str,
    most: int,
    spared: frozenset[int] = frozenset(),
) -> int:
    """Drop the oldest items beyond a bound; returns how many were lost.

    Those that are in flight are spared: they may have arrived.
    """
    beyond = (
        select(outbox_items.c.number)
        .where(outbox_items.c.peer == peer, outbox_items.c.lane == lane)
        .order_by(outbox_items.c.number.desc())
        .offset(most)
    )
    numbers = [row[0] for row in work.all(beyond) if row[0] not in spared]
    return _lose(work, peer, lane, numbers)


def prune_aged(
    work: UnitOfWork,
    peer: ServerName,
    now_ms: int,
    lifetime_ms: int,
    spared: frozenset[int] = frozenset(),
) -> int:
    """Drop what has waited too long; returns how many were lost. To be called now and then.

    An item's age counts from the first time this was called.
    """
    mine = outbox_items.c.peer == peer
    lost = 0
    for lane in (CONTROL, TO_DEVICE):
        aged = select(outbox_items.c.number).where(
            mine, outbox_items.c.lane == lane, outbox_items.c.noted_at < now_ms - lifetime_ms
        )
        numbers = [row[0] for row in work.all(aged) if row[0] not in spared]
        lost += _lose(work, peer, lane, numbers)
    unseen = mine & outbox_items.c.noted_at.is_(None)
    work.execute(update_table(outbox_items).where(unseen).values(noted_at=now_ms))
    return lost


def _lose(work: UnitOfWork, peer: ServerName, lane: str, numbers: Sequence[int]) -> int:
    if not numbers:
        return 0
    work.execute(_SETTLE_ITEM, [{"number_": number} for number in numbers])
    lost = losses(work, peer).get(lane, 0) + len(numbers)
    work.upsert(outbox_losses, {"peer": peer, "lane": lane, "lost": lost})
    return len(numbers)


def drop_item(work: UnitOfWork, peer: ServerName, lane: str, number: int) -> None:
    """Give up one item, and count it as lost."""
    _lose(work, peer, lane, [number])


def losses(view: View, peer: ServerName) -> dict[str, int]:
    """How many items of each lane never reached the peer."""
    rows = view.all(_LOSSES, {"peer": peer})
    return {row[0]: row[1] for row in rows}


def waiting_rooms(view: View, peer: ServerName, limit: int) -> list[WaitingRoom]:
    """Rooms with events for a peer, the one furthest behind first."""
    rows = view.all(_WAITING_ROOMS, {"peer": peer, "limit": limit})
    return [WaitingRoom(*row) for row in rows]


def least_acknowledged(view: View, room_id: RoomId, servers: frozenset[ServerName]) -> int | None:
    """How far all of these peers have a room; None if nothing of it was ever due to any."""
    found: int | None = view.scalar(
        _LEAST_ACKNOWLEDGED, {"room_id": room_id, "peers": sorted(servers)}
    )
    return found


def waiting_items(view: View, peer: ServerName, lane: str, limit: int) -> list[Item]:
    """The oldest items of a lane."""
    return [
        Item(*row) for row in view.all(_WAITING_ITEMS, {"peer": peer, "lane": lane, "limit": limit})
    ]


def waiting_newest(view: View, peer: ServerName, limit: int) -> list[Newest]:
    """EDUs of which only the newest counts."""
    return [Newest(*row) for row in view.all(_WAITING_NEWEST, {"peer": peer, "limit": limit})]


def has_waiting(view: View, peer: ServerName) -> bool:
    """Whether anything stored waits for a peer."""
    return bool(view.scalar(_HAS_WAITING, {"peer": peer}))


def settle_rooms(work: UnitOfWork, peer: ServerName, positions: dict[RoomId, int]) -> None:
    """The peer has acknowledged the events of these rooms up to these positions."""
    for room_id, position in positions.items():
        work.execute(_SETTLE_ROOM, {"peer_": peer, "room_id_": room_id, "position": position})


def settle_items(work: UnitOfWork, numbers: Sequence[int]) -> None:
    """The peer has acknowledged these items."""
    if numbers:
        work.execute(_SETTLE_ITEM, [{"number_": number} for number in numbers])


def settle_newest(work: UnitOfWork, peer: ServerName, sent: Sequence[tuple[str, str]]) -> None:
    """The peer has acknowledged these EDUs; a newer one under the same key stays."""
    if sent:
        work.execute(
            _SETTLE_NEWEST,
            [{"peer_": peer, "key_": key, "digest_": digest} for key, digest in sent],
        )


def count_waiting(view: View, peer: ServerName) -> dict[str, int]:
    """How much waits for a peer: rooms, items by lane, and newest-only EDUs."""
    one = {"peer": peer}
    return {
        "rooms": view.scalar(_COUNT_ROOMS, one) or 0,
        "newest": view.scalar(_COUNT_NEWEST, one) or 0,
        **{row[0]: row[1] for row in view.all(_COUNT_LANES, one)},
    }


def delete_room(work: UnitOfWork, peer: ServerName, room_id: RoomId) -> None:
    """The peer's server left the room: nothing of it is due any more."""
    work.execute(
        delete(outbox_rooms).where(outbox_rooms.c.peer == peer, outbox_rooms.c.room_id == room_id)
    )


def delete_everything(work: UnitOfWork, peer: ServerName) -> None:
    """Drop what waits for a peer and what came from it."""
    for table in (outbox_rooms, outbox_items, outbox_newest, outbox_losses):
        work.delete(table, peer=peer)
    inbox.delete_everything(work, peer)
