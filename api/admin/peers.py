"""Connections: begun, shown, edited, paused, ended.

`{name}` is a server name, a node id, a user ID, or the peer's own name where it fits one alone.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.admin.server import PREFIX
from api.authentication import Administrator
from api.routing import JsonBody, Routes
from federation.consent import Step
from federation.overview import Overview
from federation.peers import Peers
from federation.revoking import RoomChoice
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName

routes = Routes(PREFIX)

Verb = Callable[[Peers, ServerName, str], Awaitable[None]]

# What takes no more than a name. Each is one step of the consent table.
VERBS: Mapping[str, Verb] = {
    "decline": lambda peers, peer, how: peers.decline(peer, how),
    "cancel": lambda peers, peer, how: peers.cancel(peer, how),
    "pause": lambda peers, peer, how: peers.pause(peer, how=how),
    "resume": lambda peers, peer, how: peers.resume(peer, how),
    "unblock": lambda peers, peer, how: peers.unblock(peer, how),
    "dismiss": lambda peers, peer, how: peers.dismiss_alarm(peer, how),
}


class LinkGiven(BaseModel):
    """An invitation somebody sent, and the set of grants that they are to have."""

    model_config = ConfigDict(extra="forbid")

    link: str
    grants: str | None = Field(None, max_length=100)
    is_scanned: bool = False


class Accepting(BaseModel):
    """The set of grants that whoever is accepted is to have."""

    model_config = ConfigDict(extra="forbid")

    grants: str | None = Field(None, max_length=100)


class Ending(BaseModel):
    """How a connection is to end."""

    model_config = ConfigDict(extra="forbid")

    goodbye: bool = False
    rooms: RoomChoice = "cut"
    erase: bool = False
    dry_run: bool = False

    @property
    def choice(self) -> dict[str, Any]:
        """What becomes of shared rooms, and of what the server holds."""
        return {"rooms": self.rooms, "erases": self.erase}


@routes.post("/peers")
async def connect(
    admin: Administrator, given: LinkGiven, peers: Peers, overview: Overview
) -> JsonObject:
    """Say yes to an invitation. The connection is active as soon as both sides have proved it."""
    how = "scanned" if given.is_scanned else "link"
    return overview.peer(peers.find(await peers.connect(given.link, how, given.grants, admin.how)))


@routes.get("/peers")
async def list_peers(admin: Administrator, peers: Peers, overview: Overview) -> JsonObject:
    """Every connection, and the tombstones of those that ended."""
    del admin
    return {"peers": [overview.peer(peer) for peer in peers.load_all()]}


@routes.get("/peers/{name}")
async def show_peer(
    admin: Administrator, name: str, peers: Peers, overview: Overview
) -> JsonObject:
    """One connection."""
    del admin
    return overview.peer(peers.resolve(name))


@routes.patch("/peers/{name}")
async def edit_grants(
    admin: Administrator, name: str, changes: JsonBody, peers: Peers, overview: Overview
) -> JsonObject:
    """Change what the peer may do, from the next frame on; `grant_set` goes first."""
    given = dict(changes.root)
    server_name = peers.resolve(name).server_name
    grant_set = given.pop("grant_set", None)
    if grant_set is not None and not isinstance(grant_set, str):
        raise errors.InvalidParam("grant_set must be the name of a set of grants.")
    await peers.edit_grants(server_name, given, admin.how, grant_set)
    return overview.peer(peers.find(server_name))


@routes.post("/peers/{name}/revoke")
async def revoke(
    admin: Administrator, name: str, ending: Ending, peers: Peers, overview: Overview
) -> JsonObject:
    """End a connection for good: keys, queues, routes and addresses are destroyed.

    `report` says what that does to shared rooms, and what it cannot do; `dry_run` only says it.
    """
    server_name = peers.resolve(name).server_name
    choice = ending.choice
    if ending.dry_run:
        report = peers.preview_end(server_name, **choice)
    else:
        report = await peers.revoke(server_name, admin.how, says_goodbye=ending.goodbye, **choice)
    return overview.peer(peers.find(server_name)) | {"report": report.to_json()}


@routes.post("/peers/{name}/block")
async def block(
    admin: Administrator, name: str, ending: Ending, peers: Peers, overview: Overview
) -> JsonObject:
    """End a connection as `revoke` does, with the same choices, and never be asked again."""
    if ending.goodbye:
        raise errors.InvalidParam("Who is blocked is told nothing.")
    server_name = peers.resolve(name).server_name
    choice = ending.choice
    if ending.dry_run:
        report = peers.preview_end(server_name, Step.OWNER_BLOCKED, **choice)
    else:
        report = await peers.block(server_name, admin.how, **choice)
    return overview.peer(peers.find(server_name)) | {"report": report.to_json()}


@routes.post("/peers/{name}/accept")
async def accept(
    admin: Administrator, name: str, accepting: Accepting, peers: Peers, overview: Overview
) -> JsonObject:
    """Say yes to somebody who asks."""
    peer = peers.resolve(name)
    await peers.accept(peer.server_name, admin.how, accepting.grants)
    return overview.after(peer)


@routes.post("/peers/{name}/{verb}")
async def take_step(
    admin: Administrator, name: str, verb: str, peers: Peers, overview: Overview
) -> JsonObject:
    """`decline`, `cancel`, `pause`, `resume`, `unblock`; `dismiss` an alarm."""
    step = VERBS.get(verb)
    if step is None:
        raise errors.Unrecognized
    peer = peers.resolve(name)
    await step(peers, peer.server_name, admin.how)
    return overview.after(peer)
