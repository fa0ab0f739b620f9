"""The new part of a room's timeline, and the room's state around it.

Spec: client-server-api#syncing
"""

from dataclasses import dataclass, replace
from types import MappingProxyType

from homeserver.matrix.events import StateMap
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.rooms import filtering, pages, seeing, veils
from homeserver.storage import events, room_state
from homeserver.storage.events import Point, StoredEvent, Timeline
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View
from homeserver.sync.filters import RoomEventFilter

# How far to look for events that pass a filter, per event asked for.
_LOOK_FURTHER = 10
_LOOK_AT_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a room's timeline: after one position, up to another.

    `known_at` is the position at which the device knows the room's state; None: not at all.
    """

    room_id: RoomId
    after: int
    until: int
    known_at: int | None


@dataclass(frozen=True, slots=True)
class Slice:
    """The newest events of a span that the device may and wants to see.

    The states are those that the device knows, directly before the first event, and after the
    last one. `before` is the place in the timeline from which earlier pages go on; after `ends_at`
    nothing happened in the span.
    """

    events: list[StoredEvent]
    is_limited: bool
    before: Point
    known: StateMap
    at_start: StateMap
    at_end: StateMap
    ends_at: int


def load_slice(
    view: View,
    user_id: UserId,
    span: Span,
    wanted: RoomEventFilter,
    ignored: frozenset[UserId] = frozenset(),
) -> Slice:
    """Read the timeline and the states around it.

    Of users the reader ignores only state events are shown.

    Spec: client-server-api#ignoring-users
    """
    timeline = _load_timeline(view, span, wanted)
    allowed = timeline.events
    if ignored or not wanted.is_open:
        allowed = [one for one in allowed if passes(wanted, ignored, one)]
        allowed = filtering.related(view, user_id, wanted, allowed)
    shown = seeing.visible(view, user_id, allowed)[-wanted.bounded_limit :]
    is_cut = len(shown) < len(allowed)
    return _with_states(view, span, timeline, shown, is_limited=timeline.has_more or is_cut)


def find_end_outside(view: View, left: Membership) -> StoredEvent | None:
    """How an invitation or a knock ended, which stands in no timeline of ours; None elsewhere."""
    found = events.find_event(view, left.event_id)
    return found if found is not None and found.position is None else None


def ended_by(part: Slice, departure: StoredEvent, *, is_shown: bool) -> Slice:
    """A slice at whose end the user has departed: clients go by that event and nothing else.

    `is_shown`: as the last event of its timeline, and not only in the state after it.

    Spec: client-server-api#get_matrixclientv3sync
    """
    event = departure.event
    at_end = MappingProxyType({**part.at_end, event.key: event.event_id})
    shown = [*part.events, departure] if is_shown else part.events
    return replace(part, events=shown, at_end=at_end)


def _load_timeline(view: View, span: Span, wanted: RoomEventFilter) -> Timeline:
    if not wanted.allows_room(span.room_id):
        return Timeline([], has_more=False)
    limit = wanted.bounded_limit
    if not wanted.is_open:
        limit = min(limit * _LOOK_FURTHER, _LOOK_AT_MOST)
    return events.timeline_since(view, span.room_id, span.after, span.until, limit)


def passes(wanted: RoomEventFilter, ignored: frozenset[UserId], stored: StoredEvent) -> bool:
    """Whether an event belongs into the timeline of a device with this filter."""
    event = stored.event
    if event.sender in ignored and not event.is_state:
        return False
    return wanted.allows_room(event.room_id) and (
        wanted.is_open
        or (wanted.allows(event.type, event.sender) and wanted.allows_content(event.content))
    )


def _with_states(
    view: View, span: Span, timeline: Timeline, shown: list[StoredEvent], *, is_limited: bool
) -> Slice:
    known_at = 0 if span.known_at is None else span.known_at
    known_id = None if span.known_at is None else _state_id(view, span.room_id, known_at)
    end_id = timeline.events[-1].room_state_after if timeline.events else None
    if end_id is None:
        end_id = _state_id(view, span.room_id, span.until)
    start_at = span.until
    if not shown:
        start_id, before = end_id, Point(span.until)
    else:
        first = shown[0]
        before = pages.before(first)
        start_id, start_at = known_id, known_at
        if is_limited or span.known_at is None or first is not timeline.events[0]:
            start_at = first.point.position - 1
            is_next = first is timeline.events[0]
            start_id = timeline.state_before if is_next else None
            if start_id is None:
                start_id = _state_id(view, span.room_id, start_at)
        if start_id is None:
            start_id = first.state_before
    known, at_start, at_end = [
        _load(view, span.room_id, state_id, position)
        for state_id, position in ((known_id, known_at), (start_id, start_at), (end_id, span.until))
    ]
    ends_at = timeline.events[-1].point.position if timeline.events else span.until
    return Slice(shown, is_limited, before, known, at_start, at_end, ends_at)


def _state_id(view: View, room_id: RoomId, position: int) -> int | None:
    return room_state.find_room_state_at(view, room_id, position)


def _load(view: View, room_id: RoomId, state_id: int | None, position: int) -> StateMap:
    """A state as it is shown at a position: hidden senders are not in the room."""
    if state_id is None:
        return room_state.EMPTY
    return veils.shown_state(view, room_id, room_state.load_state(view, state_id), position)
