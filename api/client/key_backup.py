"""Server-side key backup.

Spec: client-server-api#server-side-key-backups
"""

from collections.abc import Iterator
from typing import Annotated

import orjson
from pydantic import BaseModel, Field, StrictBool, StrictStr

from api.routing import Query, Routes
from homeserver import errors
from homeserver.encryption import key_backup
from homeserver.encryption.key_backup import BackupKey, KeyBackup, Where
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.ports import Requester

routes = Routes("/_matrix/client/v3/room_keys", "/_matrix/client/r0/room_keys")

_ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
# Some clients send all their keys at once; ten thousand take eight million bytes.
_BODY_LIMIT = 16 << 20
_Count = Annotated[int, Field(ge=0, lt=1 << 53, strict=True)]


class VersionBody(BaseModel):
    """A backup's algorithm and public key."""

    algorithm: StrictStr
    auth_data: JsonObject
    version: StrictStr | None = None


class KeyBody(BaseModel):
    """One encrypted key."""

    first_message_index: _Count
    forwarded_count: _Count
    is_verified: StrictBool
    session_data: JsonObject


class RoomBody(BaseModel):
    """The keys of one room by session."""

    sessions: dict[str, KeyBody]


class RoomsBody(BaseModel):
    """Keys by room and session."""

    rooms: dict[str, RoomBody]


class Version(BaseModel):
    """Which backup is meant."""

    version: str


@routes.post("/version")
async def create_version(requester: Requester, body: VersionBody, backup: KeyBackup) -> JsonObject:
    """Begin a new backup.

    Spec: client-server-api#post_matrixclientv3room_keysversion
    """
    if body.algorithm != _ALGORITHM:
        raise errors.InvalidParam(f"The one algorithm for backups is {_ALGORITHM}.")
    return {"version": await backup.create_version(requester, body.algorithm, body.auth_data)}


@routes.get("/version")
async def get_current_version(requester: Requester, backup: KeyBackup) -> JsonObject:
    """The current backup.

    Spec: client-server-api#get_matrixclientv3room_keysversion
    """
    return backup.find_version(requester, None)


@routes.get("/version/{version}")
async def get_version(requester: Requester, version: str, backup: KeyBackup) -> JsonObject:
    """One backup.

    Spec: client-server-api#get_matrixclientv3room_keysversionversion
    """
    return backup.find_version(requester, version)


@routes.put("/version/{version}")
async def update_version(
    requester: Requester, version: str, body: VersionBody, backup: KeyBackup
) -> JsonObject:
    """Change what a backup says about its key.

    Spec: client-server-api#put_matrixclientv3room_keysversionversion
    """
    if body.version not in (None, version):
        raise errors.InvalidParam("The version does not match the one in the path.")
    await backup.update_version(requester, version, body.algorithm, body.auth_data)
    return {}


@routes.delete("/version/{version}")
async def delete_version(requester: Requester, version: str, backup: KeyBackup) -> JsonObject:
    """Delete a backup with its keys.

    Spec: client-server-api#delete_matrixclientv3room_keysversionversion
    """
    await backup.delete_version(requester, version)
    return {}


@routes.put("/keys", body_limit=_BODY_LIMIT)
async def put_all(
    requester: Requester, query: Query[Version], body: RoomsBody, backup: KeyBackup
) -> JsonObject:
    """Add keys of several rooms.

    Spec: client-server-api#put_matrixclientv3room_keyskeys
    """
    keys = [
        key for room_id, room in body.rooms.items() for key in _keys(RoomId(room_id), room.sessions)
    ]
    return await backup.put_keys(requester, query.version, keys)


@routes.put("/keys/{room_id}", body_limit=_BODY_LIMIT)
async def put_room(
    requester: Requester,
    room_id: RoomId,
    query: Query[Version],
    body: RoomBody,
    backup: KeyBackup,
) -> JsonObject:
    """Add keys of one room.

    Spec: client-server-api#put_matrixclientv3room_keyskeysroomid
    """
    return await backup.put_keys(requester, query.version, _keys(room_id, body.sessions))


@routes.put("/keys/{room_id}/{session_id}")
async def put_session(
    requester: Requester,
    room_id: RoomId,
    session_id: str,
    query: Query[Version],
    body: KeyBody,
    backup: KeyBackup,
) -> JsonObject:
    """Add one key.

    Spec: client-server-api#put_matrixclientv3room_keyskeysroomidsessionid
    """
    return await backup.put_keys(requester, query.version, _keys(room_id, {session_id: body}))


@routes.get("/keys")
async def get_all(requester: Requester, query: Query[Version], backup: KeyBackup) -> JsonObject:
    """Every key.

    Spec: client-server-api#get_matrixclientv3room_keyskeys
    """
    rooms: JsonObject = {}
    for key in await backup.load_keys(requester, Where(query.version)):
        sessions = rooms.setdefault(key.room_id, {"sessions": {}})["sessions"]
        sessions[key.session_id] = _shown(key)
    return {"rooms": rooms}


@routes.get("/keys/{room_id}")
async def get_room(
    requester: Requester, room_id: RoomId, query: Query[Version], backup: KeyBackup
) -> JsonObject:
    """The keys of one room.

    Spec: client-server-api#get_matrixclientv3room_keyskeysroomid
    """
    keys = await backup.load_keys(requester, Where(query.version, room_id))
    return {"sessions": {key.session_id: _shown(key) for key in keys}}


@routes.get("/keys/{room_id}/{session_id}")
async def get_session(
    requester: Requester,
    room_id: RoomId,
    session_id: str,
    query: Query[Version],
    backup: KeyBackup,
) -> JsonObject:
    """One key.

    Spec: client-server-api#get_matrixclientv3room_keyskeysroomidsessionid
    """
    keys = await backup.load_keys(requester, Where(query.version, room_id, session_id))
    if not keys:
        raise errors.NotFound("There is no such key in the backup.")
    return _shown(keys[0])


@routes.delete("/keys")
async def delete_all(requester: Requester, query: Query[Version], backup: KeyBackup) -> JsonObject:
    """Delete every key.

    Spec: client-server-api#delete_matrixclientv3room_keyskeys
    """
    return await backup.delete_keys(requester, Where(query.version))


@routes.delete("/keys/{room_id}")
async def delete_room(
    requester: Requester, room_id: RoomId, query: Query[Version], backup: KeyBackup
) -> JsonObject:
    """Delete the keys of one room.

    Spec: client-server-api#delete_matrixclientv3room_keyskeysroomid
    """
    return await backup.delete_keys(requester, Where(query.version, room_id))


@routes.delete("/keys/{room_id}/{session_id}")
async def delete_session(
    requester: Requester,
    room_id: RoomId,
    session_id: str,
    query: Query[Version],
    backup: KeyBackup,
) -> JsonObject:
    """Delete one key.

    Spec: client-server-api#delete_matrixclientv3room_keyskeysroomidsessionid
    """
    return await backup.delete_keys(requester, Where(query.version, room_id, session_id))


def _keys(room_id: RoomId, sessions: dict[str, KeyBody]) -> Iterator[BackupKey]:
    for session_id, key in sessions.items():
        yield BackupKey(
            room_id,
            session_id,
            key.first_message_index,
            key.forwarded_count,
            key.is_verified,
            key_backup.to_json(key.session_data),
        )


def _shown(key: BackupKey) -> JsonObject:
    return {
        "first_message_index": key.first_message_index,
        "forwarded_count": key.forwarded_count,
        "is_verified": key.is_verified,
        "session_data": orjson.Fragment(key.session),
    }
