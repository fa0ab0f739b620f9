"""Server-side backup of room keys, which only the owner's clients can read.

Spec: client-server-api#server-side-key-backups
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.ports import Requester
from homeserver.storage import encryption
from homeserver.storage.database import Database
from homeserver.storage.encryption import Backup, BackupKey
from homeserver.storage.unit_of_work import UnitOfWork, View

__all__ = ["BackupKey", "KeyBackup", "Where", "to_json"]

# Longer numbers do not fit the column.
_DIGITS_LIMIT = 15
SESSION_BYTES_LIMIT = 65_536
_AUTH_DATA_LIMIT = 65_536
_NAME_LIMIT = 255
_FULL = "The key backup is full. Delete versions of it that you do not need any more."

# What was measured of a user's backups: the state they were in, and their bytes.
_Measured = tuple[encryption.BackupsState, int]


@dataclass(frozen=True, slots=True)
class Where:
    """Which keys of a backup are meant: all of them, one room's, or one session's."""

    version: str
    room_id: RoomId | None = None
    session_id: str | None = None


class KeyBackup:
    """The owner's key backup and its versions, which share one quota.

    A session takes about a kibibyte; somebody who talks a lot has ten thousand in a few years.
    """

    def __init__(self, database: Database, quota_bytes: int) -> None:
        self._database = database
        self._quota = quota_bytes
        self._measured: dict[UserId, _Measured] = {}

    async def create_version(
        self, requester: Requester, algorithm: str, auth_data: JsonObject
    ) -> str:
        """Begin a new backup, which becomes the current one.

        Spec: client-server-api#post_matrixclientv3room_keysversion
        """
        raw = _auth_data(auth_data)

        def save(work: UnitOfWork) -> int:
            self._make_room(work, requester.user_id, len(raw))
            return encryption.save_backup(work, requester.user_id, algorithm, raw)

        return str(await self._database.write(save))

    def find_version(self, requester: Requester, version: str | None) -> JsonObject:
        """Describe one backup, or the current one.

        Spec: client-server-api#get_matrixclientv3room_keysversion
        """

        def describe(view: View) -> JsonObject:
            backup = _load(view, requester.user_id, version)
            count = encryption.count_backup_keys(view, requester.user_id, backup.version)
            return {
                "version": str(backup.version),
                "algorithm": backup.algorithm,
                "auth_data": orjson.loads(backup.auth_data),
                "count": count,
                "etag": str(backup.etag),
            }

        return self._database.read(describe)

    async def update_version(
        self, requester: Requester, version: str, algorithm: str, auth_data: JsonObject
    ) -> None:
        """Change what a backup says about its key, such as who signed it.

        Spec: client-server-api#put_matrixclientv3room_keysversionversion
        """
        raw = _auth_data(auth_data)

        def save(work: UnitOfWork) -> None:
            backup = _load(work, requester.user_id, version)
            if backup.algorithm != algorithm:
                raise errors.InvalidParam("The algorithm does not match.")
            self._make_room(work, requester.user_id, len(raw) - len(backup.auth_data))
            encryption.save_auth_data(work, requester.user_id, backup.version, raw)

        await self._database.write(save)

    async def delete_version(self, requester: Requester, version: str) -> None:
        """Delete a backup with all its keys. One that was deleted before stays so.

        Spec: client-server-api#delete_matrixclientv3room_keysversionversion
        """

        def delete(work: UnitOfWork) -> None:
            if encryption.was_deleted(work, requester.user_id, _number(version)):
                return
            backup = _load(work, requester.user_id, version)
            encryption.delete_backup(work, requester.user_id, backup.version)

        await self._database.write(delete)

    async def put_keys(
        self, requester: Requester, version: str, keys: Iterable[BackupKey]
    ) -> JsonObject:
        """Add keys to the current backup, where they are better than what it holds.

        Where they do not fit, none of them is kept, and whatever was kept before stays.

        Spec: client-server-api#put_matrixclientv3room_keyskeys
        """
        user_id, offered = requester.user_id, list(keys)
        if any(_is_too_large(one) for one in offered):
            raise errors.TooLarge("One of the keys, or its name, is too large for the backup.")

        def save(work: UnitOfWork) -> JsonObject:
            backup = _load(work, user_id, version)
            current = _load(work, user_id, None)
            if current.version != backup.version:
                raise errors.WrongBackupVersion(current_version=str(current.version))
            held = _held(work, user_id, backup.version, offered)
            better = [one for one in offered if _is_better(one, held.get(_place(one)))]
            if better:
                size = self._make_room(work, user_id, _growth(better, held))
                encryption.save_backup_keys(work, user_id, backup.version, better)
                encryption.touch_backup(work, user_id, backup.version)
                self._remember(work, user_id, size)
            return _summary(work, user_id, version)

        return await self._database.write(save)

    async def load_keys(self, requester: Requester, where: Where) -> list[BackupKey]:
        """The keys of any backup that still exists.

        Spec: client-server-api#get_matrixclientv3room_keyskeys
        """

        def load(view: View) -> list[BackupKey]:
            backup = _load(view, requester.user_id, where.version)
            return encryption.load_backup_keys(
                view,
                requester.user_id,
                backup.version,
                None if where.room_id is None else [where.room_id],
                None if where.session_id is None else [where.session_id],
            )

        return await self._database.scan(load)

    async def delete_keys(self, requester: Requester, where: Where) -> JsonObject:
        """Delete keys from a backup.

        Spec: client-server-api#delete_matrixclientv3room_keyskeys
        """

        def delete(work: UnitOfWork) -> JsonObject:
            backup = _load(work, requester.user_id, where.version)
            deleted = encryption.delete_backup_keys(
                work, requester.user_id, backup.version, where.room_id, where.session_id
            )
            if deleted:
                encryption.touch_backup(work, requester.user_id, backup.version)
            return _summary(work, requester.user_id, where.version)

        return await self._database.write(delete)

    def _make_room(self, work: UnitOfWork, user_id: UserId, growth: int) -> int:
        """How large a user's backups will be; raises where they grow and do not fit any more."""
        size = self._size(work, user_id) + growth
        if growth > 0 and size > self._quota:
            raise errors.TooLarge(_FULL)
        return size

    def _size(self, view: View, user_id: UserId) -> int:
        """How many bytes a user's backups take.

        To measure them is to read all of them, so it is done only if they are in another state
        than the one that was remembered.
        """
        state, size = self._measured.get(user_id, (None, 0))
        if state == encryption.state_of_backups(view, user_id):
            return size
        return encryption.measure_backups(view, user_id)

    def _remember(self, work: UnitOfWork, user_id: UserId, size: int) -> None:
        measured = encryption.state_of_backups(work, user_id), size
        work.at_commit(lambda: self._measured.update({user_id: measured}))


def _number(version: str) -> int:
    if not (version.isascii() and version.isdigit() and len(version) <= _DIGITS_LIMIT):
        raise errors.NotFound("There is no such backup.")
    return int(version)


def _load(view: View, user_id: UserId, version: str | None) -> Backup:
    number = None if version is None else _number(version)
    backup = encryption.find_backup(view, user_id, number)
    if backup is None:
        raise errors.NotFound("There is no such backup.")
    return backup


def _summary(view: View, user_id: UserId, version: str) -> JsonObject:
    backup = _load(view, user_id, version)
    count = encryption.count_backup_keys(view, user_id, backup.version)
    return {"count": count, "etag": str(backup.etag)}


def _held(
    view: View, user_id: UserId, version: int, offered: list[BackupKey]
) -> Mapping[tuple[str, str], BackupKey]:
    """What the backup holds for the sessions offered, in steps the database can take."""
    held = {}
    for start in range(0, len(offered), 500):
        some = offered[start : start + 500]
        for key in encryption.load_backup_keys(
            view,
            user_id,
            version,
            sorted({one.room_id for one in some}),
            sorted({one.session_id for one in some}),
        ):
            held[_place(key)] = key
    return held


def _growth(better: list[BackupKey], held: Mapping[tuple[str, str], BackupKey]) -> int:
    replaced = [held[_place(one)] for one in better if _place(one) in held]
    return sum(map(encryption.weight, better)) - sum(map(encryption.weight, replaced))


def _is_too_large(key: BackupKey) -> bool:
    names = len(key.room_id.encode()), len(key.session_id.encode())
    return len(key.session) > SESSION_BYTES_LIMIT or max(names) > _NAME_LIMIT


def _place(key: BackupKey) -> tuple[str, str]:
    return key.room_id, key.session_id


def _is_better(offered: BackupKey, held: BackupKey | None) -> bool:
    """Verified before unverified, then from the earlier message on, then less often forwarded.

    Spec: client-server-api#backup-algorithm-mmegolm_backupv1curve25519-aes-sha2
    """
    if held is None:
        return True
    return (
        not offered.is_verified,
        offered.first_message_index,
        offered.forwarded_count,
    ) < (not held.is_verified, held.first_message_index, held.forwarded_count)


def _auth_data(value: JsonObject) -> bytes:
    raw = to_json(value)
    if len(raw) > _AUTH_DATA_LIMIT:
        raise errors.TooLarge("What the backup says about its key is too large.")
    return raw


def to_json(value: JsonObject) -> bytes:
    """What a client encrypted, as it is stored. Raises BadJson where it is nested too deeply."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise errors.BadJson from error
