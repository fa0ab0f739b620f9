"""User, room, event and alias IDs, server names and mxc URIs: parse and check."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

from homeserver.errors import InvalidParam

UserId = NewType("UserId", str)
RoomId = NewType("RoomId", str)
EventId = NewType("EventId", str)
RoomAlias = NewType("RoomAlias", str)
ServerName = NewType("ServerName", str)
DeviceId = NewType("DeviceId", str)

MAX_ID_BYTES = 255

_SERVER = r"(?:[A-Za-z0-9.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
_LOCALPART = "[^:\x00\ud800-\udfff]"
_SERVER_NAME = re.compile(_SERVER)
# Servers must accept user IDs that were allowed long ago: any localpart without ":" and NUL.
_USER_ID = re.compile(f"@{_LOCALPART}*:{_SERVER}")
_STRICT_LOCALPART = re.compile(r"[a-z0-9._=/+-]+")
_ROOM_ALIAS = re.compile(f"#{_LOCALPART}+:{_SERVER}")
_ROOM_ID = re.compile(f"!(?:{_LOCALPART}+:{_SERVER}|[A-Za-z0-9_-]{{43}})")
_EVENT_ID = re.compile(r"\$[A-Za-z0-9_-]{43}")
_OPAQUE_ID = re.compile(r"[0-9A-Za-z._~-]{1,255}")
_MXC = re.compile(f"mxc://({_SERVER})/([A-Za-z0-9_-]{{1,255}})")


@dataclass(frozen=True, slots=True)
class MxcUri:
    """Where a file lives: the server that keeps it, and its ID there.

    Spec: client-server-api#matrix-content-mxc-uris
    """

    server: ServerName
    media_id: str

    def __str__(self) -> str:
        return f"mxc://{self.server}/{self.media_id}"


def fits(text: str) -> bool:
    """Whether an identifier keeps the limit of 255 bytes."""
    if len(text) > MAX_ID_BYTES:
        return False
    return text.isascii() or len(text.encode("utf-8", "surrogatepass")) <= MAX_ID_BYTES


@lru_cache(maxsize=4096)
def is_user_id(text: str) -> bool:
    """Whether this may stand as a sender, historical user IDs included.

    Spec: appendices#user-identifiers
    """
    return fits(text) and _USER_ID.fullmatch(text) is not None


def parse_user_id(text: str) -> UserId:
    """Accept any user ID that may take part in a room.

    Spec: appendices#user-identifiers
    """
    if not is_user_id(text):
        raise InvalidParam("That is not a user ID.")
    return UserId(text)


def parse_strict_localpart(text: str) -> str:
    """Accept a localpart that may be given to somebody today.

    Spec: appendices#user-identifiers
    """
    if not _STRICT_LOCALPART.fullmatch(text):
        raise InvalidParam("A user name may hold only a-z, 0-9 and the characters . _ = - / +")
    return text


def parse_room_id(text: str) -> RoomId:
    """Accept a room ID with a domain, or the hash that is a room ID from version 12.

    Spec: appendices#room-ids
    """
    if not fits(text) or not _ROOM_ID.fullmatch(text):
        raise InvalidParam("That is not a room ID.")
    return RoomId(text)


def parse_event_id(text: str) -> EventId:
    """Accept an event ID that is a hash, as in every room version we know.

    Spec: appendices#event-ids
    """
    if not _EVENT_ID.fullmatch(text):
        raise InvalidParam("That is not an event ID.")
    return EventId(text)


def parse_room_alias(text: str) -> RoomAlias:
    """Accept a room alias.

    Spec: appendices#room-aliases
    """
    if not fits(text) or not _ROOM_ALIAS.fullmatch(text):
        raise InvalidParam("That is not a room alias.")
    return RoomAlias(text)


def parse_server_name(text: str) -> ServerName:
    """Accept a host name or address with an optional port.

    Spec: appendices#server-name
    """
    if not fits(text) or not _SERVER_NAME.fullmatch(text):
        raise InvalidParam("That is not a server name.")
    return ServerName(text)


def parse_device_id(text: str) -> DeviceId:
    """Accept a device ID that clients may choose: up to 255 bytes, no control characters."""
    if not text or not fits(text) or not text.isprintable():
        raise InvalidParam("That is not a device ID.")
    return DeviceId(text)


def parse_opaque_id(text: str) -> str:
    """Accept an identifier such as a transaction or filter ID.

    Spec: appendices#opaque-identifiers
    """
    if not _OPAQUE_ID.fullmatch(text):
        raise InvalidParam("That identifier has characters that are not allowed.")
    return text


def parse_mxc_uri(text: str) -> MxcUri:
    """Split an mxc URI into server and media ID.

    Spec: client-server-api#matrix-content-mxc-uris
    """
    match = _MXC.fullmatch(text)
    if match is None:
        raise InvalidParam("That is not an mxc URI.")
    return MxcUri(ServerName(match[1]), match[2])


@lru_cache(maxsize=4096)
def server_of(identifier: str) -> ServerName:
    """Return the server that gave out a user ID, an alias or an mxc URI."""
    if identifier.startswith("mxc://"):
        return parse_mxc_uri(identifier).server
    _, colon, server = identifier.partition(":")
    if not colon or not server:
        raise InvalidParam("That identifier names no server.")
    return ServerName(server)


def localpart(identifier: str) -> str:
    """Return the part of a user ID or alias before the server, without the sigil."""
    return identifier[1:].partition(":")[0]
