"""What the owner sees of strangers in rooms, and says about them."""

from collections.abc import Callable
from dataclasses import replace

from federation.introductions import deciding
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.ports import Clock
from homeserver.storage import meetings, peers, sharing
from homeserver.storage.database import Database
from homeserver.storage.meetings import Meeting
from homeserver.storage.unit_of_work import UnitOfWork, View

OWNER = "owner"
Verb = Callable[[UnitOfWork, Meeting], None]


class Strangers:
    """The owner's verbs about them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def all(self) -> list[JsonObject]:
        """Every room with strangers in it, or that waits to be entered because of them."""
        return self._database.read(_rooms)

    async def agree(
        self, room_id: RoomId, server: ServerName | None = None, how: str = OWNER
    ) -> None:
        """Meet one stranger of a room, or all; a room that waited for it is entered."""

        def operation(work: UnitOfWork) -> None:
            self._say(work, room_id, server, how, deciding.agree)
            request = meetings.find_request(work, room_id)
            left = [one for one in meetings.load(work, room_id) if one.state != meetings.AGREED]
            if request is not None and not left:
                now_ms = self._clock.now_ms()
                meetings.save_request(work, replace(request, is_agreed=True, at=now_ms))

        await self._database.write(operation)

    async def refuse(
        self, room_id: RoomId, server: ServerName | None = None, how: str = OWNER
    ) -> None:
        """Meet them not: who is in a room of ours stays hidden, and no room is entered."""

        def operation(work: UnitOfWork) -> None:
            self._say(work, room_id, server, how, deciding.refuse)
            meetings.delete_request(work, room_id)

        await self._database.write(operation)

    def _say(
        self, work: UnitOfWork, room_id: RoomId, server: ServerName | None, how: str, verb: Verb
    ) -> None:
        meant = [one for one in meetings.load(work, room_id) if server in (None, one.server)]
        if not meant:
            raise errors.NotFound("There is nobody in that room whom you could meet.")
        for meeting in meant:
            verb(work, replace(meeting, how=how, at=self._clock.now_ms()))


def _rooms(view: View) -> list[JsonObject]:
    by_room: dict[RoomId, list[Meeting]] = {}
    for meeting in meetings.load(view):
        by_room.setdefault(meeting.room_id, []).append(meeting)
    return [_room(view, room_id, found) for room_id, found in by_room.items()]


def _room(view: View, room_id: RoomId, found: list[Meeting]) -> JsonObject:
    request = meetings.find_request(view, room_id)
    carrying = meetings.carrying(view, room_id)
    return {
        "room_id": room_id,
        "waits_to": None if request is None else request.membership,
        "is_agreed": request is not None and request.is_agreed,
        "servers": [
            {
                "server_name": one.server,
                "said": one.state,
                "how": one.how,
                "is_connected": one.server in carrying,
                "introducers": sorted(introducers(view, room_id) - {one.server}),
            }
            for one in found
        ],
    }


def introducers(view: View, room_id: RoomId) -> frozenset[ServerName]:
    """The peers in a room who may introduce the owner: the grant `introduce` is theirs."""
    there = sharing.present_servers(view, room_id) & meetings.carrying(view, room_id)
    return frozenset(one for one in there if peers.may(view, one, "introduce"))
