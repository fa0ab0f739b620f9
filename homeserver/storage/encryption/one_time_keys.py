"""One-time keys and fallback keys: those of the owner's devices and those peers deposited.

Some of the owner's one-time keys are reserved: a peer holds a copy to hand out while this server
sleeps. They are no longer counted, and nobody else gets them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    func,
    select,
    update,
)

from homeserver.matrix.identifiers import DeviceId, ServerName, UserId
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# Instead of a peer's name: a peer's key that we handed out already.
SPENT = ServerName("")

one_time_keys = Table(
    "one_time_keys",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("algorithm", String, primary_key=True),
    Column("key_id", String, primary_key=True),
    Column("key", LargeBinary, nullable=False),
    Column("uploaded_at", BigInteger, nullable=False),  # handed out in this order
    Column("reserved_for", String),  # the peer that holds a copy, or SPENT
    Index("ix_one_time_keys_next", "user_id", "device_id", "algorithm", "uploaded_at"),
)

fallback_keys = Table(
    "fallback_keys",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("algorithm", String, primary_key=True),
    Column("key_id", String, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("uploaded_at", BigInteger, nullable=False),
    Column("is_used", Boolean, nullable=False),
    Column("previous_key_id", String),  # the device keeps that one too
)


@dataclass(frozen=True, slots=True)
class OneTimeKey:
    """A key for one use; `key` is its JSON."""

    user_id: UserId
    device_id: DeviceId
    algorithm: str
    key_id: str
    key: bytes
    uploaded_at: int
    reserved_for: ServerName | None = None


@dataclass(frozen=True, slots=True)
class FallbackKey:
    """The key that is handed out when no one-time key is left."""

    user_id: UserId
    device_id: DeviceId
    algorithm: str
    key_id: str
    key: bytes
    uploaded_at: int
    is_used: bool = False
    previous_key_id: str | None = None


_ONE_TIME_KEYS = select(one_time_keys).where(
    one_time_keys.c.user_id == bindparam("user_id"),
    one_time_keys.c.device_id == bindparam("device_id"),
)
_COUNTS = (
    select(one_time_keys.c.algorithm, func.count())
    .where(
        one_time_keys.c.user_id == bindparam("user_id"),
        one_time_keys.c.device_id == bindparam("device_id"),
        one_time_keys.c.reserved_for.is_(None),
    )
    .group_by(one_time_keys.c.algorithm)
)
_NEXT = (
    select(one_time_keys.c.key_id, one_time_keys.c.key)
    .where(
        one_time_keys.c.user_id == bindparam("user_id"),
        one_time_keys.c.device_id == bindparam("device_id"),
        one_time_keys.c.algorithm == bindparam("algorithm"),
        one_time_keys.c.uploaded_at >= bindparam("not_before"),
        one_time_keys.c.reserved_for.is_(None),
    )
    .order_by(one_time_keys.c.uploaded_at)
    .limit(bindparam("count"))
)
_FALLBACK_KEYS = select(fallback_keys).where(fallback_keys.c.user_id == bindparam("user_id"))
_ALL_RESERVED = select(one_time_keys).where(
    one_time_keys.c.user_id == bindparam("user_id"), one_time_keys.c.reserved_for.is_not(None)
)
_RESERVED = _ALL_RESERVED.where(one_time_keys.c.reserved_for == bindparam("peer"))
_DELETE_ONE = delete(one_time_keys).where(
    one_time_keys.c.user_id == bindparam("user_id"),
    one_time_keys.c.device_id == bindparam("device_id"),
    one_time_keys.c.algorithm == bindparam("algorithm"),
    one_time_keys.c.key_id == bindparam("key_id"),
)
_FALLBACK = select(fallback_keys.c.key_id, fallback_keys.c.key, fallback_keys.c.is_used).where(
    fallback_keys.c.user_id == bindparam("user_id"),
    fallback_keys.c.device_id == bindparam("device_id"),
    fallback_keys.c.algorithm == bindparam("algorithm"),
    fallback_keys.c.uploaded_at >= bindparam("not_before"),
)
_TYPES = select(fallback_keys.c.algorithm, fallback_keys.c.is_used).where(
    fallback_keys.c.user_id == bindparam("user_id"),
    fallback_keys.c.device_id == bindparam("device_id"),
)


def _values(key: OneTimeKey) -> dict[str, object]:
    """A row, spelled out: a hundred come at once, and `asdict` takes several times as long."""
    return {
        "user_id": key.user_id,
        "device_id": key.device_id,
        "algorithm": key.algorithm,
        "key_id": key.key_id,
        "key": key.key,
        "uploaded_at": key.uploaded_at,
        "reserved_for": key.reserved_for,
    }


def one_time_keys_of(view: View, user_id: UserId, device_id: DeviceId) -> list[OneTimeKey]:
    """Every one-time key of a device, reserved ones too."""
    rows = view.all(_ONE_TIME_KEYS, {"user_id": user_id, "device_id": device_id})
    return [OneTimeKey(*row) for row in rows]


def one_time_key_counts(view: View, user_id: UserId, device_id: DeviceId) -> dict[str, int]:
    """How many unclaimed one-time keys a device has, by algorithm; 0 is always said for the usual.

    A client that does not find `signed_curve25519` in a sync takes it for unchanged.
    """
    rows = view.all(_COUNTS, {"user_id": user_id, "device_id": device_id})
    return {"signed_curve25519": 0} | {row[0]: row[1] for row in rows}


def fallback_types(view: View, user_id: UserId, device_id: DeviceId) -> tuple[list[str], list[str]]:
    """The algorithms of a device's fallback keys: those given away, and those that were not."""
    rows = view.all(_TYPES, {"user_id": user_id, "device_id": device_id})
    used = [row.algorithm for row in rows if row.is_used]
    return used, [row.algorithm for row in rows if not row.is_used]


def save_one_time_keys(work: UnitOfWork, keys: Iterable[OneTimeKey]) -> None:
    """Add one-time keys. Their IDs must be free."""
    work.insert_many(one_time_keys, [_values(key) for key in keys])


def save_fallback_keys(work: UnitOfWork, keys: Iterable[FallbackKey]) -> None:
    """Keep these in place of the device's earlier fallback keys of the same algorithms."""
    work.upsert_many(fallback_keys, [asdict(key) for key in keys])


def claim_one_time_key(
    work: UnitOfWork, user_id: UserId, device_id: DeviceId, algorithm: str, not_before: int = 0
) -> tuple[str, bytes] | None:
    """Take the device's oldest free one-time key: its ID and JSON. Nobody gets it again."""
    key = {"user_id": user_id, "device_id": device_id, "algorithm": algorithm}
    row = work.one_or_none(_NEXT, key | {"not_before": not_before, "count": 1})
    if row is None:
        return None
    work.execute(_DELETE_ONE, key | {"key_id": row.key_id})
    return row.key_id, row.key


def spend_one_time_key(
    work: UnitOfWork, user_id: UserId, device_id: DeviceId, algorithm: str, not_before: int
) -> tuple[str, bytes] | None:
    """Take a peer's oldest deposited key; it stays as spent until a deposit no longer names it."""
    key = {"user_id": user_id, "device_id": device_id, "algorithm": algorithm}
    row = work.one_or_none(_NEXT, key | {"not_before": not_before, "count": 1})
    if row is None:
        return None
    spent = (
        update(one_time_keys)
        .where(
            one_time_keys.c.user_id == user_id,
            one_time_keys.c.device_id == device_id,
            one_time_keys.c.algorithm == algorithm,
            one_time_keys.c.key_id == row.key_id,
        )
        .values(reserved_for=SPENT)
    )
    work.execute(spent)
    return row.key_id, row.key


def claim_fallback_key(
    work: UnitOfWork, user_id: UserId, device_id: DeviceId, algorithm: str, not_before: int = 0
) -> tuple[str, bytes, bool] | None:
    """The device's fallback key, from now on marked as used: its ID, JSON, and if it was before."""
    key = {"user_id": user_id, "device_id": device_id, "algorithm": algorithm}
    row = work.one_or_none(_FALLBACK, key | {"not_before": not_before})
    if row is None:
        return None
    if not row.is_used:
        used = (
            update(fallback_keys)
            .where(
                fallback_keys.c.user_id == user_id,
                fallback_keys.c.device_id == device_id,
                fallback_keys.c.algorithm == algorithm,
            )
            .values(is_used=True)
        )
        work.execute(used)
    return row.key_id, row.key, row.is_used


def fallback_keys_of(view: View, user_id: UserId) -> list[FallbackKey]:
    """The fallback keys of all devices of a user."""
    found = view.all(_FALLBACK_KEYS, {"user_id": user_id})
    return [FallbackKey(*row) for row in found]


def reserved_keys_of(
    view: View, user_id: UserId, peer: ServerName | None = None
) -> list[OneTimeKey]:
    """The one-time keys of a user's devices that are reserved: for one peer, or for all."""
    found = (
        view.all(_ALL_RESERVED, {"user_id": user_id})
        if peer is None
        else view.all(_RESERVED, {"user_id": user_id, "peer": peer})
    )
    return [OneTimeKey(*row) for row in found]


def reserve_one_time_keys(
    work: UnitOfWork, user_id: UserId, device_id: DeviceId, peer: ServerName, count: int
) -> None:
    """Set the device's oldest free keys aside for a peer, as many as it has and at most `count`."""
    key = {"user_id": user_id, "device_id": device_id, "algorithm": "signed_curve25519"}
    rows = work.all(_NEXT, key | {"not_before": 0, "count": count})
    work.execute(
        update(one_time_keys)
        .where(
            one_time_keys.c.user_id == user_id,
            one_time_keys.c.device_id == device_id,
            one_time_keys.c.key_id.in_([row.key_id for row in rows]),
        )
        .values(reserved_for=peer)
    )


def mark_fallback_used(
    work: UnitOfWork, user_id: UserId, device_id: DeviceId, key_ids: Sequence[str]
) -> None:
    """A peer has handed out these fallback keys; those that were replaced since do not matter."""
    work.execute(
        update(fallback_keys)
        .where(
            fallback_keys.c.user_id == user_id,
            fallback_keys.c.device_id == device_id,
            fallback_keys.c.key_id.in_(key_ids),
        )
        .values(is_used=True)
    )


def release_reserved(
    work: UnitOfWork, peer: ServerName, user_id: UserId, device_id: DeviceId, key_ids: Sequence[str]
) -> None:
    """Delete reserved keys that the peer has handed out."""
    work.execute(
        delete(one_time_keys).where(
            one_time_keys.c.user_id == user_id,
            one_time_keys.c.device_id == device_id,
            one_time_keys.c.reserved_for == peer,
            one_time_keys.c.key_id.in_(key_ids),
        )
    )


def replace_keys_of_user(
    work: UnitOfWork,
    user_id: UserId,
    one_time: Sequence[OneTimeKey],
    fallback: Sequence[FallbackKey],
) -> None:
    """Make these the only keys to hand out for a peer's user."""
    delete_keys_of_user(work, user_id)
    save_one_time_keys(work, one_time)
    save_fallback_keys(work, fallback)


def delete_keys_of_devices(
    work: UnitOfWork, user_id: UserId, device_ids: Sequence[DeviceId]
) -> None:
    """Forget the one-time and fallback keys of devices."""
    for table in (one_time_keys, fallback_keys):
        work.execute(
            delete(table).where(table.c.user_id == user_id, table.c.device_id.in_(device_ids))
        )


def delete_keys_of_user(work: UnitOfWork, user_id: UserId) -> None:
    """Forget the one-time and fallback keys of all devices of a user; they make others."""
    for table in (one_time_keys, fallback_keys):
        work.delete(table, user_id=user_id)


def spend_all_of_server(work: UnitOfWork, server: ServerName) -> None:
    """Hand out none of the one-time keys a peer has deposited so far."""
    of_server = one_time_keys.c.user_id.endswith(f":{server}", autoescape=True)
    work.execute(update(one_time_keys).where(of_server).values(reserved_for=SPENT))


def delete_keys_of_server(work: UnitOfWork, server: ServerName) -> None:
    """Forget what a peer deposited, and give up what is reserved for it; part of revoking it."""
    for table in (one_time_keys, fallback_keys):
        work.execute(delete(table).where(table.c.user_id.endswith(f":{server}", autoescape=True)))
    work.execute(delete(one_time_keys).where(one_time_keys.c.reserved_for == server))
