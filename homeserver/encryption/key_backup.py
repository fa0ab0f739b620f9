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
# A session takes about 800 bytes; somebody who talks a lot has some ten thousand in a few years.
SESSIONS_LIMIT = 500_000
SESSION_BYTES_LIMIT = 65_536


@dataclass(frozen=True, slots=True)
class Where:
    """Which keys of a backup are meant: all of them, one room's, or one session's."""

    version: str
    room_id: RoomId | None = None
    session_id: str | None = None


class KeyBackup:
    """The owner's key backup and its versions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_version(
        self, requester: Requester, algorithm: str, auth_data: JsonObject
    ) -> str:
        """Begin a new backup, which becomes the current one.

        Spec: client-server-api#post_matrixclientv3room_keysversion
        """
        raw = to_json(auth_data)
        version = await self._database.write(
            lambda work: encryption.save_backup(work, requester.user_id, algorithm, raw)
        )
        return str(version)

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
        raw = to_json(auth_data)

        def save(work: UnitOfWork) -> None:
            backup = _load(work, requester.user_id, version)
            if backup.algorithm != algorithm:
                raise errors.InvalidParam("The algorithm does not match.")
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

        Spec: client-server-api#put_matrixclientv3room_keyskeys
        """
        user_id, offered = requester.user_id, list(keys)
        if any(len(one.session) > SESSION_BYTES_LIMIT for one in offered):
            raise errors.TooLarge("One of the keys is too large for the backup.")

        def save(work: UnitOfWork) -> JsonObject:
            backup = _load(work, user_id, version)
            current = _load(work, user_id, None)
            if current.version != backup.version:
                raise errors.WrongBackupVersion(current_version=str(current.version))
            held = _held(work, user_id, backup.version, offered)
            better = [one for one in offered if _is_better(one, held.get(_place(one)))]
            encryption.save_backup_keys(work, user_id, backup.version, better)
            if better:
                encryption.touch_backup(work, user_id, backup.version)
            summary = _summary(work, user_id, version)
            if len(held) < len(offered) and summary["count"] > SESSIONS_LIMIT:
                raise errors.TooLarge(f"The backup is full: it holds {SESSIONS_LIMIT} keys.")
            return summary

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


def to_json(value: JsonObject) -> bytes:
    """What a client encrypted, as it is stored. Raises BadJson where it is nested too deeply."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise errors.BadJson from error
