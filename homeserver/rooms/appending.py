"""append(): the one door through which any event enters a room, ours or a peer's.

Signatures and hashes of a peer's event are verified before it comes here. What an event causes
apart from its place in the graph stands in `consequences`.

Spec: server-server-api#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from homeserver import crash_points, errors
from homeserver.crash_points import Point
from homeserver.matrix import auth_rules
from homeserver.matrix.events import Event, StateKey, StateMap
from homeserver.matrix.identifiers import DeviceId, EventId, ServerName
from homeserver.matrix.room_versions import room_version
from homeserver.rooms import consequences, state
from homeserver.rooms.state import MissingEvents
from homeserver.storage import events, gaps, room_state, rooms, wake_ups
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import UnitOfWork


class Outcome(Enum):
    """What became of an event."""

    ACCEPTED = "accepted"
    # Kept for the graph, not shown: the room's current state forbids it.
    SOFT_FAILED = "soft-failed"
    REJECTED = "rejected"
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an event comes from. `server` is None for events that were made here."""

    server: ServerName | None = None
    # The device and transaction that made it.
    transaction: tuple[DeviceId, str] | None = None
    # A peer's event that it is on us to pass on to the room's other servers.
    is_relayed: bool = False
    # The state before it as a peer told it, where we lack what came before.
    state_before: StateMap | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of an event, and the room as it is now."""

    outcome: Outcome
    room: Room


HERE = Origin()

# How many hidden events are looked behind for ends of the graph.
_MOST_BEHIND = 1_000


def append(
    work: UnitOfWork, event: Event, origin: Origin = HERE, room: Room | None = None
) -> Appended:
    """Judge an event and give it its place: in the graph, the state, the timeline, the outbox.

    An event made here that is not allowed raises `NotAllowed`. A peer's event raises
    `MissingEvents` where its auth events, or what came before it, are not here yet. `room` spares
    reading it again.
    """
    room = room or rooms.find_room(work, event.room_id)
    if room is None:
        if event.type != "m.room.create" or origin.server is not None:
            raise errors.NotInRoom
        room = _begin(work, event)
    elif origin.server is not None and _is_placed(work, event):
        return Appended(Outcome.KNOWN, room)
    if origin.server is not None and not event.prev_events:
        raise errors.BadEvent("Only the first event of a room may stand alone.")
    before = _state_before(work, room, event, origin)
    outcome = _judge(work, room, event, before, origin)
    if outcome is Outcome.ACCEPTED:
        return Appended(outcome, _accept(work, room, event, before, origin))
    after = before if outcome is Outcome.REJECTED else _state_after(work, event, before)
    hidden = StoredEvent(
        event,
        is_rejected=outcome is Outcome.REJECTED,
        is_soft_failed=outcome is Outcome.SOFT_FAILED,
        state_before=before,
        state_after=after,
    )
    events.save_event(work, hidden)
    return Appended(outcome, room)


def _begin(work: UnitOfWork, create: Event) -> Room:
    nothing = room_state.save_state(work, create.room_id, {})
    room = Room(create.room_id, create.version.id, nothing, (), 0)
    rooms.save_room(work, room)
    return room


def _is_placed(work: UnitOfWork, event: Event) -> bool:
    """Whether it came before, and not only as a part of some state."""
    stored = events.find_event(work, event.event_id)
    return stored is not None and stored.is_placed


def _state_before(work: UnitOfWork, room: Room, event: Event, origin: Origin) -> int:
    if set(event.prev_events) == set(room.extremities):
        return room.current_state_id
    if origin.state_before is not None:
        return room_state.save_resolved(
            work, room.room_id, room.current_state_id, origin.state_before
        )
    return state.state_after(work, room.room_id, event.prev_events)


def _judge(work: UnitOfWork, room: Room, event: Event, before: int, origin: Origin) -> Outcome:
    auth_state = state.auth_state_for(work, room_state.load_state(work, before), event)
    if origin.server is None:
        auth_rules.check(event, auth_state)
        return Outcome.ACCEPTED
    if not (is_authorised(work, event) and _is_allowed(event, auth_state)):
        return Outcome.REJECTED
    if before != room.current_state_id:
        current = room_state.load_state(work, room.current_state_id)
        if not _is_allowed(event, state.auth_state_for(work, current, event)):
            return Outcome.SOFT_FAILED
    return Outcome.ACCEPTED


def is_authorised(work: UnitOfWork, event: Event) -> bool:
    """Whether the event's own auth events allow it; raises `MissingEvents` if one is not here."""
    return is_authorised_by(event, events.load_events(work, authorities_of(event)))


def authorities_of(event: Event) -> list[EventId]:
    """The events that an event's right to exist rests on: from v12 the create event too."""
    create = state.create_event_id(event.room_id, event.version, {})
    if create is None or event.type == "m.room.create":
        return list(event.auth_events)
    return [*event.auth_events, create]


def is_authorised_by(event: Event, found: Mapping[EventId, StoredEvent]) -> bool:
    """`is_authorised`, with the events that are known given."""
    authorities = authorities_of(event)
    missing = [event_id for event_id in authorities if event_id not in found]
    if missing:
        raise MissingEvents(missing)
    if any(found[event_id].is_rejected for event_id in authorities):
        return False
    try:
        auth_rules.check_auth_events(event, [found[one].event for one in event.auth_events])
    except errors.NotAllowed:
        return False
    by_key = {found[one].event.key: found[one].event for one in authorities}
    return _is_allowed(event, by_key)


def _is_allowed(event: Event, auth_state: Mapping[StateKey, Event]) -> bool:
    try:
        auth_rules.check(event, auth_state)
    except errors.NotAllowed:
        return False
    return True


def _state_after(work: UnitOfWork, event: Event, before: int) -> int:
    if not event.is_state:
        return before
    return room_state.save_change(work, event.room_id, before, {event.key: event.event_id})


def _accept(work: UnitOfWork, room: Room, event: Event, before: int, origin: Origin) -> Room:
    after = _state_after(work, event, before)
    missing = _missing_before(work, event, origin)
    position = work.next_position()
    stored = StoredEvent(
        event,
        position,
        is_ours=origin.server is None or origin.is_relayed,
        follows_gap=bool(missing),
        state_before=before,
        state_after=after,
        transaction=origin.transaction,
    )
    ends = _ends_after(work, room, event, origin)
    current = _current_state(work, room, ends, stored)
    stored = replace(stored, room_state_after=current)
    events.save_event(work, stored)
    gaps.save_gaps(work, room.room_id, event.event_id, missing)
    depth = _depth_of(work, ends, event)
    rooms.advance_room(work, room.room_id, current, ends, depth)
    consequences.follow(work, stored, room.current_state_id, origin.server)
    work.wake(wake_ups.SYNC)
    if len(ends) > 1:
        work.wake(wake_ups.ENDS)
    crash_points.reach(Point.EVENT_APPENDED)
    return replace(room, current_state_id=current, extremities=ends, depth=depth)


def _depth_of(work: UnitOfWork, ends: tuple[EventId, ...], arriving: Event) -> int:
    """The depth of the deepest of the graph's ends: the next event is one deeper.

    Spec: server-server-api#pdus
    """
    found = events.load_bodies(work, [end for end in ends if end != arriving.event_id])
    depths = [event.depth for event in found.values()]
    if arriving.event_id in ends:
        depths.append(arriving.depth)
    return max(depths, default=arriving.depth)


def _missing_before(work: UnitOfWork, event: Event, origin: Origin) -> list[EventId]:
    if origin.state_before is None:
        return []
    found = events.load_events(work, event.prev_events)
    return [
        event_id
        for event_id in event.prev_events
        if event_id not in found or found[event_id].is_outlier
    ]


def _ends_after(work: UnitOfWork, room: Room, event: Event, origin: Origin) -> tuple[EventId, ...]:
    """The graph's ends with this event: an end itself, unless something refers to it already."""
    covered = set(event.prev_events) | _behind_hidden(work, room, event)
    ends = tuple(end for end in room.extremities if end not in covered)
    if origin.server is not None and gaps.is_missing(work, event.event_id):
        gaps.close_gaps(work, event.event_id)
        return ends
    return (*ends, event.event_id)


def _behind_hidden(work: UnitOfWork, room: Room, event: Event) -> set[EventId]:
    """What lies behind events that are rejected or soft-failed here, and so were never ends.

    An event that rests on such a one is after all that came before it too.
    """
    behind: set[EventId] = set()
    waiting = set(event.prev_events) - set(room.extremities)
    while waiting and len(behind) < _MOST_BEHIND:
        found = events.load_events(work, waiting)
        waiting = {
            one
            for stored in found.values()
            if stored.is_rejected or stored.is_soft_failed
            for one in stored.event.prev_events
            if one not in behind
        }
        behind |= waiting
    return behind


def _current_state(
    work: UnitOfWork, room: Room, ends: tuple[EventId, ...], arriving: StoredEvent
) -> int:
    """The state after all ends of the graph, one of which may not be stored yet."""
    if ends == room.extremities:
        return room.current_state_id
    if ends == (arriving.event.event_id,) and arriving.state_after is not None:
        return arriving.state_after
    stored = events.load_events(work, ends) | {arriving.event.event_id: arriving}
    after = [stored[end].state_after for end in ends]
    version = room_version(room.version_id)
    known = sorted(one for one in after if one is not None)
    return state.resolve(work, room.room_id, version, known, arriving.event)
