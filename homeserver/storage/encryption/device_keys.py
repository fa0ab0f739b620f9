"""Identity keys of devices, cross-signing keys, signatures on both, and who changed when."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    func,
    select,
)

from homeserver.matrix.identifiers import DeviceId, ServerName, UserId
from homeserver.storage import wake_ups
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

device_keys = Table(
    "device_keys",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("key_json", LargeBinary, nullable=False),  # canonical JSON as uploaded, signatures too
)

cross_signing_keys = Table(
    "cross_signing_keys",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("usage", String, primary_key=True),  # master, self_signing, user_signing
    Column("key_json", LargeBinary, nullable=False),
)

# Signatures that came apart from the key they sign (/keys/signatures/upload).
key_signatures = Table(
    "key_signatures",
    metadata,
    Column("user_id", String, primary_key=True),  # whose key is signed
    Column("key_id", String, primary_key=True),  # a device ID or a public cross-signing key
    Column("signer_id", String, primary_key=True),
    Column("signing_key_id", String, primary_key=True),
    Column("signature", String, nullable=False),
)

# One row for each user whose device list we hold. `server_name` finds a peer's users;
# `received_at` is when the peer last sent the list, and null for our own users.
device_lists = Table(
    "device_lists",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("server_name", String, nullable=False, index=True),
    Column("position", BigInteger, nullable=False, index=True),
    Column("received_at", BigInteger),
)


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """A device's identity keys as JSON."""

    user_id: UserId
    device_id: DeviceId
    key_json: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature on somebody's device or cross-signing key."""

    user_id: UserId
    key_id: str
    signer_id: UserId
    signing_key_id: str
    signature: str


_DEVICE_KEYS = select(device_keys.c.user_id, device_keys.c.device_id, device_keys.c.key_json).where(
    device_keys.c.user_id.in_(bindparam("users", expanding=True))
)
_CROSS_SIGNING_KEYS = select(
    cross_signing_keys.c.user_id, cross_signing_keys.c.usage, cross_signing_keys.c.key_json
).where(cross_signing_keys.c.user_id.in_(bindparam("users", expanding=True)))
_SIGNATURES = select(key_signatures).where(
    key_signatures.c.user_id.in_(bindparam("users", expanding=True))
)
_RECEIVED_AT = select(device_lists.c.user_id, func.coalesce(device_lists.c.received_at, 0)).where(
    device_lists.c.user_id.in_(bindparam("users", expanding=True))
)
_COUNT_OF_SERVER = (
    select(func.count())
    .select_from(device_lists)
    .where(device_lists.c.server_name == bindparam("server"))
)
_CHANGED = select(device_lists.c.user_id).where(
    device_lists.c.position > bindparam("after"), device_lists.c.position <= bindparam("until")
)


def find_device_keys(view: View, users: Collection[UserId]) -> list[DeviceKeys]:
    """The identity keys of every device of these users that has some."""
    return [DeviceKeys(*row) for row in view.all(_DEVICE_KEYS, {"users": list(users)})]


def find_cross_signing_keys(
    view: View, users: Collection[UserId]
) -> dict[UserId, dict[str, bytes]]:
    """The cross-signing keys of these users as JSON, by usage."""
    found: dict[UserId, dict[str, bytes]] = {}
    for user_id, usage, keys in view.all(_CROSS_SIGNING_KEYS, {"users": list(users)}):
        found.setdefault(user_id, {})[usage] = keys
    return found


def signatures_on(view: View, users: Collection[UserId]) -> list[Signature]:
    """Every separate signature on keys of these users."""
    return [Signature(*row) for row in view.all(_SIGNATURES, {"users": list(users)})]


def save_device_keys(work: UnitOfWork, keys: DeviceKeys) -> None:
    """Keep a device's identity keys in place of those it had."""
    work.upsert(device_keys, asdict(keys))


def replace_device_keys(work: UnitOfWork, user_id: UserId, keys: Sequence[DeviceKeys]) -> None:
    """Make these the only devices of a peer's user."""
    work.delete(device_keys, user_id=user_id)
    work.insert_many(device_keys, [asdict(one) for one in keys])


def delete_device_keys(work: UnitOfWork, user_id: UserId, devices: Sequence[DeviceId]) -> int:
    """Forget devices' identity keys and the signatures on them; how many there were."""
    delete_signatures_on(work, user_id, devices)
    deleted = work.execute(
        delete(device_keys).where(
            device_keys.c.user_id == user_id, device_keys.c.device_id.in_(devices)
        )
    )
    return deleted.rowcount


def save_cross_signing_key(work: UnitOfWork, user_id: UserId, usage: str, keys: bytes) -> None:
    """Keep a cross-signing key in place of the one with the same usage."""
    work.upsert(cross_signing_keys, {"user_id": user_id, "usage": usage, "key_json": keys})


def replace_cross_signing_keys(
    work: UnitOfWork, user_id: UserId, keys: Mapping[str, bytes]
) -> None:
    """Make these, by usage, the only cross-signing keys of a peer's user."""
    work.delete(cross_signing_keys, user_id=user_id)
    work.insert_many(
        cross_signing_keys,
        [{"user_id": user_id, "usage": usage, "key_json": one} for usage, one in keys.items()],
    )


def save_signatures(work: UnitOfWork, signatures: Iterable[Signature]) -> None:
    """Add signatures; the same signing key's earlier one is replaced."""
    work.upsert_many(key_signatures, [asdict(one) for one in signatures])


def delete_signatures_on(work: UnitOfWork, user_id: UserId, key_ids: Collection[str]) -> None:
    """Forget the separate signatures on a user's keys, because these are not what was signed."""
    work.execute(
        delete(key_signatures).where(
            key_signatures.c.user_id == user_id, key_signatures.c.key_id.in_(key_ids)
        )
    )


def delete_cross_signing_signatures(
    work: UnitOfWork, user_id: UserId, public_keys: Collection[str]
) -> None:
    """Forget the signatures on cross-signing keys that were replaced, and those made with them."""
    key_ids = [f"ed25519:{key}" for key in public_keys]
    delete_signatures_on(work, user_id, public_keys)
    work.execute(
        delete(key_signatures).where(
            key_signatures.c.signer_id == user_id, key_signatures.c.signing_key_id.in_(key_ids)
        )
    )


def mark_device_list_changed(
    work: UnitOfWork, user_id: UserId, server: ServerName, received_at: int | None = None
) -> None:
    """Tell syncs that this user's devices or cross-signing keys are not what they were."""
    work.upsert(
        device_lists,
        {
            "user_id": user_id,
            "server_name": server,
            "position": work.next_position(),
            "received_at": received_at,
        },
    )
    work.wake(wake_ups.SYNC)


def touch_device_list(work: UnitOfWork, user_id: UserId) -> None:
    """Tell syncs that there are new signatures on this user's keys."""
    work.execute(
        device_lists.update()
        .where(device_lists.c.user_id == user_id)
        .values(position=work.next_position())
    )
    work.wake(wake_ups.SYNC)


def mark_device_list_received(work: UnitOfWork, user_id: UserId, received_at: int) -> None:
    """Note that a peer confirmed the list we hold already."""
    work.execute(_RECEIVED, {"of": user_id, "at": received_at})


_RECEIVED = (
    device_lists.update()
    .where(device_lists.c.user_id == bindparam("of"))
    .values(received_at=bindparam("at"))
)


def find_list_received_at(view: View, users: Collection[UserId]) -> dict[UserId, int]:
    """When the device lists of these users came (0 for our own); no key for lists not held."""
    rows = view.all(_RECEIVED_AT, {"users": list(users)})
    return {row[0]: row[1] for row in rows}


def device_list_changes(view: View, after: int, until: int) -> set[UserId]:
    """Whose device list changed after one position and up to another."""
    rows = view.all(_CHANGED, {"after": after, "until": until})
    return {UserId(row.user_id) for row in rows}


def count_users_of_server(view: View, server: ServerName) -> int:
    """How many users of a peer have their device list here."""
    return int(view.scalar(_COUNT_OF_SERVER, {"server": server}))


def delete_users_of_server(work: UnitOfWork, server: ServerName) -> None:
    """Forget all identity keys a peer gave us; part of revoking it.

    Separate signatures on them are our owner's, who has looked at these people's keys: they stand
    again when the same keys come back.
    """
    its_users = select(device_lists.c.user_id).where(device_lists.c.server_name == server)
    for table in (device_keys, cross_signing_keys):
        work.execute(delete(table).where(table.c.user_id.in_(its_users)))
    work.execute(delete(device_lists).where(device_lists.c.server_name == server))
