"""What is told of a room to those outside of it: in the directory, in spaces, before joining.

Spec: client-server-api#room-previews
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from homeserver import errors
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName, UserId
from homeserver.rooms import state, veils
from homeserver.storage import events, meetings, room_state, rooms
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import View

MOST_CHILDREN = 1_000

_TEXTS = {
    "name": ("m.room.name", "name"),
    "topic": ("m.room.topic", "topic"),
    "avatar_url": ("m.room.avatar", "url"),
    "canonical_alias": ("m.room.canonical_alias", "alias"),
    "join_rule": ("m.room.join_rules", "join_rule"),
    "room_type": ("m.room.create", "type"),
    "encryption": ("m.room.encryption", "algorithm"),
}
_YES = {
    "world_readable": ("m.room.history_visibility", "history_visibility", "world_readable"),
    "guest_can_join": ("m.room.guest_access", "guest_access", "can_join"),
}
# The only algorithm that the specification knows here.
_MEGOLM = "m.megolm.v1.aes-sha2"
_SEEN_BY_ALL = frozenset({"public", "knock", "knock_restricted"})
_RESTRICTED = frozenset({"restricted", "knock_restricted"})
_LONGEST_TEXT = 10_000


@dataclass(frozen=True, slots=True)
class Onlooker:
    """Who wants to know: a local user, or anybody of a peer's server."""

    user_id: UserId | None = None
    server: ServerName | None = None

    def is_in(self, view: View, room_id: RoomId, wanted: frozenset[str] = rooms.JOINED) -> bool:
        """Whether they are in a room, by the memberships that count."""
        if self.user_id is None:
            return self.server in rooms.servers_in_room(view, room_id, wanted)
        found = rooms.find_membership(view, room_id, self.user_id)
        return found is not None and found.membership in wanted and not found.is_forgotten


def summarise(view: View, room: Room, onlooker: Onlooker) -> JsonObject:
    """A room that we hold, in the form of the specification's `RoomSummary`.

    Whom the owner has cut off is out of it for the owner alone; peers are told of the room itself.

    Spec: client-server-api#get_matrixclientv1room_summaryroomidoralias
    """
    current = room_state.load_state(view, room.current_state_id)
    kinds = {kind for kind, *_ in (*_TEXTS.values(), *_YES.values())}
    wanted = [current[kind, ""] for kind in kinds if (kind, "") in current]
    found: Iterable[StoredEvent] = events.load_events(view, wanted).values()
    count = rooms.count_members
    if onlooker.server is None:
        found, count = veils.shown(view, UserId(""), found), veils.count_members
    contents = {one.event.type: one.event.content for one in found}
    return _summary(contents) | {
        "room_id": room.room_id,
        "room_version": room.version_id,
        "num_joined_members": count(view, room.room_id).get("join", 0),
    }


def may_hear_of(view: View, room: Room, onlooker: Onlooker) -> bool:
    """Whether anything of a room may be told: to peers only what the connection is for.

    What was made to stay on this server stays there.
    """
    if onlooker.server is None:
        return True
    if not meetings.is_carried(view, room.room_id, onlooker.server):
        return False
    created = state.load_entry(view, room_state.current_state(view, room.room_id), state.CREATE)
    return created is not None and created.content.get("m.federate") is not False


def from_stripped(view: View, room_id: RoomId, user_id: UserId) -> JsonObject | None:
    """What an invitation or a knock told of a room that we are outside of."""
    told = rooms.find_stripped_state(view, room_id, user_id)
    if not told:
        return None
    contents = {
        one["type"]: one["content"]
        for one in told
        if isinstance(one["type"], str) and isinstance(one["content"], dict)
    }
    version = contents.get("m.room.create", {}).get("room_version")
    summary = _summary(contents) | {"room_id": room_id, "num_joined_members": 1}
    return summary | ({"room_version": version} if isinstance(version, str) else {})


def _summary(contents: Mapping[str, JsonObject]) -> JsonObject:
    summary: JsonObject = {}
    for name, (kind, key) in _TEXTS.items():
        value = contents.get(kind, {}).get(key)
        if isinstance(value, str) and value and (name != "encryption" or value == _MEGOLM):
            summary[name] = value
    for name, (kind, key, yes) in _YES.items():
        summary[name] = contents.get(kind, {}).get(key) == yes
    if summary.get("join_rule") in _RESTRICTED:
        summary["allowed_room_ids"] = _allowed(contents["m.room.join_rules"].get("allow"))
    return summary


def _allowed(allow: Any) -> list[str]:
    conditions = allow if isinstance(allow, list) else []
    named: list[Any] = [
        one.get("room_id")
        for one in conditions
        if isinstance(one, dict) and one.get("type") == "m.room_membership"
    ]
    return [one for one in named if _is_room_id(one)]


def may_see(view: View, summary: JsonObject, onlooker: Onlooker) -> bool:
    """Whether somebody may know of a room: they are in it, or could come in or knock.

    Spec: client-server-api#get_matrixclientv1roomsroomidhierarchy
    """
    if summary["world_readable"] or summary.get("join_rule") in _SEEN_BY_ALL:
        return True
    if onlooker.is_in(view, RoomId(summary["room_id"]), rooms.PRESENT):
        return True
    allowed: Iterable[str] = summary.get("allowed_room_ids", ())
    return any(onlooker.is_in(view, RoomId(one)) for one in allowed)


def told_by_peer(value: Any, room_id: RoomId | None = None) -> JsonObject | None:
    """A summary that a peer gave, with nothing in it that a client would stumble over."""
    if not isinstance(value, dict) or not _is_room_id(value.get("room_id")):
        return None
    if room_id is not None and value["room_id"] != room_id:
        return None
    count = value.get("num_joined_members")
    summary: JsonObject = {
        "room_id": value["room_id"],
        "num_joined_members": count if type(count) is int and 0 <= count < 2**53 else 0,
    }
    for name in (*_TEXTS, "room_version"):
        text = value.get(name)
        is_fit = isinstance(text, str) and 0 < len(text) <= _LONGEST_TEXT
        if is_fit and (name != "encryption" or text == _MEGOLM):
            summary[name] = text
    for name in _YES:
        summary[name] = value.get(name) is True
    allowed = value.get("allowed_room_ids")
    if isinstance(allowed, list):
        summary["allowed_room_ids"] = [one for one in allowed[:MOST_CHILDREN] if _is_room_id(one)]
    return summary


def _is_room_id(value: Any) -> bool:
    try:
        identifiers.parse_room_id(value if isinstance(value, str) else "")
    except errors.InvalidParam:
        return False
    return True
