"""The owner's own API: connections with peers, invitations, and how the server is.

Stable: the command line and the console are built on it, and other tools may be. Every request
carries the token of the data directory.
"""

from dataclasses import dataclass
from importlib.metadata import version

from pydantic import BaseModel, ConfigDict

from api.authentication import Administrator
from api.routing import JsonBody, Routes
from federation import reach
from federation.overview import Overview
from federation.peers import Peers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName, UserId
from homeserver.ports import Clock

routes = Routes("/_homeserver/admin/v1")


@dataclass(frozen=True, slots=True)
class About:
    """What the server knows of itself: its owner, where peers find it, since when it runs."""

    owner: UserId
    routes: tuple[str, ...]
    clock: Clock
    started_at: float  # on the monotonic clock, in seconds


class LinkGiven(BaseModel):
    """An invitation somebody sent."""

    model_config = ConfigDict(extra="forbid")

    link: str


@routes.get("/status")
async def show_status(admin: Administrator, overview: Overview, about: About) -> JsonObject:
    """How the server is: counts of peers by standing, and of what waits."""
    del admin
    return overview.status() | {
        "user_id": about.owner,
        "version": version("personal-homeserver"),
        "uptime_s": round(about.clock.monotonic() - about.started_at, 1),
    }


@routes.post("/invitations")
async def invite(admin: Administrator, peers: Peers, about: About) -> JsonObject:
    """Make a link that connects one person, once. `expires_at` is in milliseconds since 1970."""
    del admin
    issued = await peers.invite()
    return {
        "id": issued.intake,
        "link": issued.link,
        "expires_at": issued.expires_at,
        "loopback_only": all(reach.is_loopback(route) for route in about.routes),
    }


@routes.get("/invitations")
async def list_invitations(admin: Administrator, overview: Overview) -> JsonObject:
    """Every invitation and what became of it; never its link again."""
    del admin
    return {"invitations": overview.invitations()}


@routes.delete("/invitations/{invitation_id}")
async def withdraw(admin: Administrator, invitation_id: str, peers: Peers) -> JsonObject:
    """Make an invitation void that nobody has used."""
    del admin
    await peers.withdraw(invitation_id)
    return {}


@routes.post("/peers")
async def connect(
    admin: Administrator, given: LinkGiven, peers: Peers, overview: Overview
) -> JsonObject:
    """Say yes to an invitation. The connection is active as soon as both sides have proved it."""
    del admin
    return overview.peer(peers.find(await peers.connect(given.link)))


@routes.get("/peers")
async def list_peers(admin: Administrator, peers: Peers, overview: Overview) -> JsonObject:
    """Every connection, and the tombstones of those that ended."""
    del admin
    return {"peers": [overview.peer(peer) for peer in peers.load_all()]}


@routes.get("/peers/{server_name}")
async def show_peer(
    admin: Administrator, server_name: ServerName, peers: Peers, overview: Overview
) -> JsonObject:
    """One connection."""
    del admin
    return overview.peer(peers.find(server_name))


@routes.patch("/peers/{server_name}")
async def edit_grants(
    admin: Administrator,
    server_name: ServerName,
    changes: JsonBody,
    peers: Peers,
    overview: Overview,
) -> JsonObject:
    """Change what the peer may do, from the next frame on."""
    del admin
    await peers.edit_grants(server_name, changes.root)
    return overview.peer(peers.find(server_name))


@routes.post("/peers/{server_name}/pause")
async def pause(
    admin: Administrator, server_name: ServerName, peers: Peers, overview: Overview
) -> JsonObject:
    """Stop everything both ways; nothing is lost."""
    del admin
    await peers.pause(server_name)
    return overview.peer(peers.find(server_name))


@routes.post("/peers/{server_name}/resume")
async def resume(
    admin: Administrator, server_name: ServerName, peers: Peers, overview: Overview
) -> JsonObject:
    """End a pause; what was held flows at once."""
    del admin
    await peers.resume(server_name)
    return overview.peer(peers.find(server_name))


@routes.post("/peers/{server_name}/revoke")
async def revoke(
    admin: Administrator, server_name: ServerName, peers: Peers, overview: Overview
) -> JsonObject:
    """End a connection for good: keys, queues, routes and addresses are destroyed."""
    del admin
    await peers.revoke(server_name)
    return overview.peer(peers.find(server_name))


@routes.get("/audit")
async def show_audit(admin: Administrator, overview: Overview) -> JsonObject:
    """Who agreed to what, when and how, oldest first."""
    del admin
    return {"audit": overview.trail()}
