"""Sliding sync's connections: which rooms each has told its device about, and how far.

A room that is told up to the position in the client's token needs no change when something new is
told of it, so an ordinary message writes nothing here. What an answer changes is *pending* until
the client comes back with that answer's token; a client that repeats its request has not got it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
    delete,
    insert,
    select,
    update,
)

from homeserver.matrix.identifiers import DeviceId, RoomId, UserId
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

sync_connections = Table(
    "sync_connections",
    metadata,
    Column("connection_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", String, nullable=False),
    Column("device_id", String, nullable=False),
    Column("name", String, nullable=False),  # the client's `conn_id`
    # Tokens of these two versions are good: the one the client came with, the one it was given.
    Column("confirmed", BigInteger, nullable=False),
    Column("latest", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),  # milliseconds since 1970
    # JSON: what was asked of rooms; the rows of rooms refer to it by index.
    Column("configs", LargeBinary, nullable=False),
    Index("ix_sync_connections_device", "user_id", "device_id"),
)

sync_connection_rooms = Table(
    "sync_connection_rooms",
    metadata,
    Column("connection_id", BigInteger, primary_key=True),
    Column("room_id", String, primary_key=True),
    Column("is_pending", Boolean, primary_key=True),
    # NULL: everything up to the position in the token.
    Column("told_until", BigInteger),
    Column("timeline_limit", Integer, nullable=False),
    Column("config", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class ToldRoom:
    """How far a device knows a room (None: as far as its token), and what it asked of it."""

    until: int | None
    timeline_limit: int
    config: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A connection as it is stored."""

    connection_id: int
    user_id: UserId
    device_id: DeviceId
    name: str
    confirmed: int
    latest: int
    used_at: int
    configs: bytes


_FIND = select(sync_connections).where(
    sync_connections.c.connection_id == bindparam("connection_id")
)
_OF_DEVICE = (
    select(sync_connections)
    .where(
        sync_connections.c.user_id == bindparam("user_id"),
        sync_connections.c.device_id == bindparam("device_id"),
    )
    .order_by(sync_connections.c.used_at.desc())
)
_ROOMS = select(sync_connection_rooms).where(
    sync_connection_rooms.c.connection_id == bindparam("connection_id")
)
_ADVANCE = (
    update(sync_connections)
    .where(sync_connections.c.connection_id == bindparam("connection"))
    .values(
        confirmed=bindparam("confirms"),
        latest=bindparam("gives"),
        used_at=bindparam("now"),
        configs=bindparam("asked"),
    )
)
_PENDING = (
    sync_connection_rooms.c.connection_id == bindparam("connection"),
    sync_connection_rooms.c.is_pending,
)
_DROP_PENDING = delete(sync_connection_rooms).where(*_PENDING)
_LIST_PENDING = select(sync_connection_rooms).where(*_PENDING)


def save_connection(work: UnitOfWork, connection: Stored) -> None:
    """Keep a connection that begins."""
    work.execute(
        insert(sync_connections),
        {name: getattr(connection, name) for name in Stored.__slots__},
    )


def find_connection(view: View, connection_id: int) -> Stored | None:
    """A connection, if it was not given up."""
    row = view.one_or_none(_FIND, {"connection_id": connection_id})
    return Stored(*row) if row is not None else None


def connections_of(view: View, user_id: UserId, device_id: DeviceId) -> list[Stored]:
    """A device's connections, the one used last first."""
    rows = view.all(_OF_DEVICE, {"user_id": user_id, "device_id": device_id})
    return [Stored(*row) for row in rows]


def load_rooms(
    view: View, connection_id: int
) -> tuple[dict[RoomId, ToldRoom], dict[RoomId, ToldRoom]]:
    """The rooms as the client confirmed them, and what its newest answer changes."""
    confirmed: dict[RoomId, ToldRoom] = {}
    pending: dict[RoomId, ToldRoom] = {}
    for row in view.all(_ROOMS, {"connection_id": connection_id}):
        told = ToldRoom(row.told_until, row.timeline_limit, row.config)
        (pending if row.is_pending else confirmed)[row.room_id] = told
    return confirmed, pending


def advance_connection(
    work: UnitOfWork, connection: Stored, changes: Mapping[RoomId, ToldRoom], *, is_confirmed: bool
) -> None:
    """Keep what a new answer changes; what was pending before is confirmed or was never received.

    `connection` holds the new versions.
    """
    key = {"connection": connection.connection_id}
    if is_confirmed:
        waiting = work.all(_LIST_PENDING, key)
        found = ((row.room_id, ToldRoom(*row[3:])) for row in waiting)
        _save_rooms(work, connection.connection_id, found, is_pending=False)
    work.execute(_DROP_PENDING, key)
    _save_rooms(work, connection.connection_id, changes.items(), is_pending=True)
    versions = {"confirms": connection.confirmed, "gives": connection.latest}
    work.execute(
        _ADVANCE, key | versions | {"now": connection.used_at, "asked": connection.configs}
    )


def delete_connections(work: UnitOfWork, connection_ids: Sequence[int]) -> None:
    """Give up connections."""
    if connection_ids:
        for table in (sync_connection_rooms, sync_connections):
            work.execute(delete(table).where(table.c.connection_id.in_(connection_ids)))


def delete_connections_of_devices(
    work: UnitOfWork, user_id: UserId, device_ids: Sequence[DeviceId]
) -> None:
    """Give up the connections of devices that are gone."""
    for device_id in device_ids:
        gone = connections_of(work, user_id, device_id)
        delete_connections(work, [one.connection_id for one in gone])


def _save_rooms(
    work: UnitOfWork,
    connection_id: int,
    told: Iterable[tuple[RoomId, ToldRoom]],
    *,
    is_pending: bool,
) -> None:
    work.upsert_many(
        sync_connection_rooms,
        [
            {
                "connection_id": connection_id,
                "room_id": room_id,
                "is_pending": is_pending,
                "told_until": one.until,
                "timeline_limit": one.timeline_limit,
                "config": one.config,
            }
            for room_id, one in told
        ],
    )
