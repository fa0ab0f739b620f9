"""Read what relates to an event, and the threads of a room.

Spec: client-server-api#forming-relationships-between-events, client-server-api#threading
"""

from typing import Literal

from pydantic import BaseModel, Field

from api.routing import Query, Routes
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.ports import Requester
from homeserver.rooms.related import RelatedEvents, RelationsRequest, ThreadsRequest

routes = Routes("/_matrix/client/v1", "/_matrix/client/unstable")
thread_routes = Routes("/_matrix/client/v1")

_RELATIONS = 5
_THREADS = 20


class RelationsQuery(BaseModel):
    """Where to read from, up to where, how much and how deep."""

    start: str | None = Field(None, alias="from")
    to: str | None = None
    dir: Literal["b", "f"] = "b"
    limit: int = Field(_RELATIONS, ge=1)
    recurse: bool | None = None

    def about(self, rel_type: str | None, event_type: str | None) -> RelationsRequest:
        """The same in the words of the rooms."""
        return RelationsRequest(
            rel_type,
            event_type,
            self.limit,
            self.dir == "b",
            self.start,
            self.to,
            self.recurse,
        )


class ThreadsQuery(BaseModel):
    """Which threads, where to read from and how much."""

    include: Literal["all", "participated"] = "all"
    limit: int = Field(_THREADS, ge=1)
    start: str | None = Field(None, alias="from")


@routes.get("/rooms/{room_id}/relations/{event_id}")
async def relations(
    requester: Requester,
    room_id: RoomId,
    event_id: EventId,
    query: Query[RelationsQuery],
    related: RelatedEvents,
) -> JsonObject:
    """Everything that relates to an event.

    Spec: client-server-api#get_matrixclientv1roomsroomidrelationseventid
    """
    return await related.relations(requester, room_id, event_id, query.about(None, None))


@routes.get("/rooms/{room_id}/relations/{event_id}/{kind:.+}")
async def relations_of_kind(
    requester: Requester,
    room_id: RoomId,
    event_id: EventId,
    kind: str,
    query: Query[RelationsQuery],
    related: RelatedEvents,
) -> JsonObject:
    """What relates to an event in one way (`m.thread`), perhaps of one type (`…/m.reaction`).

    Spec: client-server-api#get_matrixclientv1roomsroomidrelationseventidreltypeeventtype
    """
    rel_type, _, event_type = kind.partition("/")
    about = query.about(rel_type, event_type or None)
    return await related.relations(requester, room_id, event_id, about)


@thread_routes.get("/rooms/{room_id}/threads")
async def threads(
    requester: Requester, room_id: RoomId, query: Query[ThreadsQuery], related: RelatedEvents
) -> JsonObject:
    """The threads of a room, by their beginnings.

    Spec: client-server-api#get_matrixclientv1roomsroomidthreads
    """
    request = ThreadsRequest(query.limit, query.include == "participated", query.start)
    return await related.threads(requester, room_id, request)
