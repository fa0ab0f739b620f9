"""Strangers in rooms: who they are, and the owner's yes or no to meeting them there."""

from pydantic import BaseModel, ConfigDict, Field

from api.admin.server import PREFIX
from api.authentication import Administrator
from api.routing import Routes
from federation.introductions.strangers import Strangers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName

routes = Routes(PREFIX)


class Whom(BaseModel):
    """One server; everybody in the room where it is left out."""

    model_config = ConfigDict(extra="forbid")

    server: ServerName | None = Field(None, max_length=255)


@routes.get("/strangers")
async def show_strangers(admin: Administrator, strangers: Strangers) -> JsonObject:
    """Every room with people whose servers ours is not connected to, and what was said of them."""
    del admin
    return {"rooms": strangers.all()}


@routes.post("/strangers/{room_id}/agree")
async def agree(
    admin: Administrator, room_id: RoomId, whom: Whom, strangers: Strangers
) -> JsonObject:
    """Agree to meet them in that room; one that waited for it is entered by itself."""
    await strangers.agree(room_id, whom.server, admin.how)
    return {}


@routes.post("/strangers/{room_id}/refuse")
async def refuse(
    admin: Administrator, room_id: RoomId, whom: Whom, strangers: Strangers
) -> JsonObject:
    """Keep away from them; whoever is in a room of ours is hidden."""
    await strangers.refuse(room_id, whom.server, admin.how)
    return {}
