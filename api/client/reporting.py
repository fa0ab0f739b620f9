"""Report rooms, events and users as inappropriate.

Spec: client-server-api#reporting-content
"""

from pydantic import BaseModel

from api.routing import Routes
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.ports import Requester
from homeserver.rooms.reporting import Reporting

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")


class Reason(BaseModel):
    """Why somebody or something is reported."""

    reason: str


class PerhapsReason(BaseModel):
    """The same where it may be left out."""

    reason: str = ""


@routes.post("/rooms/{room_id}/report")
async def report_room(
    requester: Requester, room_id: RoomId, why: Reason, reporting: Reporting
) -> JsonObject:
    """Report a room.

    Spec: client-server-api#post_matrixclientv3roomsroomidreport
    """
    del requester
    await reporting.report_room(room_id, why.reason)
    return {}


@routes.post("/rooms/{room_id}/report/{event_id}")
async def report_event(
    requester: Requester,
    room_id: RoomId,
    event_id: EventId,
    why: PerhapsReason,
    reporting: Reporting,
) -> JsonObject:
    """Report an event.

    Spec: client-server-api#post_matrixclientv3roomsroomidreporteventid
    """
    await reporting.report_event(requester, room_id, event_id, why.reason)
    return {}


@routes.post("/users/{user_id}/report")
async def report_user(
    requester: Requester, user_id: UserId, why: Reason, reporting: Reporting
) -> JsonObject:
    """Report a user.

    Spec: client-server-api#post_matrixclientv3usersuseridreport
    """
    del requester
    await reporting.report_user(user_id, why.reason)
    return {}
