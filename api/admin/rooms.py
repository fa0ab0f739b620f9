"""Rooms as their owner looks after them: what was reported about them."""

from api.admin.server import PREFIX
from api.authentication import Administrator
from api.routing import Routes
from homeserver.matrix.canonical_json import JsonObject
from homeserver.rooms.reporting import Reporting

routes = Routes(PREFIX)


@routes.get("/reports")
async def show_reports(admin: Administrator, reporting: Reporting) -> JsonObject:
    """What the owner's clients reported as inappropriate, the newest first."""
    del admin
    return {"reports": reporting.all()}
