"""What leading clients ask for under names from before the specification took it in, or will.

Who asks for what: docs/clients.md.
"""

from aiohttp import web
from pydantic import BaseModel, Field

from api.client import membership, spaces
from api.routing import Query, Routes
from homeserver.accounts.relay import Relay
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester
from homeserver.rooms.membership import Membership
from homeserver.rooms.spaces import Spaces

summaries = Routes("/_matrix/client/unstable/im.nheko.summary")
mutual = Routes("/_matrix/client/unstable/uk.half-shot.msc2666")
calls = Routes("/_matrix/client/unstable/org.matrix.msc4143")


class MutualQuery(BaseModel):
    """With whom, and where to go on."""

    user_id: str
    batch_token: str | None = Field(None, pattern=r"^\d{1,9}$")


@summaries.get("/summary/{target}")
@summaries.get("/rooms/{target}/summary")
async def summary(
    requester: Requester, request: web.Request, target: str, spaces_seen: Spaces
) -> JsonObject:
    """A room as it looks from outside (MSC3266), for js-sdk and nheko."""
    return await spaces.summary(requester, request, target, spaces_seen)


@mutual.get("/user/mutual_rooms")
async def mutual_rooms(
    requester: Requester, query: Query[MutualQuery], rooms: Membership
) -> JsonObject:
    """The rooms the owner shares with somebody (MSC2666), for js-sdk."""
    asked = membership.MutualQuery.model_validate(
        {"user_id": query.user_id, "from": query.batch_token}
    )
    answer = await membership.mutual_rooms(requester, asked, rooms)
    if "next_batch" in answer:
        answer["next_batch_token"] = answer.pop("next_batch")
    return answer


@calls.get("/rtc/transports")
async def transports(requester: Requester, relay: Relay) -> JsonObject:
    """Through what the owner calls several people at once (MSC4143); often nothing."""
    del requester
    return {"rtc_transports": relay.transports()}
