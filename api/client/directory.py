"""Aliases and the directory of published rooms.

Spec: client-server-api#room-aliases, client-server-api#published-room-directory
"""

from typing import Literal

from pydantic import BaseModel, Field

from api.routing import JsonBody, Query, Routes
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomAlias, RoomId, parse_room_alias
from homeserver.ports import Requester
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.directory import DirectoryRequest, RoomDirectory

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")


class AliasFor(BaseModel):
    """The room that an alias shall lead to."""

    room_id: RoomId


class Directory(BaseModel):
    """Whose directory is asked for; this server's unless another is named."""

    server: str | None = None


class Page(BaseModel):
    """Which part of the directory is asked for."""

    limit: int | None = Field(default=None, ge=0)
    since: str | None = Field(default=None, max_length=255)


class DirectoryPage(Directory, Page):
    """Which part of whose directory."""


class RoomSearch(BaseModel):
    """What is searched for in the directory."""

    generic_search_term: str | None = None
    room_types: list[str | None] | None = None


class SearchBody(Page):
    """A search in the directory."""

    filter: RoomSearch | None = None

    def request(self) -> DirectoryRequest:
        """The same in the words of the rooms."""
        wanted = self.filter or RoomSearch()
        return DirectoryRequest(
            self.limit, self.since, wanted.generic_search_term, wanted.room_types
        )


class Visibility(BaseModel):
    """Whether a room stands in the directory."""

    visibility: Literal["private", "public"] = "public"


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
    await aliases.delete(requester, alias)
    return {}


@routes.get("/directory/list/room/{room_id}")
async def visibility(requester: Requester, room_id: RoomId, directory: RoomDirectory) -> Visibility:
    """Whether a room stands in the directory.

    Spec: client-server-api#get_matrixclientv3directorylistroomroomid
    """
    del requester
    return Visibility(visibility="public" if directory.is_published(room_id) else "private")


@routes.put("/directory/list/room/{room_id}")
async def set_visibility(
    requester: Requester, room_id: RoomId, wanted: Visibility, directory: RoomDirectory
) -> JsonObject:
    """Put a room into the directory, or take it out.

    Spec: client-server-api#put_matrixclientv3directorylistroomroomid
    """
    await directory.publish(requester, room_id, is_published=wanted.visibility == "public")
    return {}


@routes.put("/directory/list/appservice/{network_id}/{room_id}")
async def set_bridged_visibility(
    requester: Requester, network_id: str, room_id: RoomId, body: JsonBody
) -> JsonObject:
    """The directory of an application service, of which there is none here.

    Spec: client-server-api#put_matrixclientv3directorylistappservicenetworkidroomid
    """
    del requester, network_id, room_id, body
    raise errors.Forbidden("This server has no application services.")


@routes.get("/publicRooms")
async def public_rooms(
    requester: Requester, page: Query[DirectoryPage], directory: RoomDirectory
) -> JsonObject:
    """The directory.

    Spec: client-server-api#get_matrixclientv3publicrooms
    """
    del requester
    return await directory.page(page.server, DirectoryRequest(page.limit, page.since))


@routes.post("/publicRooms")
async def search_public_rooms(
    requester: Requester, whose: Query[Directory], body: SearchBody, directory: RoomDirectory
) -> JsonObject:
    """The directory, or what of it is searched for.

    Spec: client-server-api#post_matrixclientv3publicrooms
    """
    del requester
    return await directory.page(whose.server, body.request())
