"""Threads that clients notify about, and those they do not.

Spec: MSC4306, MSC4308
"""

from typing import Literal

from pydantic import BaseModel, Field

from api.routing import Query, Routes
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, parse_event_id
from homeserver.ports import Requester
from homeserver.rooms.thread_subscriptions import ThreadSubscriptions
from homeserver.sync.sliding import positions

routes = Routes("/_matrix/client/unstable/io.element.msc4306")
pages = Routes("/_matrix/client/unstable/io.element.msc4308")

_PAGE = 100
_DIGITS = 18
_THREAD = "/rooms/{room_id}/thread/{event_id}/subscription"


class Subscribing(BaseModel):
    """The event for which a client subscribes by itself; none where its user asked for it."""

    automatic: str | None = None


class PageQuery(BaseModel):
    """Which changes: from the newest back to the oldest, as there is no other way yet."""

    start: str | None = Field(None, alias="from")
    to: str | None = None
    dir: Literal["b"]
    limit: int = Field(_PAGE, ge=1)


@routes.get(_THREAD)
async def show(
    requester: Requester, room_id: RoomId, event_id: EventId, threads: ThreadSubscriptions
) -> JsonObject:
    """Whether a thread is subscribed to, and by whom."""
    return {"automatic": threads.is_automatic(requester, room_id, event_id)}


@routes.put(_THREAD)
async def subscribe(
    requester: Requester,
    room_id: RoomId,
    event_id: EventId,
    wish: Subscribing,
    threads: ThreadSubscriptions,
) -> JsonObject:
    """Subscribe to a thread."""
    cause = None if wish.automatic is None else parse_event_id(wish.automatic)
    await threads.subscribe(requester, room_id, event_id, cause)
    return {}


@routes.delete(_THREAD)
async def unsubscribe(
    requester: Requester, room_id: RoomId, event_id: EventId, threads: ThreadSubscriptions
) -> JsonObject:
    """Unsubscribe from a thread."""
    await threads.unsubscribe(requester, room_id, event_id)
    return {}


@pages.get("/thread_subscriptions")
async def list_changes(
    requester: Requester, query: Query[PageQuery], threads: ThreadSubscriptions
) -> JsonObject:
    """What was said of threads of all rooms; `to` may be a position of sliding sync too."""
    start = None if query.start is None else _position(query.start)
    stop = 0 if query.to is None else _position(query.to)
    return threads.page(requester, start, stop, query.limit)


def _position(token: str) -> int:
    if token.isascii() and token.isdecimal() and len(token) <= _DIGITS:
        return int(token)
    try:
        return positions.parse(token).position
    except errors.HomeserverError as error:
        raise errors.InvalidParam("That is not a token of threads.") from error
