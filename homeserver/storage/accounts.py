"""The owner's account: password hash, profile, devices, tokens, saved filters, used txn IDs.

Tokens are stored as SHA-256 hashes only; whoever reads the database cannot log in with it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    select,
    update,
)

from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, UserId
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

users = Table(
    "users",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("password_hash", String, nullable=False),
    Column("profile", LargeBinary, nullable=False),  # JSON: displayname, avatar_url, m.tz, …
    Column("created_at", BigInteger, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("display_name", String),
    Column("last_seen_at", BigInteger, nullable=False),
)

# One row for each access token that may still be used. A refreshed token stays until its
# successor is used for the first time, so that a lost answer locks nobody out.
tokens = Table(
    "access_tokens",
    metadata,
    Column("access_hash", LargeBinary, primary_key=True),
    Column("refresh_hash", LargeBinary, unique=True),
    Column("user_id", String, nullable=False),
    Column("device_id", String, nullable=False),
    Column("expires_at", BigInteger),
    Column("replaces", LargeBinary),  # the access_hash of the token this one was refreshed from
    Index("ix_access_tokens_device", "user_id", "device_id"),
)

filters = Table(
    "filters",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("filter_id", String, primary_key=True),
    Column("definition", LargeBinary, nullable=False),
)

# Requests that must not happen twice when a client repeats them, apart from events.
used_transactions = Table(
    "used_transactions",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("txn_id", String, primary_key=True),  # with the request's name before it
    Column("used_at", BigInteger, nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class Device:
    """A client the owner logged in with."""

    device_id: DeviceId
    display_name: str | None
    last_seen_at: int


@dataclass(frozen=True, slots=True)
class Token:
    """What an access token stands for."""

    access_hash: bytes
    refresh_hash: bytes | None
    user_id: UserId
    device_id: DeviceId
    expires_at: int | None
    replaces: bytes | None


_OWNER = select(users.c.user_id).order_by(users.c.created_at).limit(1)
_PASSWORD = select(users.c.password_hash).where(users.c.user_id == bindparam("user_id"))
_PROFILE = select(users.c.profile).where(users.c.user_id == bindparam("user_id"))
_DEVICES = (
    select(devices.c.device_id, devices.c.display_name, devices.c.last_seen_at)
    .where(devices.c.user_id == bindparam("user_id"))
    .order_by(devices.c.device_id)
)
_DEVICE = _DEVICES.where(devices.c.device_id == bindparam("device_id"))
_TOKEN = select(tokens).where(tokens.c.access_hash == bindparam("access_hash"))
_REFRESH_TOKEN = select(tokens).where(tokens.c.refresh_hash == bindparam("refresh_hash"))
_FILTER = select(filters.c.definition).where(
    filters.c.user_id == bindparam("user_id"), filters.c.filter_id == bindparam("filter_id")
)
_OLD_TRANSACTIONS = delete(used_transactions).where(
    used_transactions.c.used_at < bindparam("before")
)


_WITH_ACCOUNTS = select(users.c.user_id).where(
    users.c.user_id.in_(bindparam("users", expanding=True))
)


def find_owner(view: View) -> UserId | None:
    """The one person this server belongs to; None before the account was made."""
    owner: UserId | None = view.scalar(_OWNER)
    return owner


def save_user(work: UnitOfWork, user_id: UserId, password_hash: str, now_ms: int) -> None:
    """Make an account with an empty profile. Raises IntegrityError where it exists."""
    work.insert(
        users,
        user_id=user_id,
        password_hash=password_hash,
        profile=canonical_json.encode({}),
        created_at=now_ms,
    )


def find_password_hash(view: View, user_id: UserId) -> str | None:
    """What a password is checked against; None where there is no such user."""
    found: str | None = view.scalar(_PASSWORD, {"user_id": user_id})
    return found


def save_password_hash(work: UnitOfWork, user_id: UserId, password_hash: str) -> None:
    """Replace the password."""
    work.execute(
        update(users).where(users.c.user_id == user_id).values(password_hash=password_hash)
    )


def find_profile(view: View, user_id: UserId) -> JsonObject | None:
    """The user's profile fields, as the specification names them; None for an unknown user."""
    raw = view.scalar(_PROFILE, {"user_id": user_id})
    if raw is None:
        return None
    profile: JsonObject = canonical_json.decode(raw)
    return profile


def save_profile(work: UnitOfWork, user_id: UserId, profile: bytes) -> None:
    """Replace the whole profile, given as JSON."""
    work.execute(update(users).where(users.c.user_id == user_id).values(profile=profile))


def list_devices(view: View, user_id: UserId) -> list[Device]:
    """Every device, by its ID."""
    return [Device(*row) for row in view.all(_DEVICES, {"user_id": user_id})]


def find_device(view: View, user_id: UserId, device_id: DeviceId) -> Device | None:
    """One device of the user."""
    row = view.one_or_none(_DEVICE, {"user_id": user_id, "device_id": device_id})
    return None if row is None else Device(*row)


def save_device(work: UnitOfWork, user_id: UserId, device: Device) -> None:
    """Add a device, or give it this name and time."""
    work.upsert(
        devices,
        {
            "user_id": user_id,
            "device_id": device.device_id,
            "display_name": device.display_name,
            "last_seen_at": device.last_seen_at,
        },
    )


def note_seen(work: UnitOfWork, user_id: UserId, device_id: DeviceId, at: int) -> None:
    """A device is in use."""
    of_device = {"user_id": user_id, "device_id": device_id}
    work.change(devices, of_device, {"last_seen_at": at})


def delete_devices(work: UnitOfWork, user_id: UserId, device_ids: Sequence[DeviceId]) -> None:
    """Forget devices, their tokens and their used transaction IDs."""
    for table in (devices, tokens, used_transactions):
        work.execute(
            delete(table).where(table.c.user_id == user_id, table.c.device_id.in_(device_ids))
        )


def save_token(work: UnitOfWork, token: Token) -> None:
    """Let a token in from now on."""
    work.insert(
        tokens,
        access_hash=token.access_hash,
        refresh_hash=token.refresh_hash,
        user_id=token.user_id,
        device_id=token.device_id,
        expires_at=token.expires_at,
        replaces=token.replaces,
    )


def find_token(view: View, access_hash: bytes) -> Token | None:
    """What the access token with this hash stands for, expired or not."""
    row = view.one_or_none(_TOKEN, {"access_hash": access_hash})
    return None if row is None else Token(*row)


def find_refresh_token(view: View, refresh_hash: bytes) -> Token | None:
    """The access token that was given together with the refresh token of this hash."""
    row = view.one_or_none(_REFRESH_TOKEN, {"refresh_hash": refresh_hash})
    return None if row is None else Token(*row)


def delete_tokens_of_device(work: UnitOfWork, user_id: UserId, device_id: DeviceId) -> None:
    """Lock a device out without forgetting it."""
    work.execute(delete(tokens).where(tokens.c.user_id == user_id, tokens.c.device_id == device_id))


def delete_predecessor(work: UnitOfWork, token: Token) -> None:
    """Revoke the token this one was refreshed from, now that this one is in use."""
    work.execute(delete(tokens).where(tokens.c.access_hash == token.replaces))
    work.execute(
        update(tokens).where(tokens.c.access_hash == token.access_hash).values(replaces=None)
    )


def delete_unused_successors(work: UnitOfWork, access_hash: bytes) -> None:
    """Drop tokens an earlier refresh of the same token gave out in vain."""
    work.execute(delete(tokens).where(tokens.c.replaces == access_hash))


def save_filter(work: UnitOfWork, user_id: UserId, filter_id: str, definition: bytes) -> None:
    """Keep a filter; the same one again changes nothing."""
    work.upsert(filters, {"user_id": user_id, "filter_id": filter_id, "definition": definition}, ())


def find_filter(view: View, user_id: UserId, filter_id: str) -> bytes | None:
    """A saved filter's JSON."""
    found: bytes | None = view.scalar(_FILTER, {"user_id": user_id, "filter_id": filter_id})
    return found


def count_filters(view: View, user_id: UserId) -> int:
    """How many filters the user has saved."""
    counted = select(func.count()).select_from(filters).where(filters.c.user_id == user_id)
    return int(view.scalar(counted))


def use_transaction(
    work: UnitOfWork, user_id: UserId, device_id: DeviceId, txn_id: str, now_ms: int
) -> bool:
    """Claim a transaction ID; False if the device has used it in the last day."""
    work.execute(_OLD_TRANSACTIONS, {"before": now_ms - 86_400_000})
    known = is_transaction_used(work, user_id, device_id, txn_id)
    if not known:
        work.insert(
            used_transactions,
            user_id=user_id,
            device_id=device_id,
            txn_id=txn_id,
            used_at=now_ms,
        )
    return not known


_TRANSACTION = select(used_transactions.c.used_at).where(
    used_transactions.c.user_id == bindparam("user_id"),
    used_transactions.c.device_id == bindparam("device_id"),
    used_transactions.c.txn_id == bindparam("txn_id"),
)


def is_transaction_used(view: View, user_id: UserId, device_id: DeviceId, txn_id: str) -> bool:
    """Whether the device has used that transaction ID."""
    key = {"user_id": user_id, "device_id": device_id, "txn_id": txn_id}
    return view.scalar(_TRANSACTION, key) is not None


def users_with_accounts(view: View, asked: Iterable[UserId]) -> set[UserId]:
    """Which of these users live on this server."""
    found = view.all(_WITH_ACCOUNTS, {"users": list(asked)})
    return {row.user_id for row in found}
