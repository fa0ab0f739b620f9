"""Give verified events of a room their place: fetch what they rest on, append, or say what is left.

Everything that has to be asked is asked before a unit of work opens. Doing it again with the same
events changes nothing.

Spec: server-server-api#pdus
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from federation import heeding
from federation.replication import edges
from federation.replication.edges import Edge
from federation.replication.fetching import Fetching, ToldState
from federation.replication.verification import Room
from homeserver import errors, metrics
from homeserver.matrix.events import Event, StateMap
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.ports import Clock
from homeserver.rooms import appending, taking_in
from homeserver.rooms.appending import Origin
from homeserver.rooms.state import MissingEvents
from homeserver.storage import events
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork

_log = logging.getLogger(__name__)

# How many events one unit of work appends: the writer is shared.
_BATCH = 50
# How much of a gap is fetched before what arrived is shown. What is older is for pages of history.
_MOST_MISSING = 500
_MOST_ROUNDS = 100
# How many events may need a state of their own at one time; the others come later.
_MOST_STATES = 5

# Whatever belongs into the unit of work of the last effect.
Finish = Callable[[UnitOfWork], None]


def nothing_more(_work: UnitOfWork) -> None:
    """There is nothing beside the events."""


@dataclass(slots=True)
class Placed:
    """What became of some events: whether `finish` has run, and which have no place yet, why."""

    is_finished: bool = False
    left: list[Event] = field(default_factory=list)
    reason: str = ""


class Placing:
    """Brings events that came from peers into the rooms' graphs."""

    def __init__(self, database: Database, fetching: Fetching, clock: Clock) -> None:
        self._database = database
        self._fetching = fetching
        self._clock = clock

    async def place(
        self,
        peer: ServerName,
        room: Room,
        arrived: Sequence[Event],
        until: float,
        finish: Finish = nothing_more,
    ) -> Placed:
        """Append events; what they rest on and we lack is fetched from this peer, up to a moment.

        No event is dropped because the peer is away or does not answer in time: it is left.
        Raises `OnHold` where the connection was paused or ended meanwhile.
        """
        patient = self._fetching.patient(self._clock, until)
        half = (self._clock.monotonic() + until) / 2
        placement = _Placement(self._database, patient, peer, room, finish)
        return await placement.run(arrived, lambda: self._clock.monotonic() >= half)


@dataclass(frozen=True, slots=True)
class _Placement:
    """Events of one room that one peer sent are given their place."""

    database: Database
    fetching: Fetching
    peer: ServerName
    room: Room
    finish: Finish

    async def run(self, arrived: Sequence[Event], is_late: Callable[[], bool]) -> Placed:
        """Fetch their past until it is late; then append them, with states told where need be."""
        placed = Placed()
        waiting = list(arrived)
        try:
            waiting = await self._with_past(waiting, is_late)
        except errors.HomeserverError as error:
            placed.reason = _why(error)
            _log.info("no past of events peer=%s reason=%s", self.peer, placed.reason)
        waiting, placed.is_finished = await self._append_all(waiting)
        waiting = await self._append_with_states(waiting, placed)
        given = {event.event_id for event in arrived}
        placed.left = [event for event in (*placed.left, *waiting) if event.event_id in given]
        placed.is_finished = placed.is_finished and not placed.left
        return placed

    async def _append_with_states(self, waiting: list[Event], placed: Placed) -> list[Event]:
        """Go on where a state lets us; returns what was not tried."""
        for _ in range(_MOST_STATES):
            if not waiting or placed.reason == _AWAY:
                break
            first, *rest = waiting
            why = await self._append_with_state(first)
            if why is not None:
                placed.left.append(first)
                placed.reason = why
            waiting, placed.is_finished = await self._append_all(rest)
        return waiting

    async def _with_past(self, arrived: list[Event], is_late: Callable[[], bool]) -> list[Event]:
        """These events after those that lead to them from what we have, causes first.

        Where that is too much, or takes too long, the newest of it: what is before becomes a gap.
        """
        given = {event.event_id: event for event in arrived}
        edge, rounds, is_cut = self._edge(given), 0, False
        while edge.latest and not is_cut:
            fresh = await self._earlier(edge, given)
            if not fresh:
                break
            given |= fresh
            edge, rounds = self._edge(given), rounds + 1
            is_enough = len(given) - len(arrived) >= _MOST_MISSING or rounds >= _MOST_ROUNDS
            is_cut = bool(edge.latest) and (is_enough or is_late())
        wanted = given.keys() if is_cut else {event.event_id for event in arrived}
        return _following(given, edge.unknown, wanted)

    async def _earlier(self, edge: Edge, given: Mapping[EventId, Event]) -> dict[EventId, Event]:
        """What lies before the edge, from a peer that has the events at it or only their past."""

        def fresh(told: Sequence[Event]) -> dict[EventId, Event]:
            ids = [one.event_id for one in told]
            here = self.database.read(lambda view: events.load_events(view, ids))
            placed = {event_id for event_id, stored in here.items() if stored.is_placed}
            return {
                one.event_id: one
                for one in told
                if one.event_id not in placed | given.keys() and one.depth >= edge.min_depth
            }

        found = fresh(await self.fetching.ask_missing_events(self.peer, self.room, edge))
        return found or fresh(await self.fetching.ask_backfill(self.peer, self.room, edge.wanted))

    def _edge(self, given: Mapping[EventId, Event]) -> Edge:
        return self.database.read(lambda view: edges.edge_of(view, self.room, given))

    async def _append_all(self, waiting: Sequence[Event]) -> tuple[list[Event], bool]:
        """Append in batches; returns those that rest on something we lack, or that all is done."""
        stuck: list[Event] = []
        for start in range(0, len(waiting), _BATCH):
            is_last = start + _BATCH >= len(waiting) and not stuck
            some = waiting[start : start + _BATCH]
            batch = _Batch(self.peer, some, self.finish if is_last else None)
            stuck += await self.database.write(batch.append)
        return stuck, bool(waiting) and not stuck

    async def _append_with_state(self, event: Event) -> str | None:
        """Append an event whose past stays unknown, with the state before it as the peer tells.

        Returns why that was not possible.
        """
        try:
            told = await self.fetching.ask_state_before(self.peer, self.room, event)
            await self.database.write(lambda work: _append_told(work, self.peer, event, told))
        except errors.HomeserverError as error:
            _log.info("no state for an event peer=%s reason=%s", self.peer, type(error).__name__)
            return _why(error)
        return None


_AWAY = errors.PeerUnreachable.__name__


def _why(error: errors.HomeserverError) -> str:
    return type(error).__name__


def _following(
    given: Mapping[EventId, Event], unknown: Collection[EventId], wanted: Collection[EventId]
) -> list[Event]:
    """What is wanted, after those fetched events that follow something we have; causes first.

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
        if is_live or event_id in wanted:
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
        heeding.heeded(work, self.peer, "messages")
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
    heeding.heeded(work, peer, "messages")
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
