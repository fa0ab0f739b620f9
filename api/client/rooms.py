"""Create rooms; aliases and the room directory.

Spec: client-server-api#creation, client-server-api#room-aliases
"""

from typing import Any, Literal

from pydantic import BaseModel, Field, StrictBool

from api.routing import Query, Routes
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
    is_direct: StrictBool = False
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


class Directory(BaseModel):
    """Whose directory is asked for; this server's unless another is named."""

    server: str | None = None


class Page(BaseModel):
    """Which part of the directory is asked for; a token is a number of rooms to pass over."""

    limit: int | None = Field(default=None, ge=0)
    since: str | None = Field(default=None, pattern=r"^\d{1,9}$")

    def cut(self, rooms: list[JsonObject]) -> JsonObject:
        """The part, and where the parts beside it begin."""
        start = int(self.since or 0)
        size = len(rooms) if self.limit is None else self.limit
        part: JsonObject = {
            "chunk": rooms[start : start + size],
            "total_room_count_estimate": len(rooms),
        }
        if start + size < len(rooms):
            part["next_batch"] = str(start + size)
        if start:
            part["prev_batch"] = str(max(0, start - size))
        return part


class DirectoryPage(Directory, Page):
    """Which part of whose directory."""


class RoomSearch(BaseModel):
    """What is searched for in the directory."""

    generic_search_term: str | None = None
    room_types: list[str | None] | None = None

    def finds(self, room: JsonObject) -> bool:
        """Whether a room is among what is searched for."""
        if self.room_types is not None and room.get("room_type") not in self.room_types:
            return False
        term = (self.generic_search_term or "").casefold()
        named = (room.get(key, "") for key in ("name", "topic", "canonical_alias"))
        return any(term in text.casefold() for text in named)


class SearchBody(Page):
    """A search in the directory."""

    filter: RoomSearch | None = None


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
async def public_rooms(
    requester: Requester, page: Query[DirectoryPage], aliases: RoomAliases
) -> JsonObject:
    """The directory.

    Spec: client-server-api#get_matrixclientv3publicrooms
    """
    del requester
    return page.cut(await aliases.published_rooms(page.server))


@routes.post("/publicRooms")
async def search_public_rooms(
    requester: Requester, directory: Query[Directory], body: SearchBody, aliases: RoomAliases
) -> JsonObject:
    """The directory, or what of it is searched for.

    Spec: client-server-api#post_matrixclientv3publicrooms
    """
    del requester
    rooms = await aliases.published_rooms(directory.server)
    return body.cut([room for room in rooms if body.filter is None or body.filter.finds(room)])
