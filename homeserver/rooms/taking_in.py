"""Events that come in bulk from a peer: auth chains and states, a room joined, history.

All of them are verified (signatures, hashes) before they come here.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from homeserver import errors
from homeserver.matrix import auth_rules, identifiers
from homeserver.matrix.events import Event, StateMap
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.matrix.room_versions import RoomVersion
from homeserver.rooms import appending, attachments, consequences, hiding, redacting, state
from homeserver.storage import events, gaps, relations, room_state, rooms, sharing, wake_ups
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import UnitOfWork


def take_in_outliers(work: UnitOfWork, outliers: Iterable[Event]) -> frozenset[EventId]:
    """Judge events of a state or an auth chain by their auth events and keep them.

    Returns which of them are rejected. Raises `MissingEvents` where one rests on an event that is
    neither here nor among them.
    """
    given = {event.event_id: event for event in outliers}
    needed = {one for event in given.values() for one in appending.authorities_of(event)}
    judged = events.load_events(work, needed | given.keys())
    fresh = [event for event in _causes_first(given) if event.event_id not in judged]
    for event in fresh:
        is_rejected = not appending.is_authorised_by(event, judged)
        judged[event.event_id] = StoredEvent(event, is_rejected=is_rejected)
    rejected = frozenset(one for one in given if judged[one].is_rejected)
    events.save_outliers(work, fresh, rejected)
    return rejected


def take_in_joined_room(
    work: UnitOfWork,
    version: RoomVersion,
    join: Event,
    state_events: Sequence[Event],
    auth_chain: Sequence[Event],
) -> Room:
    """Begin to hold a room that a peer let us join, with the state as that peer told it.

    Spec: server-server-api#joining-rooms
    """
    if any(one.room_id != join.room_id for one in (*state_events, *auth_chain)):
        raise errors.BadEvent("The answer to the join holds events of another room.")
    rejected = take_in_outliers(work, (*auth_chain, *state_events))
    told = {one.key: one.event_id for one in state_events if one.event_id not in rejected}
    _check_join(work, told, join)
    before = room_state.save_state(work, join.room_id, told)
    after = room_state.save_change(work, join.room_id, before, {join.key: join.event_id})
    position = work.next_position()
    stored = StoredEvent(
        join,
        position,
        is_ours=True,
        follows_gap=True,
        state_before=before,
        state_after=after,
        room_state_after=after,
    )
    events.save_event(work, stored)
    gaps.save_gaps(work, join.room_id, join.event_id, _unknown(work, join.prev_events))
    room = Room(join.room_id, version.id, after, (join.event_id,), join.depth)
    rooms.save_room(work, room)
    _take_in_members(work, join.room_id, after, position)
    consequences.tell_peers(work, join.room_id)
    work.wake(wake_ups.SYNC)
    return room


def take_in_backfill(
    work: UnitOfWork, room_id: RoomId, history: Sequence[Event], authorities: Sequence[Event] = ()
) -> int:
    """Give older events their place directly before the gaps they fill; return how many had one.

    Raises `MissingEvents` where one rests on an event that is neither here nor among
    `authorities`.
    """
    mine = [event for event in history if event.room_id == room_id]
    take_in_outliers(work, (*authorities, *mine))
    known = events.load_events(work, [event.event_id for event in mine])
    places = gaps.positions_waiting_for(work, list(known))
    placed = 0
    for event in _effects_first(mine):
        position, stored = places.get(event.event_id), known[event.event_id]
        if position is None or not (stored.is_outlier or stored.is_rejected):
            continue
        for prev_event in event.prev_events:
            places[prev_event] = min(position, places.get(prev_event, position))
        _place(work, stored, position)
        placed += 1
    return placed


def _place(work: UnitOfWork, stored: StoredEvent, position: int) -> None:
    event = stored.event
    gaps.close_gaps(work, event.event_id)
    if stored.is_rejected:
        return
    gaps.save_gaps(work, event.room_id, event.event_id, _unknown(work, event.prev_events))
    rank = gaps.next_rank_before(work, event.room_id, position)
    placed = replace(stored, position=position, rank=rank)
    events.save_event(work, placed)
    relation = consequences.relation_of(event)
    if relation is not None:
        relations.save_relation(work, relation)
    attachments.note(work, event)
    if event.type == "m.room.redaction":
        redacting.take_effect(work, placed)
    redacting.catch_up(work, event)


def _effects_first(several: Iterable[Event]) -> list[Event]:
    """In an order in which every event comes before its prev_events; else the deepest first.

    The depth alone would not do: it is what the sender says, and whoever follows has to go by it.
    """
    given = {event.event_id: event for event in several}
    before = {one.event_id: given.keys() & set(one.prev_events) for one in given.values()}
    followers = Counter(prev for prevs in before.values() for prev in prevs)
    free = [_newest_first(one) for one in given.values() if not followers[one.event_id]]
    heapq.heapify(free)
    ordered: list[Event] = []
    while free:
        event_id = heapq.heappop(free)[-1]
        ordered.append(given[event_id])
        for prev in before[event_id]:
            followers[prev] -= 1
            if not followers[prev]:
                heapq.heappush(free, _newest_first(given[prev]))
    return ordered


def _newest_first(event: Event) -> tuple[int, int, EventId]:
    return -event.depth, -event.origin_server_ts, event.event_id


def _causes_first(given: dict[EventId, Event]) -> list[Event]:
    """In an order in which every event comes after its auth events."""
    ordered: dict[EventId, Event] = {}
    waiting = sorted(given.values(), key=lambda one: (one.depth, one.event_id), reverse=True)
    under_way: set[EventId] = set()
    while waiting:
        event = waiting[-1]
        before = [
            given[one]
            for one in appending.authorities_of(event)
            if one in given and one not in ordered and one not in under_way
        ]
        if event.event_id in ordered or event.event_id in under_way or not before:
            ordered.setdefault(event.event_id, waiting.pop())
        else:
            under_way.add(event.event_id)
            waiting.extend(before)
    return list(ordered.values())


def _check_join(work: UnitOfWork, told: StateMap, join: Event) -> None:
    if state.CREATE not in told:
        raise errors.BadEvent("The answer to the join holds no m.room.create.")
    if not appending.is_authorised(work, join):
        raise errors.NotAllowed
    auth_rules.check(join, state.auth_state_for(work, told, join))


def _take_in_members(work: UnitOfWork, room_id: RoomId, state_id: int, position: int) -> None:
    current = room_state.load_state(work, state_id)
    members = [current[key] for key in current if key[0] == "m.room.member"]
    found = events.load_bodies(work, members)
    rooms.save_memberships(work, consequences.memberships_from(found.values(), position))
    sharing.update_stays(work, room_id, position)
    servers = {identifiers.server_of(key[1]) for key in current if key[0] == "m.room.member"}
    hiding.meet(work, room_id, servers, hiding.NEVER_SEEN)


def _unknown(work: UnitOfWork, event_ids: Sequence[EventId]) -> list[EventId]:
    known = events.load_events(work, event_ids)
    return [one for one in event_ids if one not in known or known[one].is_outlier]
