"""How the whole server is, and a pause of everything."""

from dataclasses import dataclass
from importlib.metadata import version

from api.authentication import Administrator
from api.routing import Routes
from federation.overview import Overview
from federation.peers import Peers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import UserId
from homeserver.ports import Clock

PREFIX = "/_homeserver/admin/v1"

routes = Routes(PREFIX)


@dataclass(frozen=True, slots=True)
class About:
    """What the server knows of itself: its owner, where peers find it, since when it runs."""

    owner: UserId
    routes: tuple[str, ...]
    clock: Clock
    started_at: float  # on the monotonic clock, in seconds


@routes.get("/status")
async def show_status(admin: Administrator, overview: Overview, about: About) -> JsonObject:
    """How the server is: counts of peers by standing, and of what waits."""
    del admin
    return overview.status() | {
        "user_id": about.owner,
        "version": version("personal-homeserver"),
        "uptime_s": round(about.clock.monotonic() - about.started_at, 1),
    }


@routes.post("/pause")
async def pause_everything(admin: Administrator, peers: Peers, overview: Overview) -> JsonObject:
    """Stop everything with everybody; peers that are paused singly stay so afterwards."""
    await peers.pause_everything(is_paused=True, how=admin.how)
    return overview.status()


@routes.post("/resume")
async def resume_everything(admin: Administrator, peers: Peers, overview: Overview) -> JsonObject:
    """End the pause of everything."""
    await peers.pause_everything(is_paused=False, how=admin.how)
    return overview.status()
