"""One-time keys that were given away: none of them is given again, and nobody takes too many."""

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Index, String, Table, bindparam, delete, func, select

from homeserver.matrix.identifiers import DeviceId, ServerName, UserId
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

spent_one_time_keys = Table(
    "spent_one_time_keys",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("algorithm", String, primary_key=True),
    Column("key_id", String, primary_key=True),
    Column("spent_by", String, nullable=False),  # the server whose user took it
    Column("spent_at", BigInteger, nullable=False),
    Index("ix_spent_one_time_keys_by", "user_id", "device_id", "spent_by", "spent_at"),
)

_OF_DEVICE = (
    spent_one_time_keys.c.user_id == bindparam("user_id"),
    spent_one_time_keys.c.device_id == bindparam("device_id"),
)
# With the algorithm each ID is one step in the primary key; without it every spent key is read.
_SPENT = select(spent_one_time_keys.c.key_id).where(
    *_OF_DEVICE,
    spent_one_time_keys.c.algorithm == bindparam("algorithm"),
    spent_one_time_keys.c.key_id.in_(bindparam("key_ids", expanding=True)),
)
_COUNT = (
    select(func.count())
    .select_from(spent_one_time_keys)
    .where(
        *_OF_DEVICE,
        spent_one_time_keys.c.spent_by == bindparam("spent_by"),
        spent_one_time_keys.c.spent_at > bindparam("after"),
    )
)
_LAST = select(func.max(spent_one_time_keys.c.spent_at)).where(
    *_OF_DEVICE, spent_one_time_keys.c.spent_by == bindparam("spent_by")
)
_FORGET = delete(spent_one_time_keys).where(spent_one_time_keys.c.spent_at < bindparam("before"))


def note_spent(
    work: UnitOfWork, device: tuple[UserId, DeviceId], key: tuple[str, str], by: ServerName, at: int
) -> None:
    """Remember that a key, named by algorithm and ID, was given to a server."""
    (user_id, device_id), (algorithm, key_id) = device, key
    work.upsert(
        spent_one_time_keys,
        {
            "user_id": user_id,
            "device_id": device_id,
            "algorithm": algorithm,
            "key_id": key_id,
            "spent_by": by,
            "spent_at": at,
        },
    )


def spent_among(
    view: View, user_id: UserId, device_id: DeviceId, algorithm: str, key_ids: list[str]
) -> set[str]:
    """Which of these keys of one algorithm were given away before."""
    of = {"user_id": user_id, "device_id": device_id, "algorithm": algorithm, "key_ids": key_ids}
    return {row.key_id for row in view.all(_SPENT, of)}


def count_spent(
    view: View, user_id: UserId, device_id: DeviceId, by: ServerName, after: int
) -> int:
    """How many of a device's keys a server has taken since."""
    of = {"user_id": user_id, "device_id": device_id, "spent_by": by, "after": after}
    return int(view.scalar(_COUNT, of))


def last_spent_at(view: View, user_id: UserId, device_id: DeviceId, by: ServerName) -> int | None:
    """When a server took a device's key most recently."""
    of = {"user_id": user_id, "device_id": device_id, "spent_by": by}
    at: int | None = view.scalar(_LAST, of)
    return at


def forget_spent(work: UnitOfWork, before: int) -> None:
    """Forget what was given away long ago. Reads every one that is remembered."""
    work.execute(_FORGET, {"before": before})


def forget_spent_of_devices(
    work: UnitOfWork, user_id: UserId, device_ids: Sequence[DeviceId]
) -> None:
    """Devices are gone; one that comes under the same ID counts its keys from the beginning."""
    table = spent_one_time_keys
    work.execute(delete(table).where(table.c.user_id == user_id, table.c.device_id.in_(device_ids)))
