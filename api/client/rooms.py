"""Create rooms; aliases and the room directory.

Spec: client-server-api#creation, client-server-api#room-aliases
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.routing import JsonBody, Routes
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomAlias, RoomId, UserId, parse_room_alias
from homeserver.matrix.room_versions import DEFAULT
from homeserver.ports import Requester
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.creating import RoomCreator, Wish

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")


class InitialState(BaseModel):
    """One event of a new room's state."""

    type: str
    state_key: str = ""
    content: dict[str, Any]


class CreateRoom(BaseModel):
    """The body of createRoom."""

    preset: Literal["private_chat", "trusted_private_chat", "public_chat"] | None = None
    visibility: Literal["private", "public"] = "private"
    room_version: str = DEFAULT
    room_alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: list[UserId] = Field(default_factory=list)
    invite_3pid: list[Any] = Field(default_factory=list)
    creation_content: dict[str, Any] = Field(default_factory=dict)
    initial_state: list[InitialState] = Field(default_factory=list)
    is_direct: bool = False
    power_level_content_override: dict[str, Any] = Field(default_factory=dict)

    def wish(self) -> Wish:
        """The same in the words of the rooms."""
        if self.invite_3pid:
            raise errors.InvalidParam("This server invites people by user ID only.")
        default = "public_chat" if self.visibility == "public" else "private_chat"
        return Wish(
            preset=self.preset or default,
            version_id=self.room_version,
            creation_content=self.creation_content,
            initial_state=[(one.type, one.state_key, one.content) for one in self.initial_state],
            power_level_override=self.power_level_content_override,
            invite=self.invite,
            is_direct=self.is_direct,
            alias_localpart=self.room_alias_name,
            name=self.name,
            topic=self.topic,
            is_published=self.visibility == "public",
        )


class AliasFor(BaseModel):
    """The room that an alias shall lead to."""

    room_id: RoomId


class Visibility(BaseModel):
    """Whether a room stands in the directory."""

    visibility: Literal["private", "public"] = "public"


@routes.post("/createRoom")
async def create_room(requester: Requester, wanted: CreateRoom, creator: RoomCreator) -> JsonObject:
    """Create a room.

    Spec: client-server-api#post_matrixclientv3createroom
    """
    return {"room_id": await creator.create(requester, wanted.wish())}


@routes.get("/rooms/{room_id}/aliases")
async def room_aliases(requester: Requester, room_id: RoomId, aliases: RoomAliases) -> JsonObject:
    """The aliases that this server gave a room.

    Spec: client-server-api#get_matrixclientv3roomsroomidaliases
    """
    return {"aliases": aliases.of_room(requester, room_id)}


@routes.get("/directory/room/{alias}")
async def resolve_alias(requester: Requester, alias: RoomAlias, aliases: RoomAliases) -> JsonObject:
    """The room behind an alias.

    Spec: client-server-api#get_matrixclientv3directoryroomroomalias
    """
    del requester
    found = await aliases.resolve(parse_room_alias(alias))
    return {"room_id": found.room_id, "servers": list(found.servers)}


@routes.put("/directory/room/{alias}")
async def create_alias(
    requester: Requester, alias: RoomAlias, wanted: AliasFor, aliases: RoomAliases
) -> JsonObject:
    """Give a room another name.

    Spec: client-server-api#put_matrixclientv3directoryroomroomalias
    """
    await aliases.create(requester, alias, wanted.room_id)
    return {}


@routes.delete("/directory/room/{alias}")
async def delete_alias(requester: Requester, alias: RoomAlias, aliases: RoomAliases) -> JsonObject:
    """Take a name away from a room.

    Spec: client-server-api#delete_matrixclientv3directoryroomroomalias
    """
    del requester
    await aliases.delete(alias)
    return {}


@routes.get("/directory/list/room/{room_id}")
async def visibility(requester: Requester, room_id: RoomId, aliases: RoomAliases) -> Visibility:
    """Whether a room stands in the directory.

    Spec: client-server-api#get_matrixclientv3directorylistroomroomid
    """
    del requester
    return Visibility(visibility="public" if aliases.is_published(room_id) else "private")


@routes.put("/directory/list/room/{room_id}")
async def set_visibility(
    requester: Requester, room_id: RoomId, wanted: Visibility, aliases: RoomAliases
) -> JsonObject:
    """Put a room into the directory, or take it out.

    Spec: client-server-api#put_matrixclientv3directorylistroomroomid
    """
    await aliases.publish(requester, room_id, is_published=wanted.visibility == "public")
    return {}


@routes.get("/publicRooms")
async def public_rooms(requester: Requester, aliases: RoomAliases) -> JsonObject:
    """The directory.

    Spec: client-server-api#get_matrixclientv3publicrooms
    """
    del requester
    return _directory(await aliases.published_rooms())


@routes.post("/publicRooms")
async def search_public_rooms(
    requester: Requester, body: JsonBody, aliases: RoomAliases
) -> JsonObject:
    """The directory, or what of it holds a word.

    Spec: client-server-api#post_matrixclientv3publicrooms
    """
    del requester
    wanted = body.root.get("filter")
    term = wanted.get("generic_search_term") if isinstance(wanted, dict) else None
    rooms = await aliases.published_rooms()
    if isinstance(term, str) and term:
        rooms = [room for room in rooms if _mentions(room, term)]
    return _directory(rooms)


def _directory(rooms: list[JsonObject]) -> JsonObject:
    return {"chunk": rooms, "total_room_count_estimate": len(rooms)}


def _mentions(room: JsonObject, term: str) -> bool:
    named = (room.get(key, "") for key in ("name", "topic", "canonical_alias"))
    return any(term.casefold() in text.casefold() for text in named)
