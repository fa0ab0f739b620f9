"""The events of a room as a graph: each event points at its auth events.

Walks are loops, and each event is fetched and entered once per walk. Event IDs are hashes, so
there are no cycles.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from homeserver.matrix.auth_rules import AUTH_TYPES, CREATE, POWER_LEVELS
from homeserver.matrix.events import Event, StateKey
from homeserver.matrix.identifiers import EventId
from homeserver.matrix.power_levels import PowerLevels


class AuthGraph:
    """What state resolution needs to know about a room's past."""

    def __init__(self, fetch: Callable[[EventId], Event]) -> None:
        """`fetch` returns any event of the auth chains that are asked about."""
        self._fetch = fetch
        self._events: dict[EventId, Event] = {}

    def event(self, event_id: EventId) -> Event:
        """Return an event, fetched once."""
        event = self._events.get(event_id)
        if event is None:
            event = self._events[event_id] = self._fetch(event_id)
        return event

    def cited(self, event: Event) -> Iterator[Event]:
        """The auth events of an event."""
        return map(self.event, event.auth_events)

    def cited_under(self, key: StateKey, event: Event) -> Event | None:
        """Return the auth event of an event that sets this part of the state."""
        return next((cited for cited in self.cited(event) if cited.key == key), None)

    def create_of(self, event: Event) -> Event:
        """Return the create event of an event's room; no event but itself cites none."""
        if event.version.room_id_is_create_event:
            return self.event(EventId("$" + event.room_id[1:]))
        return self.cited_under(CREATE, event) or event

    def level_of_sender(self, event: Event) -> int:
        """Return the sender's power level according to the event's own auth events."""
        power_levels = self.cited_under(POWER_LEVELS, event)
        return PowerLevels.of(self.create_of(event), power_levels).of_user(event.sender)

    def chain(self, event_ids: Iterable[EventId]) -> set[EventId]:
        """Return these events and everything in their auth chains.

        Spec: rooms/v12#definitions
        """
        found = set(event_ids)
        waiting = list(found)
        while waiting:
            cited = set(self.event(waiting.pop()).auth_events) - found
            found |= cited
            waiting.extend(cited)
        return found

    def difference(
        self, conflicted: Sequence[set[EventId]], unconflicted: Iterable[EventId]
    ) -> set[EventId]:
        """Return the auth difference of states, without the conflicted events themselves.

        `conflicted` holds one set for each state. As in other servers, a state's chain includes
        the events of the state, so that an unconflicted event and its chain belong to all states.
        Most of a room's history is behind unconflicted events and is never entered.

        Spec: rooms/v12#definitions
        """
        common = list(unconflicted)
        states_of = self._states_of_ancestors(conflicted, set(common))
        in_all = (1 << len(conflicted)) - 1
        shared = {event_id for event_id, states in states_of.items() if states == in_all}
        suspects = states_of.keys() - shared - set().union(*conflicted)
        self._discard_ancestors(common, suspects, shared)
        return suspects

    def subgraph(self, conflicted: set[EventId]) -> set[EventId]:
        """Return the events on paths between conflicted events, these included.

        Every path ends in an event that can be cited; mostly none is in conflict, and the past
        need not be entered.

        Spec: rooms/v12#definitions
        """
        if not any(self.event(event_id).type in AUTH_TYPES for event_id in conflicted):
            return conflicted
        leads_back: dict[EventId, bool] = {}  # to a conflicted event, for each event behind one
        waiting = list(conflicted)
        while waiting:
            event_id = waiting[-1]
            cited = self.event(event_id).auth_events
            unknown = [parent for parent in cited if parent not in leads_back]
            if unknown:
                waiting.extend(unknown)
                continue
            waiting.pop()
            leads_back[event_id] = event_id in conflicted or any(map(leads_back.get, cited))
        return {event_id for event_id, leads in leads_back.items() if leads}

    def _states_of_ancestors(
        self, conflicted: Sequence[set[EventId]], common: set[EventId]
    ) -> dict[EventId, int]:
        """For each event behind conflicted ones, the states it belongs to, as bits."""
        states_of: dict[EventId, int] = {}
        for index, event_ids in enumerate(conflicted):
            bit = 1 << index
            waiting = list(event_ids)
            while waiting:
                event_id = waiting.pop()
                states = states_of.get(event_id, 0)
                if not states & bit and event_id not in common:
                    states_of[event_id] = states | bit
                    waiting.extend(self.event(event_id).auth_events)
        return states_of

    def _discard_ancestors(
        self, common: list[EventId], suspects: set[EventId], shared: set[EventId]
    ) -> None:
        """Take out of `suspects` what lies behind `common`; what is shared leads to no suspect."""
        seen = set(common) | shared
        waiting = common
        while waiting and suspects:
            for cited in self.event(waiting.pop()).auth_events:
                if cited not in seen:
                    seen.add(cited)
                    suspects.discard(cited)
                    waiting.append(cited)
