"""The two orders in which state resolution replays conflicting events.

Spec: rooms/v12#definitions
"""

import heapq
from collections.abc import Iterable, Iterator

from homeserver.matrix.auth_graph import AuthGraph
from homeserver.matrix.auth_rules import POWER_LEVELS
from homeserver.matrix.canonical_json import MAX_INTEGER
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId

# Farther than all of the mainline: where events are that do not rest on any of it.
_NOWHERE = MAX_INTEGER

_Rank = tuple[int, int, EventId]


def by_power(event_ids: set[EventId], graph: AuthGraph) -> list[EventId]:
    """Sort by reverse topological power ordering: causes first, the powerful among equals.

    Spec: rooms/v12#definitions
    """
    cited_by: dict[EventId, list[EventId]] = {event_id: [] for event_id in event_ids}
    open_causes: dict[EventId, int] = {}
    for event_id in event_ids:
        causes = event_ids & set(graph.event(event_id).auth_events)
        open_causes[event_id] = len(causes)
        for cause in causes:
            cited_by[cause].append(event_id)

    ready = [_rank(event_id, graph) for event_id, causes in open_causes.items() if not causes]
    heapq.heapify(ready)
    ordered: list[EventId] = []
    while ready:
        event_id = heapq.heappop(ready)[2]
        ordered.append(event_id)
        for effect in cited_by[event_id]:
            open_causes[effect] -= 1
            if not open_causes[effect]:
                heapq.heappush(ready, _rank(effect, graph))
    return ordered


def by_mainline(
    event_ids: Iterable[EventId], power_levels: EventId | None, graph: AuthGraph
) -> list[EventId]:
    """Sort by the power levels that events rest on: the longer ago, the earlier.

    Spec: rooms/v12#definitions
    """
    mainline = _Mainline(power_levels, graph)

    def rank(event_id: EventId) -> _Rank:
        event = graph.event(event_id)
        return (-mainline.position(event), event.origin_server_ts, event_id)

    return sorted(event_ids, key=rank)


class _Mainline:
    """The positions of power levels along the chain from the resolved ones to the first.

    The chain is followed no farther than an event's place in it demands.
    """

    def __init__(self, power_levels: EventId | None, graph: AuthGraph) -> None:
        self._graph = graph
        self._is_empty = power_levels is None
        self._positions: dict[EventId, int] = {}
        self._chain = self._power_levels_behind(power_levels)
        self._length = 0

    def position(self, event: Event) -> int:
        if self._is_empty:
            return _NOWHERE
        passed: list[EventId] = []
        position = _NOWHERE
        for power_levels in self._power_levels_behind(self._before(event)):
            position = self._position_of(power_levels)
            if position != _NOWHERE:
                break
            passed.append(power_levels)
        self._positions.update(dict.fromkeys(passed, position))
        return position

    def _position_of(self, power_levels: EventId) -> int:
        while power_levels not in self._positions:
            following = next(self._chain, None)
            if following is None:
                return _NOWHERE
            self._positions[following] = self._length
            self._length += 1
        return self._positions[power_levels]

    def _power_levels_behind(self, power_levels: EventId | None) -> Iterator[EventId]:
        while power_levels is not None:
            yield power_levels
            power_levels = self._before(self._graph.event(power_levels))

    def _before(self, event: Event) -> EventId | None:
        power_levels = self._graph.cited_under(POWER_LEVELS, event)
        return power_levels.event_id if power_levels is not None else None


def _rank(event_id: EventId, graph: AuthGraph) -> _Rank:
    event = graph.event(event_id)
    return (-graph.level_of_sender(event), event.origin_server_ts, event_id)
