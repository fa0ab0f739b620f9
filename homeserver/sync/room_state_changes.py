"""Which state events a device needs beside a timeline.

Spec: client-server-api#syncing, client-server-api#lazy-loading-room-members
"""

from collections.abc import Callable, Collection, Iterable

from homeserver.matrix.events import StateKey
from homeserver.matrix.identifiers import EventId, UserId
from homeserver.storage import events, room_state
from homeserver.storage.unit_of_work import View
from homeserver.sync.filters import RoomEventFilter
from homeserver.sync.timelines import Slice

MEMBER = "m.room.member"

Entries = dict[StateKey, EventId]


def before_timeline(part: Slice) -> Entries:
    """What changed up to the start of the timeline.

    And what the timeline does not tell though it changed later: where state resolution decided
    for an event that stands elsewhere, or the filter keeps one out of the timeline.
    """
    told = {one.event.key for one in part.events if one.event.is_state}
    entries = _set_entries(room_state.difference(part.known, part.at_start))
    for key, event_id in _set_entries(room_state.difference(part.at_start, part.at_end)).items():
        if key not in told:
            entries[key] = event_id
    return entries


def after_timeline(part: Slice) -> Entries:
    """What changed up to the end of the timeline."""
    return _set_entries(room_state.difference(part.known, part.at_end))


def with_members(
    entries: Entries,
    part: Slice,
    needed: Iterable[UserId],
    *,
    is_whole: bool,
    uses_end: bool,
    is_known: Callable[[UserId, EventId], bool],
) -> Entries:
    """Members as a lazy client wants them: those who are needed, and those that changed.

    Of those who are needed only whose memberships the client does not have.

    Spec: client-server-api#lazy-loading-room-members
    """
    source = part.at_end if uses_end else part.at_start
    kept = (
        {key: event_id for key, event_id in entries.items() if key[0] != MEMBER}
        if is_whole
        else dict(entries)
    )
    told = set() if uses_end else {one.event.key for one in part.events if one.event.is_state}
    for user_id in needed:
        key = (MEMBER, user_id)
        event_id = source.get(key)
        if event_id is None and key not in told:
            event_id = part.at_end.get(key)
        if event_id is not None and not is_known(user_id, event_id):
            kept.setdefault(key, event_id)
    return kept


def allowed(entries: Entries, wanted: RoomEventFilter) -> Entries:
    """Those whose type the filter lets pass; senders are looked at when the events are there."""
    if wanted.is_open:
        return entries
    return {key: one for key, one in entries.items() if wanted.allows_type(key[0])}


def member_changes(part: Slice) -> set[UserId]:
    """Whose membership or profile is not what the device knows."""
    changed = room_state.difference(part.known, part.at_end)
    return {UserId(key[1]) for key in changed if key[0] == MEMBER}


def joins_and_leaves(view: View, part: Slice) -> set[UserId]:
    """Who came or went since the state the device knows; nobody where it knows none."""
    if part.known is room_state.EMPTY:
        return set()
    keys = [(MEMBER, user_id) for user_id in member_changes(part)]
    ids = {one for key in keys for one in (part.known.get(key), part.at_end.get(key)) if one}
    found = events.load_bodies(view, ids)
    joins = {one for one in found if found[one].content.get("membership") == "join"}
    return {
        UserId(key[1])
        for key in keys
        if (part.known.get(key) in joins) != (part.at_end.get(key) in joins)
    }


def senders(part: Slice) -> Collection[UserId]:
    """Who speaks in the timeline."""
    return {one.event.sender for one in part.events}


def _set_entries(changes: dict[StateKey, EventId | None]) -> Entries:
    return {key: event_id for key, event_id in changes.items() if event_id is not None}
