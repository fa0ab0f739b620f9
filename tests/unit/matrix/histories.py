"""Rooms to test rules on: events in the form peers send them, chosen by hand, not signed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from homeserver.matrix import auth_rules, events, state_resolution
from homeserver.matrix.auth_rules import CREATE
from homeserver.matrix.events import Event, StateKey
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.matrix.room_versions import ROOM_VERSIONS, RoomVersion

V10, V11, V12 = (ROOM_VERSIONS[version_id] for version_id in ("10", "11", "12"))
ALL_VERSIONS = (V10, V11, V12)

ALICE, BOB, CHARLIE, ELLA = (f"@{name}:example.org" for name in ("alice", "bob", "charlie", "ella"))
EVE = "@eve:elsewhere.example"
_NAMED = {"bob": BOB, "charlie": CHARLIE, "ella": ELLA, "eve": EVE}

_ROOM_ID = RoomId("!room:example.org")

State = dict[StateKey, EventId]


def pdu(**fields: Any) -> dict[str, Any]:
    return {
        "type": "m.room.message",
        "sender": ALICE,
        "room_id": "!room:example.org",
        "content": {},
        "prev_events": [],
        "auth_events": [],
        "depth": 1,
        "origin_server_ts": 1,
        "hashes": {"sha256": ""},
        "signatures": {},
        **fields,
    }


@dataclass
class History:
    """A room that knows its events and can add any event after any state."""

    version: RoomVersion = V12
    room_id: RoomId = _ROOM_ID
    known: dict[EventId, Event] = field(default_factory=dict)
    fetched: list[EventId] = field(default_factory=list)
    clock: int = 0

    def fetch(self, event_id: EventId) -> Event:
        self.fetched.append(event_id)
        return self.known[event_id]

    def create(self, **content: Any) -> Event:
        content["room_version"] = self.version.id
        if self.version.create_names_creator:
            content["creator"] = ALICE
        fields = pdu(type="m.room.create", state_key="", content=content)
        if self.version.room_id_is_create_event:
            del fields["room_id"]
        create = self._know(fields)
        self.room_id = create.room_id
        return create

    def event(
        self,
        kind: str,
        sender: str,
        state_key: str | None,
        content: dict[str, Any],
        state: Mapping[StateKey, EventId],
        *,
        at: int | None = None,
        prev: Iterable[str] = ("$previous",),
    ) -> Event:
        """Make an event that cites what it should of this state, allowed or not."""
        keys = auth_rules.auth_keys(kind, sender, state_key, content, self.version)
        self.clock += 1
        fields = pdu(
            type=kind,
            sender=sender,
            content=content,
            room_id=self.room_id,
            prev_events=list(prev),
            auth_events=[state[key] for key in sorted(keys) if key in state],
            depth=self.clock,
            origin_server_ts=self.clock if at is None else at,
        )
        if state_key is not None:
            fields["state_key"] = state_key
        return self._know(fields)

    def member(
        self, sender: str, user_id: str, membership: str, state: State, **options: Any
    ) -> Event:
        content = {"membership": membership} | options.pop("content", {})
        return self.event("m.room.member", sender, user_id, content, state, **options)

    def apply(
        self,
        state: State,
        kind: str,
        sender: str,
        state_key: str,
        content: dict[str, Any],
        **at: int,
    ) -> Event:
        """Add a state event and insist that it is allowed."""
        event = self.event(kind, sender, state_key, content, state, **at)  # type: ignore[arg-type]
        auth_rules.check(event, self.auth_state(state))
        state[event.key] = event.event_id
        return event

    def auth_state(self, state: Mapping[StateKey, EventId]) -> dict[StateKey, Event]:
        return {key: self.known[event_id] for key, event_id in state.items()}

    def _know(self, fields: dict[str, Any]) -> Event:
        event = events.parse(fields, self.version)
        self.known[event.event_id] = event
        return event


def open_room(version: RoomVersion = V12, *others: str, **levels: int) -> tuple[History, State]:
    """A public room of Alice's; `others` are in it, `levels` give users power by their name."""
    room = History(version)
    create = room.create()
    state: State = {CREATE: create.event_id}
    join = room.member(ALICE, ALICE, "join", state, prev=[create.event_id])
    state[join.key] = join.event_id
    room.apply(state, "m.room.power_levels", ALICE, "", {"users": users_with(room, **levels)})
    room.apply(state, "m.room.join_rules", ALICE, "", {"join_rule": "public"})
    for user_id in others:
        room.apply(state, "m.room.member", user_id, user_id, {"membership": "join"})
    return room, state


def resolve(room: History, *states: State) -> State:
    """Resolve, and insist that the order of the states makes no difference."""
    results = [
        state_resolution.resolve(room.version, order, room.fetch) for order in permutations(states)
    ]
    assert all(result == results[0] for result in results)
    return results[0]


def member_key(user_id: str) -> StateKey:
    return ("m.room.member", user_id)


def users_with(room: History, **levels: int) -> dict[str, int]:
    """The `users` of power levels; before v12 Alice has to be among them."""
    named = {_NAMED[name]: level for name, level in levels.items()}
    return named if room.version is V12 else {ALICE: 100} | named
