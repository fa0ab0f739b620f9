"""Where what we hold of a room's graph ends: what events rest on and we lack."""

from collections.abc import Mapping
from dataclasses import dataclass

from federation.replication.verification import Room
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId
from homeserver.storage import events, gaps, rooms
from homeserver.storage.unit_of_work import View

_MOST_GAPS = 100


@dataclass(frozen=True, slots=True)
class Edge:
    """What some events directly rest on and we do not have."""

    unknown: frozenset[EventId]
    # The events that rest on it.
    latest: tuple[EventId, ...] = ()
    # Nothing from here on backwards has to be fetched.
    earliest: tuple[EventId, ...] = ()
    # Our time in the room began at this depth.
    min_depth: int = 0
    # What is unknown and not from before our time.
    wanted: tuple[EventId, ...] = ()


def edge_of(view: View, room: Room, given: Mapping[EventId, Event]) -> Edge:
    """What is unknown before some events.

    What was before our own time in the room is known to be missing, and not looked for here.
    """
    held = rooms.find_room(view, room.room_id)
    ends = held.extremities if held is not None else ()
    before = {one for event in given.values() for one in event.prev_events}
    before -= given.keys()
    before.difference_update(ends)
    known = events.load_events(view, before)
    unknown = {one for one in before if one not in known or not known[one].is_placed}
    if not unknown:
        return Edge(frozenset())
    holes = gaps.gaps_of(view, room.room_id, _MOST_GAPS)
    after_holes = events.load_events(view, {one.event_id for one in holes})
    lost = {one.missing for one in holes}
    return Edge(
        frozenset(unknown),
        tuple(one.event_id for one in given.values() if unknown & set(one.prev_events) - lost),
        (*ends, *sorted(lost)),
        min((one.event.depth for one in after_holes.values()), default=0),
        tuple(sorted(unknown - lost)),
    )
