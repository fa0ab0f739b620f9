"""Walk a room's graph: what came before some events. Backfill and missing events, both sides.

Spec: server-server-api#backfilling-and-retrieving-missing-events
"""

import heapq
from collections.abc import Collection

from federation.replication import access, bodies, packing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.storage import events
from homeserver.storage.events import StoredEvent
from homeserver.storage.unit_of_work import View

# A position that no event has yet.
_AFTER_ALL = 2**62


def answer_backfill(view: View, peer: ServerName, body: JsonObject) -> JsonObject:
    """These events and what came before them, newest first.

    Spec: server-server-api#get_matrixfederationv1backfillroomid
    """
    asked = bodies.read(bodies.Backfill, body)
    access.check_in_room(view, asked.room_id, peer)
    found = _walk(view, asked.room_id, [EventId(one) for one in asked.v], set(), asked.limit)
    return {"pdus": packing.fitting(access.readable(view, asked.room_id, peer, found))}


def answer_get_missing_events(view: View, peer: ServerName, body: JsonObject) -> JsonObject:
    """What lies between two sets of events, oldest first; the newest part where it is too much.

    Spec: server-server-api#post_matrixfederationv1get_missing_eventsroomid
    """
    asked = bodies.read(bodies.MissingEvents, body)
    access.check_in_room(view, asked.room_id, peer)
    latest = events.load_events(view, [EventId(one) for one in asked.latest_events])
    before = [
        one
        for stored in latest.values()
        if access.is_of_room(view, asked.room_id, stored)
        for one in stored.event.prev_events
    ]
    known = {EventId(one) for one in asked.earliest_events} | latest.keys()
    walked = _walk(view, asked.room_id, before, known, asked.limit)
    found = [stored for stored in walked if stored.event.depth >= asked.min_depth]
    newest_first = packing.fitting(access.readable(view, asked.room_id, peer, found))
    return {"events": newest_first[::-1]}


def _walk(
    view: View,
    room_id: RoomId,
    start: Collection[EventId],
    known: Collection[EventId],
    limit: int,
) -> list[StoredEvent]:
    """Events of the graph, newest first, from these backwards; what is known ends a path.

    Newest is what came here last: a depth is what its sender says, and one that lies would put all
    that follows it before everything else. What has no place of its own goes with what follows it.
    """
    seen = set(known)
    waiting: list[tuple[int, int, EventId, StoredEvent]] = []

    def look_at(event_ids: Collection[EventId], follower: tuple[int, int]) -> None:
        fresh = [event_id for event_id in event_ids if event_id not in seen]
        seen.update(fresh)
        for event_id, stored in events.load_events(view, fresh).items():
            if access.is_of_room(view, room_id, stored):
                place = follower
                if stored.position is not None:
                    place = (-stored.position, -stored.rank)
                heapq.heappush(waiting, (*place, event_id, stored))

    found: list[StoredEvent] = []
    look_at(start, (-_AFTER_ALL, 0))
    while waiting and len(found) < min(limit, bodies.EVENTS_PER_QUESTION):
        *place, _, stored = heapq.heappop(waiting)
        found.append(stored)
        look_at(stored.event.prev_events, (place[0], place[1]))
    return found
