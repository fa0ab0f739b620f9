"""Read a room's state and who is in it, as far as the owner may.

Spec: client-server-api#getting-events-for-a-room
"""

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import StateMap
from homeserver.matrix.identifiers import RoomId
from homeserver.ports import Clock, Requester
from homeserver.rooms import client_format, pages, seeing, veils
from homeserver.storage import events, room_state, rooms
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import View


class RoomState:
    """What the owner's clients read of a room's state."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def all(self, requester: Requester, room_id: RoomId) -> list[JsonObject]:
        """The whole state: now, or as it was when the owner left.

        Spec: client-server-api#get_matrixclientv3roomsroomidstate
        """
        now_ms = self._clock.now_ms()

        def load(view: View) -> list[JsonObject]:
            readable = seeing.load_readable(view, room_id, requester.user_id)
            return _events(view, seeing.readable_state(view, readable), requester, now_ms)

        return await self._database.scan(load)

    def entry(
        self, requester: Requester, room_id: RoomId, event_type: str, state_key: str
    ) -> JsonObject:
        """One event of the state, in the format of clients.

        Spec: client-server-api#get_matrixclientv3roomsroomidstateeventtypestatekey
        """
        now_ms = self._clock.now_ms()

        def find(view: View) -> JsonObject:
            readable = seeing.load_readable(view, room_id, requester.user_id)
            current = seeing.readable_state(view, readable)
            event_id = current.get((event_type, state_key))
            if event_id is None:
                raise errors.NotFound("That part of the room's state is not set.")
            one = {(event_type, state_key): event_id}
            shown = _events(view, one, requester, now_ms)
            if not shown:
                raise errors.NotFound("That part of the room's state is not set.")
            return shown[0]

        return self._database.read(find)

    async def members(
        self,
        requester: Requester,
        room_id: RoomId,
        at: str | None,
        membership: str | None,
        not_membership: str | None,
    ) -> list[JsonObject]:
        """The member events, perhaps only those of one membership, or as of some time ago.

        Spec: client-server-api#get_matrixclientv3roomsroomidmembers
        """
        now_ms = self._clock.now_ms()
        point = pages.parse_token(at) if at is not None else None

        def load(view: View) -> list[JsonObject]:
            readable = seeing.load_readable(view, room_id, requester.user_id)
            then = seeing.readable_state(view, readable)
            if point is not None:
                state_id = room_state.find_room_state_at(view, room_id, point.position)
                is_past = readable.membership == "join" or point.position <= readable.position
                if state_id is not None and is_past:
                    then = room_state.load_state(view, state_id)
                    then = veils.shown_state(view, room_id, then, point.position)
            members = {key: then[key] for key in then if key[0] == "m.room.member"}
            return [
                event
                for event in _events(view, members, requester, now_ms)
                if membership in (None, event["content"].get("membership"))
                and not_membership != event["content"].get("membership")
            ]

        return await self._database.scan(load)

    async def joined_members(self, requester: Requester, room_id: RoomId) -> JsonObject:
        """Names and pictures of everybody who is in a room; only for those who are in it.

        Spec: client-server-api#get_matrixclientv3roomsroomidjoined_members
        """

        def load(view: View) -> JsonObject:
            if seeing.load_readable(view, room_id, requester.user_id).membership != "join":
                raise errors.NotInRoom
            joined = veils.members(view, room_id, rooms.JOINED)
            return {member.user_id: _profile_of(member) for member in joined}

        return await self._database.scan(load)


def _profile_of(member: rooms.Membership) -> JsonObject:
    profile = {"display_name": member.display_name, "avatar_url": member.avatar_url}
    return {field: value for field, value in profile.items() if value is not None}


def _events(view: View, entries: StateMap, requester: Requester, now_ms: int) -> list[JsonObject]:
    found = events.load_events(view, list(entries.values()))
    shown = [found[event_id] for event_id in entries.values()]
    return client_format.client_events(view, shown, requester, now_ms, with_aggregations=False)
