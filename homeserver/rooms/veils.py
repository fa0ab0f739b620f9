"""What the owner's clients see of hidden senders. Every reader of rooms goes through here.

A hidden user is not in the room: the membership is `leave`, or there never was one; messages are
left out; other state is shown as a redaction leaves it, so that clients agree with the room about
power; redactions apply. A room without anybody hidden costs one look into a dictionary.
"""

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

from homeserver.matrix import events as matrix_events
from homeserver.matrix.events import DUMMY, Event, StateMap
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.storage import activity, events, hiding, rooms
from homeserver.storage.events import StoredEvent
from homeserver.storage.hiding import Veil
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View

# After everything that ever happens in a room.
NOW = 2**62

_GONE = frozenset({"leave", "ban"})
_ANY = frozenset({"join", "invite", "knock", "leave", "ban"})
_MEMBER = "m.room.member"
# Without it clients would send what everybody can read.
_SHOWN_WHOLE = "m.room.encryption"


def shown(view: View, user_id: UserId, several: Iterable[StoredEvent]) -> list[StoredEvent]:
    """What a local user is shown of these events: left out, redacted, or as they are.

    Events that only join a graph's ends say nothing, and are for servers.
    """
    several = [stored for stored in several if stored.event.type != DUMMY]
    veils = hiding.load_hidden(view).veils
    if not veils:
        return several
    seen = []
    for stored in several:
        veil = veils.get(stored.event.room_id)
        left = stored if veil is None else _shown(view, veil, user_id, stored)
        if left is not None:
            seen.append(left)
    return seen


def shown_state(view: View, room_id: RoomId, then: StateMap, position: int) -> StateMap:
    """A room's state at a position of its timeline, with hidden users out of the room."""
    veil = hiding.find_veil(view, room_id)
    if veil is None or not then:
        return then
    absent = _absent_at(veil, position)
    if not absent:
        return then
    changed = dict(then)
    for key in [key for key in then if key[0] == _MEMBER and _server(key[1]) in absent]:
        stand_in = _stand_in_at(veil, key[1], position)
        if stand_in is not None:
            changed[key] = stand_in
        elif not _is_about_to_leave(veil, key[1], position) and not _has_gone(view, then[key]):
            del changed[key]
    return MappingProxyType(changed)


def shown_entries(
    view: View, user_id: UserId, room_id: RoomId, several: Iterable[EventId]
) -> list[Event]:
    """Some entries of a room's state, memberships aside, as they are shown."""
    wanted = list(several)
    if hiding.find_veil(view, room_id) is None:
        return list(events.load_bodies(view, wanted).values())
    return [one.event for one in shown(view, user_id, events.load_events(view, wanted).values())]


def is_hidden(view: View, room_id: RoomId, user_id: str) -> bool:
    """Whether somebody is shown as out of a room now, whatever the room says."""
    veil = hiding.find_veil(view, room_id)
    return veil is not None and veil.is_closed(_server(user_id), is_absent=True)


def is_unheard(view: View, room_id: RoomId, sender: str, position: int) -> bool:
    """Whether a message of theirs at this position of the timeline is left out."""
    veil = hiding.find_veil(view, room_id)
    return veil is not None and _is_unheard(veil, sender, position)


def heard(
    view: View,
    room_id: RoomId,
    event_ids: list[EventId],
    ignored: frozenset[UserId] = frozenset(),
) -> list[EventId]:
    """Those of a room's message events that are not left out; nobody hears who is ignored."""
    veil = hiding.find_veil(view, room_id)
    if veil is None and not ignored:
        return event_ids
    found = events.load_events(view, event_ids)
    return [
        event_id
        for event_id in event_ids
        if event_id in found
        and found[event_id].event.sender not in ignored
        and not (
            veil is not None
            and _is_unheard(veil, found[event_id].event.sender, found[event_id].position or 0)
        )
    ]


def is_stand_in(view: View, room_id: RoomId, event_id: EventId) -> bool:
    """Whether an event is one that only our clients know; nothing about it may go to a peer."""
    veil = hiding.find_veil(view, room_id)
    return veil is not None and event_id in veil.stand_ins


def members(view: View, room_id: RoomId, wanted: frozenset[str]) -> list[Membership]:
    """A room's people by membership, as the owner is shown them."""
    veil = hiding.find_veil(view, room_id)
    absent = frozenset() if veil is None else _absent_at(veil, NOW)
    if veil is None or not absent:
        return rooms.members_of(view, room_id, wanted)
    found = []
    for one in rooms.members_of(view, room_id, _ANY):
        if _server(one.user_id) in absent and one.membership not in _GONE:
            stand_in = _stand_in_at(veil, one.user_id, NOW)
            if stand_in is None:
                continue
            one = replace(one, membership="leave", event_id=stand_in)  # noqa: PLW2901
        if one.membership in wanted:
            found.append(one)
    return found


def count_members(view: View, room_id: RoomId) -> dict[str, int]:
    """How many people a room has, by membership, as the owner is shown them."""
    if hiding.find_veil(view, room_id) is None:
        return rooms.count_members(view, room_id)
    counts: dict[str, int] = {}
    for one in members(view, room_id, _ANY):
        counts[one.membership] = counts.get(one.membership, 0) + 1
    return counts


def count_members_of_many(view: View, user_id: UserId) -> dict[RoomId, dict[str, int]]:
    """`count_members` of every room a user is in."""
    counts = activity.count_members(view, user_id)
    for room_id in hiding.load_hidden(view).veils.keys() & counts.keys():
        counts[room_id] = count_members(view, room_id)
    return counts


def users_near(view: View, user_id: UserId) -> frozenset[UserId]:
    """Everybody who is in some room with a local user, as that user is shown it."""
    found = rooms.users_sharing_rooms_with(view, user_id)
    veils = hiding.load_hidden(view).veils
    if not veils:
        return found
    absent = {server for veil in veils.values() for server in _absent_at(veil, NOW)}
    doubtful = {one for one in found if _server(one) in absent}
    return found - {one for one in doubtful if not is_near(view, user_id, one)}


def is_near(view: View, user_id: UserId, other: UserId) -> bool:
    """Whether somebody is in some room with a local user, as that user is shown it."""
    mine = {one.room_id for one in rooms.rooms_of(view, user_id, rooms.JOINED)}
    theirs = {one.room_id for one in rooms.rooms_of(view, other, rooms.JOINED)}
    return any(not is_hidden(view, room_id, other) for room_id in mine & theirs)


def _shown(view: View, veil: Veil, user_id: UserId, stored: StoredEvent) -> StoredEvent | None:
    event = stored.event
    if event.event_id in veil.stand_ins:
        return stored
    stored = _without_reason(veil, stored)
    position = stored.position or 0
    if event.type == _MEMBER and event.state_key is not None:
        return _shown_membership(veil, user_id, stored, position)
    if not _is_unheard(veil, event.sender, position):
        return stored
    if event.type == "m.room.redaction":
        return _shown_redaction(view, stored)
    if not event.is_state:
        return None
    return stored if event.type == _SHOWN_WHOLE else _redacted(stored)


def _shown_membership(
    veil: Veil, user_id: UserId, stored: StoredEvent, position: int
) -> StoredEvent | None:
    """What concerns the reader is always shown, what concerns a hidden user never.

    Who was out of the room before stays as he was.
    """
    subject = str(stored.event.state_key)
    if subject == user_id:
        return stored
    if _server(subject) in _absent_at(veil, position, goes_on=True):
        return _redacted(stored) if _was_out(stored) else None
    return _redacted(stored) if _is_unheard(veil, stored.event.sender, position) else stored


def _was_out(stored: StoredEvent) -> bool:
    """A state entry that `shown_state` left in place; in a timeline it is left out."""
    return stored.position is None and stored.event.content.get("membership") in _GONE


def _shown_redaction(view: View, stored: StoredEvent) -> StoredEvent | None:
    """One that took effect is shown without a word of its own."""
    target = stored.event.redacts
    found = events.find_event(view, target) if target is not None else None
    if found is None or found.redacted_by != stored.event.event_id:
        return None
    return replace(stored, event=_wordless(stored.event))


def _without_reason(veil: Veil, stored: StoredEvent) -> StoredEvent:
    redaction = stored.redaction
    if redaction is None or not _is_unheard(veil, redaction.sender, NOW):
        return stored
    return replace(stored, redaction=_wordless(redaction))


def _wordless(redaction: Event) -> Event:
    return replace(matrix_events.redacted(redaction), redacts=redaction.redacts)


def _redacted(stored: StoredEvent) -> StoredEvent:
    return replace(stored, event=matrix_events.redacted(stored.event))


def _is_unheard(veil: Veil, sender: str, position: int) -> bool:
    server = _server(sender)
    return any(
        spell.server == server and spell.until is None and spell.covers(position)
        for spell in veil.spells
    )


def _absent_at(veil: Veil, position: int, *, goes_on: bool = False) -> frozenset[ServerName]:
    """Whose users are out of the room at a position, as it is shown."""
    return frozenset(
        spell.server
        for spell in veil.spells
        if spell.is_absent and spell.covers(position) and not (goes_on and spell.until is not None)
    )


def _stand_in_at(veil: Veil, user_id: str, position: int) -> EventId | None:
    """The newest event that stands in for a user's membership at a position."""
    newest = None
    for one in veil.stand_ins.values():
        if one.user_id == user_id and one.position <= position:
            newest = one.event_id
    return newest


def _is_about_to_leave(veil: Veil, user_id: str, position: int) -> bool:
    """Whether the next event that stands in for a membership is the one that hides him."""
    later = (one for one in veil.stand_ins.values() if one.position > position)
    following = next((one for one in later if one.user_id == user_id), None)
    return following is not None and following.membership == "leave"


def _has_gone(view: View, event_id: EventId) -> bool:
    found = events.load_bodies(view, (event_id,)).get(event_id)
    return found is not None and found.content.get("membership") in _GONE


def _server(user_id: str) -> ServerName:
    """Also of what only should have been a user ID."""
    return ServerName(user_id.partition(":")[2])
