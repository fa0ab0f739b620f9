"""The evidence of consent: who agreed to what, when and how. It can be read and never changed."""

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from api.admin.server import PREFIX
from api.authentication import Administrator
from api.routing import Query, Routes
from federation.overview import Overview
from federation.peers import Peers
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject

routes = Routes(PREFIX)

_PAGE = 1_000


class Page(BaseModel):
    """Which part of the trail."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(0, ge=0, le=2**62)
    limit: int = Field(_PAGE, ge=1, le=_PAGE)
    peer: str | None = None


@routes.get("/audit")
async def show_audit(
    admin: Administrator, page: Query[Page], overview: Overview, peers: Peers
) -> JsonObject:
    """One page, oldest first; `next` is the `after` of the page that follows, if there is one."""
    del admin
    node_id = None if page.peer is None else _node(page.peer, overview, peers)
    lines = overview.trail(page.after, page.limit, node_id)
    following = {"next": lines[-1]["number"]} if len(lines) == page.limit else {}
    return {"audit": lines, **following}


def _node(name: str, overview: Overview, peers: Peers) -> str:
    """Whoever is meant, also where nothing but the trail is left."""
    try:
        return peers.resolve(name).node_id
    except errors.NotFound:
        if (remembered := overview.remembered(name)) is None:
            raise
        return remembered


@routes.get("/notices")
async def list_notices(admin: Administrator, overview: Overview) -> JsonObject:
    """The newest hundred of what the owner is told: requests, warnings, what was lost."""
    del admin
    return {"notices": overview.notices()}


@routes.get("/audit/export")
async def export_audit(
    admin: Administrator, request: web.Request, overview: Overview
) -> web.StreamResponse:
    """The whole trail as JSON lines."""
    del admin
    answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await answer.prepare(request)
    reached = 0
    while lines := overview.trail(reached, _PAGE):
        reached = lines[-1]["number"]
        await answer.write(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    await answer.write_eof()
    return answer
