"""The directory of published rooms: this server's, and those of connected peers.

Spec: client-server-api#published-room-directory
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.ports import PeerNetwork, Requester
from homeserver.rooms import seeing, summaries
from homeserver.rooms.local_server import LocalServer
from homeserver.rooms.summaries import Onlooker
from homeserver.storage import peers, rooms
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View

_MOST_ROOMS = 500
_LONGEST_TOKEN = 255
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class DirectoryRequest:
    """Which part of a directory is asked for, and what is searched in it."""

    limit: int | None = None
    since: str | None = None
    term: str | None = None
    room_types: Sequence[str | None] | None = None

    def to_body(self) -> JsonObject:
        """The same as a question to a peer."""
        search: JsonObject = {}
        if self.term is not None:
            search["generic_search_term"] = self.term
        if self.room_types is not None:
            search["room_types"] = list(self.room_types)
        body = {"limit": self.limit, "since": self.since, "filter": search or None}
        return {name: value for name, value in body.items() if value is not None}

    def finds(self, room: JsonObject) -> bool:
        """Whether a room is among what is searched for."""
        if self.room_types is not None and room.get("room_type") not in self.room_types:
            return False
        term = (self.term or "").casefold()
        named = (room.get(key, "") for key in ("name", "topic", "canonical_alias"))
        return any(term in text.casefold() for text in named)

    def cut(self, listed: list[JsonObject]) -> JsonObject:
        """The part of a list; a token is a number of rooms to pass over."""
        if self.since is not None and not (
            self.since.isdecimal() and len(self.since) <= _MOST_DIGITS
        ):
            raise errors.InvalidParam("That is not a token of this directory.")
        start = int(self.since or 0)
        size = len(listed) if self.limit is None else self.limit
        part: JsonObject = {
            "chunk": listed[start : start + size],
            "total_room_count_estimate": len(listed),
        }
        if start + size < len(listed):
            part["next_batch"] = str(start + size)
        if start:
            part["prev_batch"] = str(max(0, start - size))
        return part


class RoomDirectory:
    """Which rooms are published, and where."""

    def __init__(self, database: Database, local: LocalServer, network: PeerNetwork) -> None:
        self._database = database
        self._local = local
        self._network = network

    def is_published(self, room_id: RoomId) -> bool:
        """Whether a room stands in the directory."""
        room = self._database.read(lambda view: rooms.find_room(view, room_id))
        if room is None:
            raise errors.NotFound("There is no such room.")
        return room.is_published

    async def publish(self, requester: Requester, room_id: RoomId, *, is_published: bool) -> None:
        """Put a room into the directory, or take it out."""

        def publish(work: UnitOfWork) -> None:
            seeing.load_readable(work, room_id, requester.user_id)
            rooms.publish(work, room_id, is_published=is_published)

        await self._database.write(publish)

    async def page(self, server: str | None, request: DirectoryRequest) -> JsonObject:
        """A part of this server's directory, or of a connected peer's.

        Spec: client-server-api#get_matrixclientv3publicrooms
        """
        if server in (None, "", self._local.server_name):
            return await self.page_here(request)
        peer = ServerName(str(server))
        if peer not in self._database.read(peers.connected_servers):
            raise errors.NotFound("Your server is not connected to that one.")
        answer = await self._network.ask(peer, "publicRooms", request.to_body())
        return _told(answer)

    async def page_here(
        self, request: DirectoryRequest, peer: ServerName | None = None
    ) -> JsonObject:
        """A part of this server's directory, for a local user or for a peer."""
        onlooker = Onlooker(server=peer)

        def load(view: View) -> list[JsonObject]:
            published = rooms.published_rooms(view, _MOST_ROOMS)
            return [
                summaries.summarise(view, room, onlooker)
                for room in published
                if summaries.may_hear_of(view, room, onlooker)
            ]

        listed = await self._database.scan(load)
        return request.cut([room for room in listed if request.finds(room)])


def _told(answer: JsonObject) -> JsonObject:
    """A peer's page, as far as it makes sense."""
    listed: Any = answer.get("chunk")
    told = [summaries.told_by_peer(one) for one in (listed if isinstance(listed, list) else ())]
    part: JsonObject = {"chunk": [one for one in told[:_MOST_ROOMS] if one is not None]}
    for name in ("next_batch", "prev_batch"):
        token = answer.get(name)
        if isinstance(token, str) and len(token) <= _LONGEST_TOKEN:
            part[name] = token
    total = answer.get("total_room_count_estimate")
    if type(total) is int and 0 <= total < 2**53:
        part["total_room_count_estimate"] = total
    return part
