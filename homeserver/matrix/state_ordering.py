"""The two orders in which state resolution replays conflicting events.

Spec: rooms/v12#definitions
"""

import heapq
from collections.abc import Iterable

from homeserver.matrix.auth_graph import AuthGraph
from homeserver.matrix.auth_rules import POWER_LEVELS
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId

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
    """The positions of power levels along the chain from the resolved ones to the first."""

    def __init__(self, power_levels: EventId | None, graph: AuthGraph) -> None:
        self._graph = graph
        self._positions: dict[EventId | None, int] = {}
        while power_levels is not None:
            self._positions[power_levels] = len(self._positions)
            power_levels = self._before(graph.event(power_levels))
        # Whoever gets to the start without meeting the mainline is farther than all of it.
        self._positions[None] = len(self._positions)

    def position(self, event: Event) -> int:
        passed: list[EventId | None] = []
        power_levels = self._before(event)
        while power_levels is not None and power_levels not in self._positions:
            passed.append(power_levels)
            power_levels = self._before(self._graph.event(power_levels))
        position = self._positions[power_levels]
        self._positions.update(dict.fromkeys(passed, position))
        return position

    def _before(self, event: Event) -> EventId | None:
        power_levels = self._graph.cited_under(POWER_LEVELS, event)
        return power_levels.event_id if power_levels is not None else None


def _rank(event_id: EventId, graph: AuthGraph) -> _Rank:
    event = graph.event(event_id)
    return (-graph.level_of_sender(event), event.origin_server_ts, event_id)
