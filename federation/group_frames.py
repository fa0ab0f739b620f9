"""What goes beside an Olm message: events encrypted once for all, and how the frame names them.

Pure. A group message's plaintext names its sender and its room, so that it counts as nothing else.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence

import orjson
from pydantic import Field

from federation import payloads
from federation.payloads import Payload
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId

MOST_MESSAGES = 200  # in one envelope, which counts them in a byte
_MOST_ROOMS = 64
_SESSION_ID = Field(pattern=r"^[A-Za-z0-9+/]{1,64}$")
_LENGTH = struct.Struct(">I")


class GroupKey(Payload):
    """A session of the sender for one room, as of its first index."""

    room_id: RoomId = Field(min_length=1, max_length=255)
    session_id: str = _SESSION_ID
    session_key: str = Field(max_length=1_024)


class GroupMessage(Payload):
    """A group message of the same envelope, and where its event stands among the frame's."""

    place: int = Field(ge=0, lt=1_000)
    session_id: str = _SESSION_ID
    sha256: str = Field(min_length=64, max_length=64)


class Groups(Payload):
    """What a transaction says about the group messages beside it."""

    keys: list[GroupKey] = Field(default=[], max_length=_MOST_ROOMS)
    messages: list[GroupMessage] = Field(max_length=MOST_MESSAGES)


class _Plaintext(Payload):
    direction: str = Field(max_length=64)
    room_id: str = Field(max_length=255)
    pdu: JsonObject


def hash_of(ciphertext: bytes) -> str:
    """How a frame names a group message."""
    return hashlib.sha256(ciphertext).hexdigest()


def write_plaintext(direction: str, room_id: RoomId, pdu: bytes) -> bytes:
    """What a group message holds: an event of ours for one room."""
    return orjson.dumps({"direction": direction, "room_id": room_id, "pdu": orjson.Fragment(pdu)})


def read_plaintext(plaintext: bytes, direction: str, room_id: RoomId) -> JsonObject:
    """The event; raises `BadJson` if it was encrypted by another server or for another room."""
    try:
        read = payloads.read(_Plaintext, orjson.loads(plaintext))
    except (ValueError, RecursionError) as error:
        raise errors.BadJson from error
    if (read.direction, read.room_id, read.pdu.get("room_id")) != (direction, room_id, room_id):
        raise errors.BadJson
    return read.pdu


def weave(pdus: Sequence[JsonObject], events: Sequence[tuple[int, JsonObject]]) -> list[JsonObject]:
    """Put events at their places between the others; raises `BadJson` where that cannot be."""
    placed = dict(events)
    beside, woven = iter(pdus), []
    if len(placed) != len(events):
        raise errors.BadJson
    for place in range(len(pdus) + len(placed)):
        event = placed[place] if place in placed else next(beside, None)
        if event is None:
            raise errors.BadJson
        woven.append(event)
    return woven


def pack(ciphertexts: Iterable[bytes]) -> bytes:
    """Group messages as they are stored with the frame in flight."""
    return b"".join(_LENGTH.pack(len(one)) + one for one in ciphertexts)


def unpack(packed: bytes) -> tuple[bytes, ...]:
    """The group messages that `pack` took."""
    found, at = [], 0
    while at < len(packed):
        (length,) = _LENGTH.unpack_from(packed, at)
        at += _LENGTH.size + length
        found.append(packed[at - length : at])
    return tuple(found)
