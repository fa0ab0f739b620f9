"""Server-side backups of room keys: their versions and the encrypted keys in them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    LargeBinary,
    Select,
    String,
    Table,
    bindparam,
    delete,
    func,
    select,
    update,
)

from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# A deleted version stays as an empty row, so that its number is never given again.
backups = Table(
    "key_backups",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("algorithm", String, nullable=False),
    Column("auth_data", LargeBinary, nullable=False),
    Column("etag", BigInteger, nullable=False),  # counts the changes of its keys
    Column("is_deleted", Boolean, nullable=False),
)

backup_keys = Table(
    "key_backup_keys",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("room_id", String, primary_key=True),
    Column("session_id", String, primary_key=True),
    Column("first_message_index", BigInteger, nullable=False),
    Column("forwarded_count", BigInteger, nullable=False),
    Column("is_verified", Boolean, nullable=False),
    Column("session", LargeBinary, nullable=False),  # JSON, encrypted by the client
)


# What a key takes beside itself: its names twice, in the table and in its index.
_ROW_BYTES = 256

# Version, etag and length of the auth data of each backup; another one after each change.
BackupsState = list[tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Backup:
    """One version of the backup, without its keys."""

    version: int
    algorithm: str
    auth_data: bytes
    etag: int


@dataclass(frozen=True, slots=True)
class BackupKey:
    """The encrypted key of one Megolm session."""

    room_id: RoomId
    session_id: str
    first_message_index: int
    forwarded_count: int
    is_verified: bool
    session: bytes


_BACKUP = select(backups.c.version, backups.c.algorithm, backups.c.auth_data, backups.c.etag).where(
    backups.c.user_id == bindparam("user_id"), backups.c.is_deleted.is_(False)
)
_NEWEST = _BACKUP.order_by(backups.c.version.desc()).limit(1)
_VERSION = _BACKUP.where(backups.c.version == bindparam("version"))

_DELETED = select(backups.c.version).where(
    backups.c.user_id == bindparam("user_id"),
    backups.c.version == bindparam("version"),
    backups.c.is_deleted.is_(True),
)

_STATE = (
    select(backups.c.version, backups.c.etag, func.length(backups.c.auth_data))
    .where(backups.c.user_id == bindparam("user_id"), backups.c.is_deleted.is_(False))
    .order_by(backups.c.version)
)
_KEY_BYTES = select(func.sum(func.length(backup_keys.c.session) + _ROW_BYTES)).where(
    backup_keys.c.user_id == bindparam("user_id")
)


def find_backup(view: View, user_id: UserId, version: int | None = None) -> Backup | None:
    """One version of the user's backup, or the newest."""
    row = (
        view.one_or_none(_NEWEST, {"user_id": user_id})
        if version is None
        else view.one_or_none(_VERSION, {"user_id": user_id, "version": version})
    )
    return None if row is None else Backup(*row)


def was_deleted(view: View, user_id: UserId, version: int) -> bool:
    """Whether there was such a version once."""
    return view.one_or_none(_DELETED, {"user_id": user_id, "version": version}) is not None


def save_backup(work: UnitOfWork, user_id: UserId, algorithm: str, auth_data: bytes) -> int:
    """Begin a new version; its number."""
    newest = select(func.max(backups.c.version)).where(backups.c.user_id == user_id)
    version = int(work.scalar(newest) or 0) + 1
    work.insert(
        backups,
        user_id=user_id,
        version=version,
        algorithm=algorithm,
        auth_data=auth_data,
        etag=0,
        is_deleted=False,
    )
    return version


def save_auth_data(work: UnitOfWork, user_id: UserId, version: int, auth_data: bytes) -> None:
    """Change what a version says about its key."""
    work.execute(
        update(backups)
        .where(backups.c.user_id == user_id, backups.c.version == version)
        .values(auth_data=auth_data)
    )


def delete_backup(work: UnitOfWork, user_id: UserId, version: int) -> None:
    """Delete a version and all its keys."""
    delete_backup_keys(work, user_id, version)
    work.execute(
        update(backups)
        .where(backups.c.user_id == user_id, backups.c.version == version)
        .values(is_deleted=True, auth_data=b"{}")
    )


def touch_backup(work: UnitOfWork, user_id: UserId, version: int) -> None:
    """Change a version's etag, because its keys changed."""
    work.execute(
        update(backups)
        .where(backups.c.user_id == user_id, backups.c.version == version)
        .values(etag=backups.c.etag + 1)
    )


def count_backup_keys(view: View, user_id: UserId, version: int) -> int:
    """How many keys a version holds."""
    counted = (
        select(func.count())
        .select_from(backup_keys)
        .where(backup_keys.c.user_id == user_id, backup_keys.c.version == version)
    )
    return int(view.scalar(counted))


def state_of_backups(view: View, user_id: UserId) -> BackupsState:
    """Tells whether anything in a user's backups changed."""
    return [(row[0], row[1], row[2]) for row in view.all(_STATE, {"user_id": user_id})]


def measure_backups(view: View, user_id: UserId) -> int:
    """How many bytes all versions of a user's backup take."""
    described = sum(length for _, _, length in state_of_backups(view, user_id))
    return described + int(view.scalar(_KEY_BYTES, {"user_id": user_id}) or 0)


def weight(key: BackupKey) -> int:
    """How many bytes a key takes in a backup."""
    return len(key.session) + _ROW_BYTES


def load_backup_keys(
    view: View,
    user_id: UserId,
    version: int,
    room_ids: Sequence[RoomId] | None = None,
    session_ids: Sequence[str] | None = None,
) -> list[BackupKey]:
    """The keys of a version: all, those of some rooms, or those of some sessions in them."""
    wanted: Select[tuple[object, ...]] = select(
        *(backup_keys.c[name] for name in BackupKey.__slots__)
    ).where(backup_keys.c.user_id == user_id, backup_keys.c.version == version)
    if room_ids is not None:
        wanted = wanted.where(backup_keys.c.room_id.in_(room_ids))
    if session_ids is not None:
        wanted = wanted.where(backup_keys.c.session_id.in_(session_ids))
    return [BackupKey(*row) for row in view.all(wanted)]


def save_backup_keys(
    work: UnitOfWork, user_id: UserId, version: int, keys: Sequence[BackupKey]
) -> None:
    """Add keys, in place of those of the same sessions."""
    owner = {"user_id": user_id, "version": version}
    work.upsert_many(backup_keys, [owner | asdict(key) for key in keys])


def delete_backup_keys(
    work: UnitOfWork,
    user_id: UserId,
    version: int,
    room_id: RoomId | None = None,
    session_id: str | None = None,
) -> int:
    """Delete a version's keys: all, those of one room, or of one session; how many there were."""
    unwanted = delete(backup_keys).where(
        backup_keys.c.user_id == user_id, backup_keys.c.version == version
    )
    if room_id is not None:
        unwanted = unwanted.where(backup_keys.c.room_id == room_id)
    if session_id is not None:
        unwanted = unwanted.where(backup_keys.c.session_id == session_id)
    return work.execute(unwanted).rowcount
