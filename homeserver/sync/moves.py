"""Where the owner is now, and what changed about that: into which section each room goes."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.rooms import state
from homeserver.storage import events, room_state, rooms
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View
from homeserver.sync.asking import Asked

_PRESENT = frozenset({"join", "invite", "knock"})
GONE = frozenset({"leave", "ban"})


class MovedMeanwhile(Exception):
    """The owner's membership changed after the position that is being answered: begin again."""


@dataclass(frozen=True, slots=True)
class Sections:
    """The rooms of an answer. `fresh` are joined ones that the device does not know yet."""

    joined: list[RoomId] = field(default_factory=list)
    fresh: frozenset[RoomId] = frozenset()
    outside: list[Membership] = field(default_factory=list)
    left: list[Membership] = field(default_factory=list)


def load_sections(view: View, asked: Asked) -> Sections:
    """Sort the rooms that concern the device."""
    if asked.is_initial:
        return _all_rooms(view, asked)
    return _changed_rooms(view, asked)


def _all_rooms(view: View, asked: Asked) -> Sections:
    wanted = _PRESENT | GONE if asked.wish.filter.room.include_leave else _PRESENT
    found = [
        one
        for one in rooms.rooms_of(view, asked.user_id, wanted)
        if asked.wish.filter.room.allows_room(one.room_id)
    ]
    _check_present(found, asked)
    joined = [one.room_id for one in found if one.membership == "join"]
    return Sections(
        joined,
        frozenset(joined),
        [one for one in found if one.membership in ("invite", "knock")],
        [one for one in found if one.membership in GONE],
    )


def _changed_rooms(view: View, asked: Asked) -> Sections:
    allows = asked.wish.filter.room.allows_room
    moved = {
        one.room_id: one
        for one in rooms.memberships_since(view, asked.user_id, asked.after)
        if allows(one.room_id)
    }
    _check_present(moved.values(), asked)
    joined = {room_id for room_id, one in moved.items() if one.membership == "join"}
    fresh = frozenset(
        room_id for room_id in joined if not was_joined(view, room_id, asked.user_id, asked.after)
    )
    changed = events.changed_rooms(view, asked.after, asked.until) - moved.keys()
    joined.update(one for one in changed if allows(one) and is_joined(view, one, asked))
    if asked.wish.is_full_state:
        everywhere = rooms.rooms_of(view, asked.user_id, rooms.JOINED)
        joined.update(one.room_id for one in everywhere if allows(one.room_id))
    return Sections(
        sorted(joined),
        fresh,
        [one for one in moved.values() if one.membership in ("invite", "knock")],
        [one for one in moved.values() if one.membership in GONE],
    )


def is_joined(view: View, room_id: RoomId, asked: Asked) -> bool:
    """Whether the owner is in a room."""
    found = rooms.find_membership(view, room_id, asked.user_id)
    if found is not None and found.position > asked.until:
        raise MovedMeanwhile
    return found is not None and found.membership == "join" and not found.is_forgotten


def was_joined(view: View, room_id: RoomId, user_id: UserId, position: int) -> bool:
    """Whether a user was in a room at a position."""
    state_id = room_state.find_room_state_at(view, room_id, position)
    if state_id is None:
        return False
    known = room_state.load_state(view, state_id)
    member = state.load_entry(view, known, state.member_key(user_id))
    return member is not None and member.content.get("membership") == "join"


def _check_present(found: Iterable[Membership], asked: Asked) -> None:
    if any(one.position > asked.until for one in found):
        raise MovedMeanwhile
