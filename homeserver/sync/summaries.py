"""A room's summary: how many are in it, and after whom to name it.

Spec: client-server-api#get_matrixclientv3sync
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import StateKey, StateMap
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.rooms import state, veils
from homeserver.storage.unit_of_work import View

_HEROES = 5
NAME: StateKey = ("m.room.name", "")
_ALIAS: StateKey = ("m.room.canonical_alias", "")
_FIELDS = {NAME: "name", _ALIAS: "alias"}


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts, and heroes where the room has no name."""

    joined: int
    invited: int
    heroes: list[UserId] | None

    def to_json(self) -> JsonObject:
        """As a sync shows it."""
        shown: JsonObject = {
            "m.joined_member_count": self.joined,
            "m.invited_member_count": self.invited,
        }
        if self.heroes is not None:
            shown["m.heroes"] = self.heroes
        return shown


def load_summary(
    view: View,
    room_id: RoomId,
    user_id: UserId,
    current: StateMap,
    counts: Mapping[str, int] | None = None,
    *,
    named_by: Collection[StateKey] = (NAME, _ALIAS),
) -> Summary:
    """Summarise a room for one of its members; `counts` where they are known already.

    There are heroes where nothing in these places names the room.
    """
    if counts is None:
        counts = veils.count_members(view, room_id)
    heroes = None if _has_name(view, current, named_by) else _heroes(view, room_id, user_id)
    return Summary(counts.get("join", 0), counts.get("invite", 0), heroes)


def _has_name(view: View, current: StateMap, named_by: Collection[StateKey]) -> bool:
    entries = state.load_entries(view, current, named_by)
    return any(entries[key].content.get(_FIELDS[key]) for key in entries)


def _heroes(view: View, room_id: RoomId, user_id: UserId) -> list[UserId]:
    """The first five who are here or invited, or else the first five who were."""
    for wanted in (frozenset({"join", "invite"}), frozenset({"leave", "ban"})):
        members = veils.members(view, room_id, wanted)
        others = sorted((one.position, one.user_id) for one in members if one.user_id != user_id)
        if others:
            return [other for _, other in others[:_HEROES]]
    return []
