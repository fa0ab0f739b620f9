"""Answer what peers ask about rooms from outside: the directory, spaces, and rooms in time.

Spec: server-server-api#published-room-directory, server-server-api#spaces
"""

from collections.abc import Iterable

from federation.replication import access, bodies
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.rooms import moments
from homeserver.rooms.directory import DirectoryRequest, RoomDirectory
from homeserver.rooms.spaces import Spaces
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.unit_of_work import View


class Browsing:
    """Questions about rooms that the asker need not be in."""

    def __init__(self, database: Database, directory: RoomDirectory, spaces: Spaces) -> None:
        self._database = database
        self._directory = directory
        self._spaces = spaces

    async def answer_public_rooms(self, peer: ServerName, body: JsonObject) -> JsonObject:
        """A part of our directory: the rooms that the connection is for.

        Spec: server-server-api#post_matrixfederationv1publicrooms
        """
        asked = bodies.read(bodies.PublicRooms, body)
        request = DirectoryRequest(
            asked.limit, asked.since, asked.filter.generic_search_term, asked.filter.room_types
        )
        return await self._directory.page_here(request, peer)

    async def answer_hierarchy(self, peer: ServerName, body: JsonObject) -> JsonObject:
        """A room and its children, as far as the peer's people may know of them.

        Spec: server-server-api#get_matrixfederationv1hierarchyroomid
        """
        asked = bodies.read(bodies.Hierarchy, body)

        def look(view: View) -> JsonObject:
            if not access.is_carried(view, asked.room_id, peer):
                raise errors.NotFound("There is no such room that you may see.")
            return self._spaces.answer_peer(
                view, peer, asked.room_id, is_suggested_only=asked.suggested_only
            )

        return await self._database.scan(look)


def answer_timestamp_to_event(view: View, peer: ServerName, body: JsonObject) -> JsonObject:
    """The event nearest to a moment that the peer's people may see.

    Spec: server-server-api#get_matrixfederationv1timestamp_to_eventroomid
    """
    asked = bodies.read(bodies.AtMoment, body)
    room = access.check_in_room(view, asked.room_id, peer)

    def see(several: list[StoredEvent]) -> Iterable[StoredEvent]:
        return access.seen(view, room.room_id, peer, several)

    found = moments.nearest(view, room.room_id, asked.ts, see, is_backwards=asked.dir == "b")
    if found is None:
        raise errors.NotFound("There is no event on that side of that moment.")
    return {
        "event_id": found.event.event_id,
        "origin_server_ts": found.event.origin_server_ts,
    }
