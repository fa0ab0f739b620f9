"""Every route of the admin API."""

from api.admin import account, audit, invitations, peers, rooms, server, strangers
from api.routing import Route


def all_routes() -> list[Route]:
    """All routes, by subject."""
    return [
        route
        for table in (
            account.routes,
            server.routes,
            invitations.routes,
            peers.routes,
            rooms.routes,
            strangers.routes,
            audit.routes,
        )
        for route in table.all
    ]
