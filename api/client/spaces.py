"""Look into spaces, and at rooms before joining them.

Spec: client-server-api#spaces, client-server-api#room-previews
"""

import re

from aiohttp import web
from pydantic import BaseModel, Field

from api.routing import Query, Routes
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.ports import Requester
from homeserver.rooms.spaces import HierarchyRequest, Spaces

routes = Routes("/_matrix/client/v1")

_PAGE = 20
_TOKEN = re.compile(r"h(\d{1,6})_(\d{1,6}|-)_([01])")


class HierarchyQuery(BaseModel):
    """How much of a tree to show. A token says how far earlier pages went, and of which tree."""

    suggested_only: bool = False
    limit: int = Field(_PAGE, ge=1)
    max_depth: int | None = Field(None, ge=0, lt=1_000_000)
    start: str | None = Field(None, alias="from")

    def request(self) -> HierarchyRequest:
        """The same in the words of the rooms. Raises `InvalidParam` for a token of another tree."""
        start = 0
        if self.start is not None:
            match = _TOKEN.fullmatch(self.start)
            if match is None or self.token(int(match[1])) != self.start:
                raise errors.InvalidParam("That token belongs to another question.")
            start = int(match[1])
        return HierarchyRequest(self.limit, self.max_depth, self.suggested_only, start)

    def token(self, position: int) -> str:
        """Where the next page begins."""
        depth = "-" if self.max_depth is None else self.max_depth
        return f"h{position}_{depth}_{int(self.suggested_only)}"


@routes.get("/rooms/{room_id}/hierarchy")
async def hierarchy(
    requester: Requester, room_id: RoomId, query: Query[HierarchyQuery], spaces: Spaces
) -> JsonObject:
    """The rooms under a space, depth first.

    Spec: client-server-api#get_matrixclientv1roomsroomidhierarchy
    """
    request = query.request()
    shown, has_more = await spaces.hierarchy(requester, room_id, request)
    answer: JsonObject = {"rooms": shown}
    if has_more:
        answer["next_batch"] = query.token(request.start + len(shown))
    return answer


@routes.get("/room_summary/{target}")
async def summary(
    requester: Requester, request: web.Request, target: str, spaces: Spaces
) -> JsonObject:
    """A room as it looks from outside.

    Spec: client-server-api#get_matrixclientv1room_summaryroomidoralias
    """
    return await spaces.summary(requester, target, request.query.getall("via", []))
