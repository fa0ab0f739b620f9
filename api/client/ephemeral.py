"""Typing, receipts, read markers, presence.

Spec: client-server-api#typing-notifications, client-server-api#receipts
"""

from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictBool, StrictInt

from api.routing import Routes
from homeserver import errors
from homeserver.ephemeral import Presences, Receipts, Typing
from homeserver.ephemeral.receipts import FULLY_READ, PRIVATE, PUBLIC, Marker
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.ports import Requester

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")

_DEFAULT_TIMEOUT_MS = 30_000


class TypingBody(BaseModel):
    """Whether the user types, and for how many milliseconds to believe it."""

    typing: StrictBool
    timeout: Annotated[StrictInt, Field(ge=0)] = _DEFAULT_TIMEOUT_MS


class ReceiptBody(BaseModel):
    """Which thread a receipt is for."""

    thread_id: Any = None


class MarkersBody(BaseModel):
    """How far everything was read, each kind of marker apart."""

    fully_read: str | None = Field(default=None, alias=FULLY_READ)
    read: str | None = Field(default=None, alias=PUBLIC)
    read_private: str | None = Field(default=None, alias=PRIVATE)


class PresenceBody(BaseModel):
    """Whether the user is there, in a word and in their own words."""

    presence: str
    status_msg: str | None = None


@routes.put("/rooms/{room_id}/typing/{user_id}")
async def set_typing(
    requester: Requester, room_id: RoomId, user_id: str, body: TypingBody, typing: Typing
) -> dict[str, str]:
    """Say that the user types in a room, or stopped."""
    typing.set_typing(requester, room_id, user_id, body.timeout if body.typing else None)
    return {}


@routes.post("/rooms/{room_id}/receipt/{receipt_type}/{event_id}")
async def send_receipt(
    requester: Requester,
    room_id: RoomId,
    receipt_type: str,
    event_id: EventId,
    body: ReceiptBody,
    receipts: Receipts,
) -> dict[str, str]:
    """Say how far the user has read."""
    thread_id = body.thread_id
    if thread_id is not None and not (isinstance(thread_id, str) and thread_id):
        raise errors.InvalidParam("thread_id field must be a non-empty string")
    await receipts.mark(requester, room_id, [Marker(receipt_type, event_id, thread_id)])
    return {}


@routes.post("/rooms/{room_id}/read_markers")
async def set_read_markers(
    requester: Requester, room_id: RoomId, body: MarkersBody, receipts: Receipts
) -> dict[str, str]:
    """Move the read marker, and receipts with it."""
    wanted = ((FULLY_READ, body.fully_read), (PUBLIC, body.read), (PRIVATE, body.read_private))
    markers = [Marker(kind, EventId(event_id)) for kind, event_id in wanted if event_id]
    await receipts.mark(requester, room_id, markers)
    return {}


@routes.get("/presence/{user_id}/status")
async def presence_of(requester: Requester, user_id: str, presences: Presences) -> JsonObject:
    """Say whether somebody is there."""
    return presences.find(requester, identifiers.parse_user_id(user_id))


@routes.put("/presence/{user_id}/status")
async def set_presence(
    requester: Requester, user_id: str, body: PresenceBody, presences: Presences
) -> dict[str, str]:
    """Say whether the user is there."""
    await presences.set_presence(requester, user_id, body.presence, body.status_msg)
    return {}
