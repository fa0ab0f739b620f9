"""Take in a peer's events: verify, find what is missing before them, append.

Everything that has to be asked is asked before a unit of work opens. Taking in the same events
again changes nothing.

Spec: server-server-api#pdus
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from federation.replication import access, edges
from federation.replication.edges import Edge
from federation.replication.entering import Entering
from federation.replication.fetching import Fetching, ToldState
from federation.replication.verification import Room
from homeserver import errors, metrics
from homeserver.matrix.events import Event, StateMap
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.matrix.room_versions import room_version
from homeserver.rooms import appending, taking_in
from homeserver.rooms.appending import Origin
from homeserver.rooms.state import MissingEvents
from homeserver.storage import events, rooms
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View

_log = logging.getLogger(__name__)

# How many events one unit of work appends: the writer is shared.
_BATCH = 50
# How much of a gap is fetched at once. What is older is for pages of history.
_MOST_MISSING = 5_000
_MOST_ROUNDS = 100
# How many events of one transaction may need a state of their own.
_MOST_STATES = 5


# Whatever belongs into the unit of work of the last effect.
Finish = Callable[[UnitOfWork], None]


def _nothing_more(_work: UnitOfWork) -> None:
    """There is nothing beside the events."""


class EventIntake:
    """Takes in events that peers send."""

    def __init__(self, database: Database, fetching: Fetching, entering: Entering) -> None:
        self._database = database
        self._fetching = fetching
        self._entering = entering

    async def take_in(
        self, peer: ServerName, pdus: Sequence[Any], finish: Finish = _nothing_more
    ) -> None:
        """Take in the PDUs of a transaction, each room's in their order.

        What is not an event, of a room the peer has no part in, or not allowed, is dropped.
        `finish` runs in the unit of work of the last effect.
        """
        rooms_of = _by_room(pdus)
        is_finished = False
        for count, (room_id, of_room) in enumerate(rooms_of.items(), start=1):
            room = await self._find_room(peer, room_id)
            if room is None:
                metrics.bump("events_refused", len(of_room))
                continue
            arrived = await self._fetching.verified(peer, room, of_room)
            last = finish if count == len(rooms_of) else _nothing_more
            is_finished = await self.place(peer, room, arrived, last) and last is finish
        if not is_finished:
            await self._database.write(finish)

    async def _find_room(self, peer: ServerName, room_id: RoomId) -> Room | None:
        def find() -> Room | None:
            return self._database.read(lambda view: _find_room(view, room_id, peer))

        await self._entering.settle(room_id, lambda: find() is not None)
        return find()

    async def place(
        self, peer: ServerName, room: Room, arrived: Sequence[Event], finish: Finish
    ) -> bool:
        """Append verified events; fetch from the peer what they rest on and we lack.

        Returns whether `finish` has run.
        """
        waiting = list(arrived)
        try:
            waiting = await self._with_past(peer, room, waiting)
        except errors.HomeserverError as error:
            _log.info("no past of events peer=%s reason=%s", peer, type(error).__name__)
        waiting, is_finished = await self._append_all(peer, waiting, finish)
        for _ in range(_MOST_STATES):
            if not waiting:
                return is_finished
            await self._append_with_state(peer, room, waiting[0])
            waiting, is_finished = await self._append_all(peer, waiting[1:], finish)
        metrics.bump("events_without_past", len(waiting))
        return is_finished

    async def _with_past(self, peer: ServerName, room: Room, arrived: list[Event]) -> list[Event]:
        """These events after those that lead to them from what we have, causes first."""
        given = {event.event_id: event for event in arrived}
        for _ in range(_MOST_ROUNDS):
            edge = self._edge(room, given)
            if not edge.latest or len(given) - len(arrived) >= _MOST_MISSING:
                break
            earlier = await self._fetching.ask_missing_events(peer, room, edge)
            fresh = {
                one.event_id: one
                for one in earlier
                if one.event_id not in given and one.depth >= edge.min_depth
            }
            if not fresh:
                break
            given |= fresh
        live = self._edge(room, given).unknown
        return _following(given, live, {event.event_id for event in arrived})

    def _edge(self, room: Room, given: Mapping[EventId, Event]) -> Edge:
        return self._database.read(lambda view: edges.edge_of(view, room, given))

    async def _append_all(
        self, peer: ServerName, waiting: Sequence[Event], finish: Finish
    ) -> tuple[list[Event], bool]:
        """Append in batches; returns those that rest on something we lack, or that all is done."""
        stuck: list[Event] = []
        for start in range(0, len(waiting), _BATCH):
            is_last = start + _BATCH >= len(waiting) and not stuck
            batch = _Batch(peer, waiting[start : start + _BATCH], finish if is_last else None)
            stuck += await self._database.write(batch.append)
        return stuck, bool(waiting) and not stuck

    async def _append_with_state(self, peer: ServerName, room: Room, event: Event) -> None:
        """Append an event whose past stays unknown, with the state before it as the peer tells."""
        try:
            told = await self._fetching.ask_state_before(peer, room, event)
            await self._database.write(lambda work: _append_told(work, peer, event, told))
        except errors.HomeserverError as error:
            metrics.bump("events_without_past")
            _log.info("no state for an event peer=%s reason=%s", peer, type(error).__name__)


def _by_room(pdus: Sequence[Any]) -> dict[RoomId, list[Any]]:
    found: dict[RoomId, list[Any]] = {}
    for pdu in pdus:
        room_id = pdu.get("room_id") if isinstance(pdu, dict) else None
        if isinstance(room_id, str):
            found.setdefault(RoomId(room_id), []).append(pdu)
    return found


def _find_room(view: View, room_id: RoomId, peer: ServerName) -> Room | None:
    """The room, if the peer's server is or was in it."""
    room = rooms.find_room(view, room_id)
    if room is None or not access.may_send_into(view, room_id, peer):
        return None
    return Room(room_id, room_version(room.version_id))


def _following(
    given: Mapping[EventId, Event], unknown: Collection[EventId], arrived: Collection[EventId]
) -> list[Event]:
    """What arrived, after those fetched events that follow something we have; causes first.

    The others are history from before our time in the room, and belong into pages.
    """
    graph = {
        event_id: [one for one in event.prev_events if one in given]
        for event_id, event in given.items()
    }
    kept: dict[EventId, Event] = {}
    for event_id in TopologicalSorter(graph).static_order():
        event = given[event_id]
        is_live = any(one in kept or _is_ours(one, given, unknown) for one in event.prev_events)
        if is_live or event_id in arrived:
            kept[event_id] = event
    return list(kept.values())


def _is_ours(
    event_id: EventId, given: Mapping[EventId, Event], unknown: Collection[EventId]
) -> bool:
    return event_id not in given and event_id not in unknown


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one unit of work appends; `finish` follows if nothing of it is stuck."""

    peer: ServerName
    events: Sequence[Event]
    finish: Finish | None

    def append(self, work: UnitOfWork) -> list[Event]:
        """Append all of it; returns the events that rest on something we lack."""
        stuck: list[Event] = []
        origin, room = Origin(self.peer), None
        for event in self.events:
            try:
                room = appending.append(work, event, origin, room).room
            except MissingEvents:
                stuck.append(event)
            except errors.HomeserverError as error:
                metrics.bump("events_refused")
                _log.info("refused an event peer=%s reason=%s", self.peer, type(error).__name__)
        if self.finish is not None and not stuck:
            self.finish(work)
        return stuck


def _append_told(work: UnitOfWork, peer: ServerName, event: Event, told: ToldState) -> None:
    """Believe the peer about the state only where we cannot know it ourselves."""
    taking_in.take_in_outliers(work, told.outliers)
    try:
        appending.append(work, event, Origin(peer))
    except MissingEvents:
        state = _state_of(work, event.room_id, told)
        appending.append(work, event, Origin(peer, state_before=state))


def _state_of(work: UnitOfWork, room_id: RoomId, told: ToldState) -> StateMap:
    found = events.load_events(work, told.state_ids)
    missing = told.state_ids - found.keys()
    if missing:
        raise MissingEvents(missing)
    state = [one.event for one in found.values() if not one.is_rejected]
    if any(not one.is_state or one.room_id != room_id for one in state):
        raise errors.BadEvent("That is not the state of this room.")
    return {one.key: one.event_id for one in state}
