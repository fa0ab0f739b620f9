"""What becomes of delayed events: put off, called off, sent now (MSC4140, before it is accepted).

They are scheduled as any event is sent, with a delay in the query: see `sending`.
"""

from typing import Literal

from pydantic import BaseModel

from api.routing import JsonBody, Routes
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester
from homeserver.rooms.delaying import DelayedEvents

routes = Routes("/_matrix/client/unstable/org.matrix.msc4140")


class ActionBody(BaseModel):
    """What is to become of it, where it does not stand in the path."""

    action: Literal["send", "cancel", "restart"]


@routes.get("/delayed_events")
async def list_waiting(requester: Requester, delayed: DelayedEvents) -> JsonObject:
    """What is still to be sent."""
    return {"delayed_events": delayed.waiting(requester)}


@routes.post("/delayed_events/{delay_id}")
async def act(
    requester: Requester, delay_id: str, body: ActionBody, delayed: DelayedEvents
) -> JsonObject:
    """Put one off, call it off or send it, as dart and older clients ask."""
    return await _act(requester, delay_id, body.action, delayed)


@routes.post("/delayed_events/{delay_id}/{action}")
async def act_by_path(
    requester: Requester, delay_id: str, action: str, body: JsonBody, delayed: DelayedEvents
) -> JsonObject:
    """Put one off, call it off or send it."""
    del body
    return await _act(requester, delay_id, action, delayed)


async def _act(
    requester: Requester, delay_id: str, action: str, delayed: DelayedEvents
) -> JsonObject:
    steps = {"send": delayed.send, "cancel": delayed.cancel, "restart": delayed.restart}
    if action not in steps:
        raise errors.Unrecognized
    await steps[action](requester, delay_id)
    return {}
