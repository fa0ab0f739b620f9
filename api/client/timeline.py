"""Read rooms: pages of history, context, single events, state, members.

Spec: client-server-api#getting-events-for-a-room
"""

from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from api.routing import Query, Routes
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.ports import Requester
from homeserver.rooms.members import RoomState
from homeserver.rooms.moments import EventsInTime
from homeserver.rooms.timeline import PageRequest, RoomTimeline
from homeserver.sync.filters import RoomEventFilter

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")
moment_routes = Routes("/_matrix/client/v1")

_PAGE = 10
EVERYTHING = RoomEventFilter()


class MessagesQuery(BaseModel):
    """Where to read from, in which direction, how much and what."""

    start: str | None = Field(None, alias="from")
    to: str | None = None
    dir: Literal["b", "f"]
    limit: int = Field(_PAGE, ge=0)
    filter: str | None = None


class ContextQuery(BaseModel):
    """How much around an event to show, and what of it."""

    limit: int = Field(_PAGE, ge=0)
    filter: str | None = None


class MembersQuery(BaseModel):
    """Whom to show, and as of when."""

    at: str | None = None
    membership: str | None = None
    not_membership: str | None = None


class StateQuery(BaseModel):
    """Whether the whole event is wanted or its content alone."""

    format: Literal["content", "event"] = "content"


class MomentQuery(BaseModel):
    """A moment in milliseconds since 1970, and on which side of it to look."""

    ts: int = Field(ge=0, lt=2**53)
    dir: Literal["b", "f"]


@routes.get("/rooms/{room_id}/messages")
async def messages(
    requester: Requester,
    room_id: RoomId,
    query: Query[MessagesQuery],
    timeline: RoomTimeline,
) -> JsonObject:
    """One page of a room's history.

    Spec: client-server-api#get_matrixclientv3roomsroomidmessages
    """
    wanted = _filter(query.filter)
    is_in_filter = "limit" in wanted.model_fields_set and "limit" not in query.model_fields_set
    limit = wanted.limit if is_in_filter else query.limit
    request = PageRequest(limit, wanted, query.dir == "b", query.start, query.to)
    return await timeline.messages(requester, room_id, request)


@routes.get("/rooms/{room_id}/context/{event_id}")
async def context(
    requester: Requester,
    room_id: RoomId,
    event_id: EventId,
    query: Query[ContextQuery],
    timeline: RoomTimeline,
) -> JsonObject:
    """An event and what surrounds it.

    Spec: client-server-api#get_matrixclientv3roomsroomidcontexteventid
    """
    wanted = _filter(query.filter)
    return await timeline.context(requester, room_id, event_id, query.limit, wanted)


@routes.get("/rooms/{room_id}/event/{event_id}")
async def event(
    requester: Requester, room_id: RoomId, event_id: EventId, timeline: RoomTimeline
) -> JsonObject:
    """One event.

    Spec: client-server-api#get_matrixclientv3roomsroomideventeventid
    """
    return timeline.event(requester, room_id, event_id)


@routes.get("/rooms/{room_id}/state")
async def state(requester: Requester, room_id: RoomId, rooms: RoomState) -> list[JsonObject]:
    """The whole state of a room.

    Spec: client-server-api#get_matrixclientv3roomsroomidstate
    """
    return await rooms.all(requester, room_id)


@routes.get("/rooms/{room_id}/state/{event_type}")
async def state_without_key(
    requester: Requester,
    room_id: RoomId,
    event_type: str,
    query: Query[StateQuery],
    rooms: RoomState,
) -> JsonObject:
    """State that the room has once.

    Spec: client-server-api#get_matrixclientv3roomsroomidstateeventtypestatekey
    """
    return _entry(rooms.entry(requester, room_id, event_type, ""), query)


@routes.get("/rooms/{room_id}/state/{event_type}/{state_key:.*}")
async def state_entry(
    requester: Requester,
    room_id: RoomId,
    event_type: str,
    state_key: str,
    query: Query[StateQuery],
    rooms: RoomState,
) -> JsonObject:
    """One part of the state. An empty key may be written as a trailing slash.

    Spec: client-server-api#get_matrixclientv3roomsroomidstateeventtypestatekey
    """
    return _entry(rooms.entry(requester, room_id, event_type, state_key), query)


@routes.get("/rooms/{room_id}/members")
async def members(
    requester: Requester, room_id: RoomId, query: Query[MembersQuery], rooms: RoomState
) -> JsonObject:
    """The member events of a room.

    Spec: client-server-api#get_matrixclientv3roomsroomidmembers
    """
    wanted = (query.membership, query.not_membership)
    return {"chunk": await rooms.members(requester, room_id, query.at, *wanted)}


@routes.get("/rooms/{room_id}/joined_members")
async def joined_members(requester: Requester, room_id: RoomId, rooms: RoomState) -> JsonObject:
    """Who is in a room.

    Spec: client-server-api#get_matrixclientv3roomsroomidjoined_members
    """
    return {"joined": await rooms.joined_members(requester, room_id)}


@moment_routes.get("/rooms/{room_id}/timestamp_to_event")
async def event_at(
    requester: Requester, room_id: RoomId, query: Query[MomentQuery], times: EventsInTime
) -> JsonObject:
    """The event nearest to a moment.

    Spec: client-server-api#get_matrixclientv1roomsroomidtimestamp_to_event
    """
    found = await times.find(requester, room_id, query.ts, is_backwards=query.dir == "b")
    return {
        "event_id": found.event.event_id,
        "origin_server_ts": found.event.origin_server_ts,
    }


def _filter(definition: str | None) -> RoomEventFilter:
    if definition is None:
        return EVERYTHING
    try:
        return RoomEventFilter.model_validate_json(definition)
    except ValidationError:
        raise errors.InvalidParam("That is not a filter.") from None


def _entry(found: JsonObject, query: StateQuery) -> JsonObject:
    content: JsonObject = found["content"]
    return found if query.format == "event" else content
