"""Whose device lists a client must fetch anew since its position, and whose it may forget.

Spec: client-server-api#tracking-the-device-list-for-a-user
"""

from collections.abc import Iterator

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.rooms import veils
from homeserver.storage import encryption, room_state, rooms
from homeserver.storage.unit_of_work import View
from homeserver.sync import moves, room_state_changes, timelines
from homeserver.sync.filters import RoomEventFilter
from homeserver.sync.sliding.asking import Asked
from homeserver.sync.sliding.planning import News
from homeserver.sync.timelines import Span

_NEWEST = RoomEventFilter(limit=1)
_ONCE_IN = frozenset({"join", "leave", "ban"})


def load(view: View, asked: Asked, news: News) -> JsonObject:
    """The `device_lists` of an answer; empty where nothing changed."""
    if asked.pos is None:
        return {}
    changed: set[UserId] = set()
    if news.newest.device_lists > asked.after:
        changed = encryption.device_list_changes(view, asked.after, asked.until)
    moved = set(_who_moved(view, asked, news))
    if not changed and not moved:
        return {}
    near = veils.users_near(view, asked.user_id)
    moved.discard(asked.user_id)
    shown = {one for one in changed if one in near or one == asked.user_id} | (moved & near)
    lists = {"changed": sorted(shown), "left": sorted(moved - near)}
    return {name: users for name, users in lists.items() if users}


def _who_moved(view: View, asked: Asked, news: News) -> Iterator[UserId]:
    """Who came into a room of the user's or went; where the user did so, everybody there."""
    for room_id, membership in news.moved.items():
        is_in = membership.membership == "join"
        if is_in != moves.was_joined(view, room_id, asked.user_id, asked.after):
            members = veils.members(view, room_id, rooms.JOINED if is_in else _ONCE_IN)
            yield from (one.user_id for one in members)
    for room_id in news.rooms:
        if _has_other_state(view, asked, room_id):
            span = Span(room_id, asked.after, asked.until, asked.after)
            part = timelines.load_slice(view, asked.user_id, span, _NEWEST)
            yield from room_state_changes.joins_and_leaves(view, part)


def _has_other_state(view: View, asked: Asked, room_id: RoomId) -> bool:
    before = room_state.find_room_state_at(view, room_id, asked.after)
    return before != room_state.find_room_state_at(view, room_id, asked.until)
