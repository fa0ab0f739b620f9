"""A room's state at an event, with its authority; and single events by their ID. Answers.

A state may be larger than an answer: it goes in pages, from an offset on, in one fixed order.

Spec: server-server-api#retrieving-room-state
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from federation.replication import access, bodies, packing
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event, StateMap
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.rooms import appending
from homeserver.storage import events, room_state
from homeserver.storage.unit_of_work import View

_IDS_PER_ANSWER = 3_000
_BATCH = 500


@dataclass(frozen=True, slots=True)
class StateAt:
    """A state's event IDs and those of the events it rests on, each in a fixed order."""

    state: list[EventId]
    auth_chain: list[EventId]

    def page(self, offset: int, limit: int) -> tuple[list[EventId], list[EventId]]:
        """The part from an offset on: first the state, then the auth chain."""
        middle = len(self.state)
        end = offset + limit
        return (
            self.state[offset:end],
            self.auth_chain[max(offset - middle, 0) : max(end - middle, 0)],
        )

    def next_offset(self, reached: int) -> int | None:
        """Where to go on; None at the end."""
        return reached if reached < len(self.state) + len(self.auth_chain) else None


def answer_state_ids(view: View, peer: ServerName, body: JsonObject) -> JsonObject:
    """The IDs of the state before an event and of its auth chain.

    Spec: server-server-api#get_matrixfederationv1state_idsroomid
    """
    asked = bodies.read(bodies.AtEvent, body)
    access.check_in_room(view, asked.room_id, peer)
    found = _before(view, asked.room_id, asked.event_id)
    state, auth_chain = found.page(asked.offset, _IDS_PER_ANSWER)
    reached = asked.offset + len(state) + len(auth_chain)
    following = found.next_offset(reached)
    return {"pdu_ids": state, "auth_chain_ids": auth_chain, "next": following}


def answer_state(view: View, peer: ServerName, body: JsonObject) -> JsonObject:
    """One page of the state before an event and of its auth chain.

    Spec: server-server-api#get_matrixfederationv1stateroomid
    """
    asked = bodies.read(bodies.AtEvent, body)
    access.check_in_room(view, asked.room_id, peer)
    return page_of(view, _before(view, asked.room_id, asked.event_id), asked.offset)


def answer_event(view: View, peer: ServerName, body: JsonObject) -> JsonObject:
    """Events by their IDs, as many as fit; unknown ones are left out.

    Spec: server-server-api#get_matrixfederationv1eventeventid
    """
    asked = bodies.read(bodies.Events, body)
    access.check_in_room(view, asked.room_id, peer)
    found = events.load_events(view, [EventId(one) for one in asked.event_ids])
    shown = access.readable(view, asked.room_id, peer, found.values())
    return {"pdus": packing.fitting(shown)}


def answer_event_auth(view: View, peer: ServerName, body: JsonObject) -> JsonObject:
    """The events that an event rests on, one page of them.

    Spec: server-server-api#get_matrixfederationv1event_authroomideventid
    """
    asked = bodies.read(bodies.AtEvent, body)
    access.check_in_room(view, asked.room_id, peer)
    event = _event(view, asked.room_id, asked.event_id)
    chain = StateAt([], auth_chain(view, [event]))
    found = page_of(view, chain, asked.offset)
    return {"auth_chain": found["auth_chain"], "next": found["next"]}


def at(view: View, state: StateMap) -> StateAt:
    """A state and what it rests on."""
    ids = sorted(state.values())
    found = events.load_bodies(view, ids)
    within = set(ids)
    chain = [one for one in auth_chain(view, found.values()) if one not in within]
    return StateAt(ids, chain)


def page_of(
    view: View, found: StateAt, offset: int, limit: int = packing.ANSWER_BYTES
) -> JsonObject:
    """The events of a state from an offset on, as many as fit into an answer."""
    state, chain = found.page(offset, _BATCH)
    loaded = events.load_events(view, [*state, *chain])
    pdus = packing.fitting([loaded[one].event.pdu for one in (*state, *chain)], limit)
    return {
        "pdus": pdus[: len(state)],
        "auth_chain": pdus[len(state) :],
        "next": found.next_offset(offset + len(pdus)),
    }


def auth_chain(view: View, rest_on: Iterable[Event]) -> list[EventId]:
    """Everything that allowed these events, and what allowed that; in a fixed order."""
    seen: set[EventId] = set()
    waiting: Collection[EventId] = {
        one for event in rest_on for one in appending.authorities_of(event)
    }
    while waiting:
        seen.update(waiting)
        found = events.load_bodies(view, waiting)
        waiting = {
            one
            for event in found.values()
            for one in appending.authorities_of(event)
            if one not in seen
        }
    return sorted(seen)


def _before(view: View, room_id: RoomId, event_id: EventId) -> StateAt:
    _event(view, room_id, event_id)
    state = room_state.state_before(view, event_id)
    if state is None:
        raise errors.NotFound("The state before that event is not known here.")
    return at(view, state)


def _event(view: View, room_id: RoomId, event_id: EventId) -> Event:
    stored = events.find_event(view, event_id)
    if stored is None or not access.is_of_room(view, room_id, stored):
        raise errors.NotFound("There is no such event in that room.")
    return stored.event
