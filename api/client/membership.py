"""Invite, join, knock, leave, forget, kick, ban.

Spec: client-server-api#room-membership
"""

from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field, model_validator

from api.routing import JsonBody, Query, Routes
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.ports import Requester
from homeserver.rooms.membership import Membership

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")
mutual_routes = Routes("/_matrix/client/v1")

_MUTUAL_ROOMS = 100


class Joined(BaseModel):
    """The room that was joined or knocked at."""

    room_id: RoomId


class MutualQuery(BaseModel):
    """With whom; a token is a number of rooms to pass over."""

    user_id: UserId
    start: str | None = Field(None, alias="from", pattern=r"^\d{1,9}$")


class About(BaseModel):
    """Whom something is done to, and why."""

    user_id: UserId
    reason: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_addresses(cls, given: Any) -> Any:
        """People are found by their user IDs: there is no identity server behind this one."""
        if isinstance(given, dict) and "user_id" not in given and "medium" in given:
            raise errors.InvalidParam("This server invites people by user ID only.")
        return given

    @property
    def content(self) -> JsonObject:
        """What of it goes into the member event."""
        return {} if self.reason is None else {"reason": self.reason}


class Reason(BaseModel):
    """Why somebody comes or goes."""

    reason: str | None = None

    @property
    def content(self) -> JsonObject:
        """What of it goes into the member event."""
        return {} if self.reason is None else {"reason": self.reason}


@routes.get("/joined_rooms")
async def joined_rooms(requester: Requester, membership: Membership) -> JsonObject:
    """The rooms the owner is in.

    Spec: client-server-api#get_matrixclientv3joined_rooms
    """
    return {"joined_rooms": membership.joined_rooms(requester)}


@mutual_routes.get("/mutual_rooms")
async def mutual_rooms(
    requester: Requester, query: Query[MutualQuery], membership: Membership
) -> JsonObject:
    """The rooms the owner shares with somebody.

    Spec: client-server-api#get_matrixclientv1mutual_rooms
    """
    shared = membership.mutual_rooms(requester, query.user_id)
    start = int(query.start or 0)
    answer: JsonObject = {
        "joined": shared[start : start + _MUTUAL_ROOMS],
        "count": len(shared),
    }
    if start + _MUTUAL_ROOMS < len(shared):
        answer["next_batch"] = str(start + _MUTUAL_ROOMS)
    return answer


@routes.post("/rooms/{room_id}/invite")
async def invite(
    requester: Requester, room_id: RoomId, about: About, membership: Membership
) -> JsonObject:
    """Invite somebody.

    Spec: client-server-api#post_matrixclientv3roomsroomidinvite
    """
    await membership.invite(requester, room_id, about.user_id, about.content)
    return {}


@routes.post("/rooms/{room_id}/join")
async def join(
    requester: Requester, room_id: RoomId, reason: Reason, membership: Membership
) -> Joined:
    """Join a room by its ID.

    Spec: client-server-api#post_matrixclientv3roomsroomidjoin
    """
    return Joined(room_id=await membership.join(requester, room_id, [], reason.content))


@routes.post("/join/{target}")
async def join_by_alias(
    requester: Requester,
    request: web.Request,
    target: str,
    reason: Reason,
    membership: Membership,
) -> Joined:
    """Join a room by its ID or an alias, through the servers that are named.

    Spec: client-server-api#post_matrixclientv3joinroomidoralias
    """
    room_id = await membership.join(requester, target, _servers(request), reason.content)
    return Joined(room_id=room_id)


@routes.post("/knock/{target}")
async def knock(
    requester: Requester,
    request: web.Request,
    target: str,
    reason: Reason,
    membership: Membership,
) -> Joined:
    """Ask to be invited.

    Spec: client-server-api#post_matrixclientv3knockroomidoralias
    """
    room_id = await membership.knock(requester, target, _servers(request), reason.content)
    return Joined(room_id=room_id)


@routes.post("/rooms/{room_id}/leave")
async def leave(
    requester: Requester, room_id: RoomId, reason: Reason, membership: Membership
) -> JsonObject:
    """Leave a room or decline an invitation.

    Spec: client-server-api#post_matrixclientv3roomsroomidleave
    """
    await membership.leave(requester, room_id, reason.content)
    return {}


@routes.post("/rooms/{room_id}/forget")
async def forget(
    requester: Requester, room_id: RoomId, body: JsonBody, membership: Membership
) -> JsonObject:
    """Never show a left room again.

    Spec: client-server-api#post_matrixclientv3roomsroomidforget
    """
    del body
    await membership.forget(requester, room_id)
    return {}


@routes.post("/rooms/{room_id}/kick")
async def kick(
    requester: Requester, room_id: RoomId, about: About, membership: Membership
) -> JsonObject:
    """Remove somebody.

    Spec: client-server-api#post_matrixclientv3roomsroomidkick
    """
    await membership.kick(requester, room_id, about.user_id, about.content)
    return {}


@routes.post("/rooms/{room_id}/ban")
async def ban(
    requester: Requester, room_id: RoomId, about: About, membership: Membership
) -> JsonObject:
    """Remove somebody for good.

    Spec: client-server-api#post_matrixclientv3roomsroomidban
    """
    await membership.ban(requester, room_id, about.user_id, about.content)
    return {}


@routes.post("/rooms/{room_id}/unban")
async def unban(
    requester: Requester, room_id: RoomId, about: About, membership: Membership
) -> JsonObject:
    """Let somebody come back.

    Spec: client-server-api#post_matrixclientv3roomsroomidunban
    """
    await membership.unban(requester, room_id, about.user_id, about.content)
    return {}


def _servers(request: web.Request) -> list[str]:
    """`via`, or `server_name` as clients said before."""
    return [*request.query.getall("via", []), *request.query.getall("server_name", [])]
