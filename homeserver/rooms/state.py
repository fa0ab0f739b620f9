"""The state of a room now, after some events, and as the auth rules want to see it."""

from collections.abc import Iterable, Mapping, Sequence

from homeserver import errors
from homeserver.matrix import auth_rules, server_acl, state_resolution
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event, StateKey, StateMap
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.matrix.power_levels import PowerLevels
from homeserver.matrix.room_versions import RoomVersion, room_version
from homeserver.storage import events, room_state
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import UnitOfWork, View

CREATE: StateKey = ("m.room.create", "")
POWER_LEVELS: StateKey = ("m.room.power_levels", "")
JOIN_RULES: StateKey = ("m.room.join_rules", "")
SERVER_ACL: StateKey = ("m.room.server_acl", "")
HISTORY_VISIBILITY: StateKey = ("m.room.history_visibility", "")


class MissingEvents(errors.HomeserverError):
    """Events are needed that this server does not have: `event_ids` says which."""

    def __init__(self, event_ids: Iterable[EventId]) -> None:
        super().__init__()
        self.event_ids = tuple(event_ids)


def member_key(user_id: str) -> StateKey:
    """The place of a user's membership in a room's state."""
    return ("m.room.member", user_id)


def load_entries(view: View, state: StateMap, keys: Iterable[StateKey]) -> dict[StateKey, Event]:
    """The events at some places of a state, as far as they are set."""
    wanted = {key: state[key] for key in keys if key in state}
    found = events.load_bodies(view, wanted.values())
    return {key: found[event_id] for key, event_id in wanted.items() if event_id in found}


def load_entry(view: View, state: StateMap, key: StateKey) -> Event | None:
    """The event at one place of a state."""
    return load_entries(view, state, (key,)).get(key)


def auth_state_for(view: View, state: StateMap, event: Event) -> dict[StateKey, Event]:
    """What the auth rules look at when they judge an event against a state."""
    keys = auth_rules.auth_keys(
        event.type, event.sender, event.state_key, event.content, event.version
    )
    return load_entries(view, state, keys | {CREATE})


def auth_event_ids(
    state: StateMap,
    draft: tuple[str, str, str | None, JsonObject],
    version: RoomVersion,
) -> tuple[EventId, ...]:
    """The auth events of an event to be made: (type, sender, state_key, content).

    Spec: server-server-api#auth-events-selection
    """
    event_type, sender, state_key, content = draft
    keys = auth_rules.auth_keys(event_type, sender, state_key, content, version)
    return tuple(state[key] for key in sorted(keys) if key in state)


def create_event_id(room_id: RoomId, version: RoomVersion, state: StateMap) -> EventId | None:
    """The room's create event. From v12 its hash is the room's ID."""
    if version.room_id_is_create_event:
        return EventId("$" + room_id[1:])
    return state.get(CREATE)


def lets_in(view: View, state: StateMap, server: ServerName) -> bool:
    """Whether a room's access control list lets a server take part.

    Spec: client-server-api#server-access-control-lists-acls-for-rooms
    """
    entry = load_entry(view, state, SERVER_ACL)
    return entry is None or server_acl.allows(entry.content, server)


def power_levels(view: View, state: StateMap) -> PowerLevels:
    """Who may do what in a room, given its state."""
    entries = load_entries(view, state, (CREATE, POWER_LEVELS))
    return PowerLevels.of(entries[CREATE], entries.get(POWER_LEVELS))


def at_ends(view: View, room: Room, ends: Sequence[EventId]) -> StateMap:
    """The state after some of the graph's ends; after all of them it is the room's own."""
    if len(ends) == len(room.extremities):
        return room_state.load_state(view, room.current_state_id)
    found = events.load_events(view, ends)
    known = {one.state_after for one in found.values() if one.state_after is not None}
    maps = [room_state.load_state(view, state_id) for state_id in sorted(known)]
    return state_resolution.resolve(room_version(room.version_id), maps, _Lookup(view, maps, None))


def resolve(
    work: UnitOfWork,
    room_id: RoomId,
    version: RoomVersion,
    state_ids: Sequence[int],
    arriving: Event | None = None,
) -> int:
    """Make one state of several and return its number; `arriving` is not stored yet."""
    distinct = list(dict.fromkeys(state_ids))
    if len(distinct) == 1:
        return distinct[0]
    maps = [room_state.load_state(work, state_id) for state_id in distinct]
    resolved = state_resolution.resolve(version, maps, _Lookup(work, maps, arriving))
    return room_state.save_resolved(work, room_id, distinct[0], resolved)


def state_after(work: UnitOfWork, room_id: RoomId, prev_events: Sequence[EventId]) -> int:
    """The number of the state after some events, resolved where they differ.

    Raises `MissingEvents` where one of them, or the state after it, is not known.
    """
    found = events.load_events(work, prev_events)
    after: list[int] = []
    missing: list[EventId] = []
    for event_id in prev_events:
        stored = found.get(event_id)
        if stored is None or stored.state_after is None or stored.event.room_id != room_id:
            missing.append(event_id)
        else:
            after.append(stored.state_after)
    if missing or not after:
        raise MissingEvents(missing)
    version = found[prev_events[0]].event.version
    return resolve(work, room_id, version, sorted(after))


class _Lookup:
    """Finds the events of a resolution, as few statements at a time as their citations allow.

    What was read cites what is asked for next. So whoever asks for one that is not here gets it
    together with everything that was cited and not read yet: a generation of the auth chains.
    """

    def __init__(self, view: View, states: Sequence[StateMap], arriving: Event | None) -> None:
        self._view = view
        self._found: dict[EventId, Event] = {}
        self._cited = _differing(states)
        if arriving is not None:
            self._note({arriving.event_id: arriving})

    def __call__(self, event_id: EventId) -> Event:
        if event_id not in self._found:
            self._cited.add(event_id)
            self._note(events.load_bodies(self._view, self._cited))
            if event_id not in self._found:
                raise MissingEvents((event_id,))
        return self._found[event_id]

    def _note(self, found: Mapping[EventId, Event]) -> None:
        self._found |= found
        cited = {one for event in found.values() for one in event.auth_events}
        self._cited = cited - self._found.keys()


def _differing(states: Sequence[StateMap]) -> set[EventId]:
    """Events that some of these states hold and others do not."""
    held = [set(one.values()) for one in states]
    return set().union(*held) - held[0].intersection(*held)
