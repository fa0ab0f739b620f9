"""What a local user may see of a room: whether at all, up to when, and which events.

Every reader goes through here: pages, context, single events, sync.
"""

from collections.abc import Iterable

from homeserver import errors
from homeserver.matrix import identifiers, visibility
from homeserver.matrix.events import StateMap
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.matrix.visibility import Viewpoint
from homeserver.rooms import ignoring, state, veils
from homeserver.rooms.state import HISTORY_VISIBILITY
from homeserver.storage import events, room_state, rooms, sharing
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Membership
from homeserver.storage.sharing import Stay
from homeserver.storage.unit_of_work import View

_READERS = frozenset({"join", "leave", "ban"})


def load_readable(view: View, room_id: RoomId, user_id: UserId) -> Membership:
    """The membership by which a user may read a room; raises `NotInRoom` where there is none."""
    membership = rooms.find_membership(view, room_id, user_id)
    if (
        membership is None
        or membership.is_forgotten
        or membership.membership not in _READERS
        or rooms.find_room(view, room_id) is None
    ):
        raise errors.NotInRoom
    return membership


def readable_state(view: View, membership: Membership) -> StateMap:
    """The state that somebody in the room sees now, and who has left saw last."""
    room_id = membership.room_id
    if membership.membership == "join":
        current = room_state.current_state(view, room_id)
        return veils.shown_state(view, room_id, current, veils.NOW)
    departure = events.find_event(view, membership.event_id)
    if departure is None or departure.state_after is None:
        raise errors.NotInRoom
    then = room_state.load_state(view, departure.state_after)
    return veils.shown_state(view, room_id, then, membership.position)


def visible(view: View, user_id: UserId, several: Iterable[StoredEvent]) -> list[StoredEvent]:
    """Those events of one room that a user may see, as they are shown; see `veils`.

    Spec: client-server-api#room-history-visibility
    """
    eyes: _Eyes | None = None
    seen: list[StoredEvent] = []
    for stored in several:
        if eyes is None:
            eyes = _Eyes(view, user_id, stored.event.room_id)
        if eyes.see(stored):
            seen.append(stored)
    return veils.shown(view, user_id, seen)


def heard(view: View, user_id: UserId, several: Iterable[StoredEvent]) -> list[StoredEvent]:
    """`visible`, without what users say whom this one ignores; state they set is shown.

    Whatever is asked for in a room is read through here. A single event that is asked for by its
    ID is not: nobody comes across that.

    Spec: client-server-api#ignoring-users
    """
    seen = visible(view, user_id, several)
    ignored = ignoring.ignored_by(view, user_id) if seen else frozenset()
    return [one for one in seen if one.event.is_state or one.event.sender not in ignored]


class _Eyes:
    """One user looking at one room; remembers what each state means to them."""

    def __init__(self, view: View, user_id: UserId, room_id: RoomId) -> None:
        self._view = view
        self._user_id = user_id
        self._room_id = room_id
        self._rules: dict[int, tuple[str, str | None]] = {}
        # The states in which they are in the room: they see everything that happens there.
        self._inside: set[int | None] = set()
        self._stays: list[Stay] | None = None

    def see(self, stored: StoredEvent) -> bool:
        """Whether this event is for their eyes."""
        if stored.state_before in self._inside and stored.position is not None:
            return True
        state_id = self._state_id(stored)
        if state_id is None or stored.position is None:
            return False
        shown, membership = self._rule(state_id)
        if membership == "join":
            self._inside.add(state_id)
            return True
        before = Viewpoint(shown, membership, has_joined_since=self._stays_after(stored.position))
        return visibility.may_see_event(stored.event, self._user_id, before)

    def _state_id(self, stored: StoredEvent) -> int | None:
        """Of history that was fetched later: the state at the live event it stands before.

        The peer it came from has looked at the state of that time; we do not know it.
        """
        if stored.state_before is not None or stored.position is None:
            return stored.state_before
        return room_state.find_state_at(self._view, self._room_id, stored.position)

    def _rule(self, state_id: int) -> tuple[str, str | None]:
        if state_id not in self._rules:
            key = state.member_key(self._user_id)
            entries = state.load_entries(
                self._view, room_state.load_state(self._view, state_id), (HISTORY_VISIBILITY, key)
            )
            setting, member = entries.get(HISTORY_VISIBILITY), entries.get(key)
            self._rules[state_id] = (
                visibility.visibility_of(setting.content if setting is not None else None),
                str(member.content.get("membership")) if member is not None else None,
            )
        return self._rules[state_id]

    def _stays_after(self, position: int) -> bool:
        if self._stays is None:
            server = identifiers.server_of(self._user_id)
            self._stays = sharing.stays_of(self._view, self._room_id, server)
        return any(stay.until is None or stay.until >= position for stay in self._stays)
