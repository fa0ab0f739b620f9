"""Rooms as their owner looks after them: what they take, what was reported about them."""

from api.admin.server import PREFIX
from api.authentication import Administrator
from api.routing import Routes
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.rooms.reporting import Reporting
from homeserver.rooms.upkeep import Upkeep

routes = Routes(PREFIX)


@routes.get("/rooms")
async def show_rooms(admin: Administrator, upkeep: Upkeep) -> JsonObject:
    """What each room takes on disk in events, state and files, the largest first."""
    del admin
    return {"rooms": await upkeep.sizes()}


@routes.post("/rooms/{room_id}/purge")
async def purge_room(admin: Administrator, room_id: RoomId, upkeep: Upkeep) -> JsonObject:
    """Forget a room that the owner has left, and remove it from disk."""
    del admin
    await upkeep.purge(room_id)
    return {}


@routes.get("/reports")
async def show_reports(admin: Administrator, reporting: Reporting) -> JsonObject:
    """What the owner's clients reported as inappropriate, the newest first."""
    del admin
    return {"reports": reporting.all()}
