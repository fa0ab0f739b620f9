"""Send messages and state into rooms, and take messages back.

Spec: client-server-api#sending-events-to-a-room
"""

from pydantic import BaseModel, Field

from api.routing import JsonBody, Query, Routes
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.ports import Requester
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.delaying import DelayedEvents, Later
from homeserver.rooms.sending import RoomSender

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")

_CANONICAL_ALIAS = ("m.room.canonical_alias", "")


class Sent(BaseModel):
    """The event that was made."""

    event_id: EventId


class Delayed(BaseModel):
    """The event that will be made (MSC4140)."""

    delay_id: str


class DelayQuery(BaseModel):
    """After how many milliseconds an event is to be sent, if not at once."""

    delay_ms: int | None = Field(None, alias="org.matrix.msc4140.delay", ge=1)


@routes.put("/rooms/{room_id}/send/{event_type}/{txn_id}")
async def send_message(
    requester: Requester,
    room_id: RoomId,
    event_type: str,
    txn_id: str,
    *,
    content: JsonBody,
    query: Query[DelayQuery],
    sender: RoomSender,
    delaying: DelayedEvents,
) -> Sent | Delayed:
    """Send one message. The same txn_id again answers with the same event.

    Spec: client-server-api#put_matrixclientv3roomsroomidsendeventtypetxnid
    """
    if query.delay_ms is not None:
        later = Later(event_type, content.root, query.delay_ms, txn=txn_id)
        return Delayed(delay_id=await delaying.schedule(requester, room_id, later))
    sent = await sender.send_message(requester, room_id, event_type, content.root, txn_id)
    return Sent(event_id=sent)


@routes.put("/rooms/{room_id}/state/{event_type}/{state_key:.*}")
async def send_state(
    requester: Requester,
    room_id: RoomId,
    event_type: str,
    state_key: str,
    *,
    content: JsonBody,
    query: Query[DelayQuery],
    sender: RoomSender,
    aliases: RoomAliases,
    delaying: DelayedEvents,
) -> Sent | Delayed:
    """Set a part of the room's state. An empty key may be written as a trailing slash.

    Spec: client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey
    """
    if (event_type, state_key) == _CANONICAL_ALIAS:
        await aliases.check_canonical(room_id, content.root)
    if query.delay_ms is not None:
        later = Later(event_type, content.root, query.delay_ms, state_key)
        return Delayed(delay_id=await delaying.schedule(requester, room_id, later))
    sent = await sender.send_state(requester, room_id, event_type, state_key, content.root)
    return Sent(event_id=sent)


@routes.put("/rooms/{room_id}/state/{event_type}")
async def send_state_without_key(
    requester: Requester,
    room_id: RoomId,
    event_type: str,
    *,
    content: JsonBody,
    query: Query[DelayQuery],
    sender: RoomSender,
    aliases: RoomAliases,
    delaying: DelayedEvents,
) -> Sent | Delayed:
    """Set state that the room has once.

    Spec: client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey
    """
    return await send_state(
        requester,
        room_id,
        event_type,
        "",
        content=content,
        query=query,
        sender=sender,
        aliases=aliases,
        delaying=delaying,
    )


@routes.put("/rooms/{room_id}/redact/{event_id}/{txn_id}")
async def redact(
    requester: Requester,
    room_id: RoomId,
    event_id: EventId,
    txn_id: str,
    content: JsonBody,
    sender: RoomSender,
) -> Sent:
    """Take back what an event said.

    Spec: client-server-api#put_matrixclientv3roomsroomidredacteventidtxnid
    """
    sent = await sender.redact(requester, room_id, event_id, txn_id, content.root)
    return Sent(event_id=sent)
