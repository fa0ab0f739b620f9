"""The requests that came before sync, which some clients still send.

Spec: client-server-api#get_matrixclientv3roomsroomidinitialsync
"""

from pydantic import BaseModel, Field

from api.routing import Query, Routes
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.ports import Requester
from homeserver.sync.snapshots import Snapshots

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")

_MESSAGES = 20


class RoomQuery(BaseModel):
    """How many of a room's newest events to show."""

    limit: int = Field(_MESSAGES, ge=0)


class EverythingQuery(RoomQuery):
    """Whether rooms that were left are wanted, too."""

    archived: bool = False


class EventsQuery(BaseModel):
    """Where to go on from, and how many milliseconds to wait at most."""

    start: str | None = Field(None, alias="from")
    timeout: int = Field(0, ge=0)


@routes.get("/rooms/{room_id}/initialSync")
async def room(
    requester: Requester, room_id: RoomId, query: Query[RoomQuery], snapshots: Snapshots
) -> JsonObject:
    """One room at once.

    Spec: client-server-api#get_matrixclientv3roomsroomidinitialsync
    """
    return await snapshots.room(requester, room_id, query.limit)


@routes.get("/initialSync")
async def everything(
    requester: Requester, query: Query[EverythingQuery], snapshots: Snapshots
) -> JsonObject:
    """Every room at once.

    Spec: client-server-api#get_matrixclientv3initialsync
    """
    return await snapshots.everything(requester, query.limit, is_archived=query.archived)


@routes.get("/events")
async def next_events(
    requester: Requester, query: Query[EventsQuery], snapshots: Snapshots
) -> JsonObject:
    """The next events.

    Spec: client-server-api#get_matrixclientv3events
    """
    return await snapshots.events(requester, query.start, query.timeout)


@routes.get("/events/{event_id}")
async def event(requester: Requester, event_id: EventId, snapshots: Snapshots) -> JsonObject:
    """One event, whatever room it belongs to.

    Spec: client-server-api#get_matrixclientv3eventseventid
    """
    return snapshots.event(requester, event_id)
