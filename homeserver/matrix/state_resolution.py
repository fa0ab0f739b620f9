"""One state out of several: version 2 (rooms 10 and 11) and 2.1 (room 12) of the algorithm.

Spec: rooms/v12#state-resolution, rooms/v11#state-resolution
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from homeserver.errors import NotAllowed
from homeserver.matrix import auth_rules, state_ordering
from homeserver.matrix.auth_graph import AuthGraph
from homeserver.matrix.auth_rules import CREATE, POWER_LEVELS
from homeserver.matrix.events import Event, StateKey, StateMap
from homeserver.matrix.identifiers import EventId
from homeserver.matrix.room_versions import RoomVersion

_State = dict[StateKey, EventId]


def resolve(
    version: RoomVersion, states: Sequence[StateMap], fetch: Callable[[EventId], Event]
) -> dict[StateKey, EventId]:
    """Return the one state that all servers get out of these states, in whatever order.

    `fetch` returns any event of the states' auth chains; each is asked for once. States hold no
    rejected events, and no event that is not rejected cites one (rule 3.3).

    Spec: rooms/v12#algorithm
    """
    unconflicted = _unconflicted(states)
    conflicted = [
        {event_id for key, event_id in state.items() if key not in unconflicted} for state in states
    ]
    disputed = set().union(*conflicted)
    if not disputed:
        return unconflicted
    graph = AuthGraph(fetch)
    full = disputed | graph.difference(conflicted, _power_last(unconflicted))
    if version.resolution_starts_empty:
        full |= graph.subgraph(disputed)
    resolved: _State = {} if version.resolution_starts_empty else dict(unconflicted)

    power_events = _power_events(full, graph)
    _replay(state_ordering.by_power(power_events, graph), resolved, graph)
    rest = full - power_events
    _replay(state_ordering.by_mainline(rest, resolved.get(POWER_LEVELS), graph), resolved, graph)
    return resolved | unconflicted


def _unconflicted(states: Sequence[StateMap]) -> _State:
    first, *others = states
    return {
        key: event_id
        for key, event_id in first.items()
        if all(other.get(key) == event_id for other in others)
    }


def _power_last(state: StateMap) -> list[EventId]:
    """The events of a state, those last that most others rest on: the walk starts at the end."""
    return [state[key] for key in sorted(state, key=lambda key: key[0] != "m.room.member")]


def _power_events(full: set[EventId], graph: AuthGraph) -> set[EventId]:
    """Those that may take somebody's power, with what they rest on as far as it is in question.

    Spec: rooms/v12#algorithm
    """
    power_events = {event_id for event_id in full if _is_power_event(graph.event(event_id))}
    return graph.chain(power_events) & full


def _is_power_event(event: Event) -> bool:
    if event.type == "m.room.member":
        removed = event.content.get("membership") in ("leave", "ban")
        return removed and event.sender != event.state_key
    return event.type in {"m.room.power_levels", "m.room.join_rules"}


def _replay(event_ids: Iterable[EventId], state: _State, graph: AuthGraph) -> None:
    """Apply events to a state one after the other, passing over those it does not allow.

    Spec: rooms/v12#definitions
    """
    for event_id in event_ids:
        event = graph.event(event_id)
        try:
            auth_rules.check(event, _auth_state(event, state, graph))
        except NotAllowed:
            continue
        state[event.key] = event_id


def _auth_state(event: Event, state: StateMap, graph: AuthGraph) -> Mapping[StateKey, Event]:
    """Take what the event's check needs from the state, else from its own auth events."""
    keys = auth_rules.auth_keys(
        event.type, event.sender, event.state_key, event.content, event.version
    )
    auth_state = {cited.key: cited for cited in graph.cited(event) if cited.key in keys}
    auth_state[CREATE] = graph.create_of(event)
    for key in keys:
        if key in state:
            auth_state[key] = graph.event(state[key])
    return auth_state
