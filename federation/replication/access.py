"""What a peer may read of a room: only what its users may see.

A server that is not in the room gets nothing. For one that is, an event its users may not see is
redacted: the graph stays whole, and nothing is read.

Spec: server-server-api#backfilling-and-retrieving-missing-events
"""

from collections.abc import Iterable

from homeserver import errors
from homeserver.matrix import events as matrix_events
from homeserver.matrix import identifiers, visibility
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import RoomId, ServerName, UserId
from homeserver.matrix.visibility import Viewpoint
from homeserver.rooms import state, veils
from homeserver.storage import meetings, room_state, rooms, sharing
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import View

EVERYBODY = frozenset({"join", "invite", "knock", "leave", "ban"})


def is_carried(view: View, room_id: RoomId, peer: ServerName) -> bool:
    """Whether the connection is for this room: an introduction's is not for every room."""
    return meetings.is_carried(view, room_id, peer)


def is_welcome(view: View, room_id: RoomId, peer: ServerName) -> bool:
    """Whether the connection is for this room, and the room does not shut the peer out."""
    current = room_state.current_state(view, room_id)
    return is_carried(view, room_id, peer) and state.lets_in(view, current, peer)


def check_in_room(view: View, room_id: RoomId, peer: ServerName) -> Room:
    """Raise unless the peer's server has somebody in the room now. Same answer as for no room."""
    room = rooms.find_room(view, room_id)
    is_present = peer in sharing.present_servers(view, room_id)
    if room is None or not is_present or not is_welcome(view, room_id, peer):
        raise errors.NotInRoom
    return room


def may_send_into(view: View, room_id: RoomId, peer: ServerName) -> bool:
    """Whether a server is in the room, or was: what it says of that time still belongs there."""
    was_present = peer in rooms.servers_in_room(view, room_id, EVERYBODY)
    return was_present and is_welcome(view, room_id, peer)


def seen(
    view: View, room_id: RoomId, peer: ServerName, found: Iterable[StoredEvent]
) -> list[StoredEvent]:
    """Those of these events that the peer may read whole."""
    eyes = _Eyes(view, room_id, peer)
    return [stored for stored in found if is_of_room(view, room_id, stored) and eyes.see(stored)]


def is_of_room(view: View, room_id: RoomId, stored: StoredEvent) -> bool:
    """Whether an event is one of this room for everybody, and not for our own clients only."""
    event = stored.event
    return event.room_id == room_id and not veils.is_stand_in(view, room_id, event.event_id)


def readable(
    view: View, room_id: RoomId, peer: ServerName, found: Iterable[StoredEvent]
) -> list[JsonObject]:
    """The PDUs of these events as the peer may read them: whole, or redacted."""
    eyes = _Eyes(view, room_id, peer)
    return [
        stored.event.pdu if eyes.see(stored) else matrix_events.redacted(stored.event).pdu
        for stored in found
        if is_of_room(view, room_id, stored)
    ]


class _Eyes:
    """The users of one server, which is in the room now, looking at it."""

    def __init__(self, view: View, room_id: RoomId, peer: ServerName) -> None:
        self._view = view
        self._room_id = room_id
        self._users = [
            member.user_id
            for member in rooms.members_of(view, room_id, EVERYBODY)
            if identifiers.server_of(member.user_id) == peer
        ]
        self._seen: dict[int, list[tuple[UserId, Viewpoint]]] = {}

    def see(self, stored: StoredEvent) -> bool:
        """Whether one of them may see this event. State is everybody's: the rules rest on it.

        Spec: client-server-api#room-history-visibility
        """
        if stored.event.is_state:
            return True
        state_id = stored.state_before
        if state_id is None and stored.position is not None:
            state_id = room_state.find_state_at(self._view, self._room_id, stored.position)
        return state_id is not None and any(
            visibility.may_see_event(stored.event, user, before)
            for user, before in self._viewpoints(state_id)
        )

    def _viewpoints(self, state_id: int) -> list[tuple[UserId, Viewpoint]]:
        if state_id not in self._seen:
            then = room_state.load_state(self._view, state_id)
            setting = state.load_entry(self._view, then, state.HISTORY_VISIBILITY)
            shown = visibility.visibility_of(setting.content if setting else None)
            keys = {user: state.member_key(user) for user in self._users}
            members = state.load_entries(self._view, then, keys.values())
            self._seen[state_id] = [
                (user, Viewpoint(shown, _membership(members.get(key)), has_joined_since=True))
                for user, key in keys.items()
            ]
        return self._seen[state_id]


def _membership(member: Event | None) -> str | None:
    return None if member is None else str(member.content.get("membership"))
