"""Read a history from its file and make real, signed events of it."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from homeserver.errors import NotAllowed
from homeserver.matrix import auth_rules, events, signing, state_resolution
from homeserver.matrix.auth_rules import CREATE
from homeserver.matrix.events import DUMMY, Draft, Event, StateKey
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId, server_of
from homeserver.matrix.power_levels import creators_of
from homeserver.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.rooms.drafting import Intent

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.json"))
ALICE = "@alice"
_ROOM_ID = RoomId("!room:alice.test")
_UNKNOWN = EventId("$" + "A" * 43)

State = dict[StateKey, EventId]


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def versions_of(told: dict[str, Any]) -> list[str]:
    return list(told.get("versions", ["10", "11", "12"]))


@dataclass
class Telling:
    """One history in one room version: its events, and what the pure rules make of them."""

    told: dict[str, Any]
    version: RoomVersion
    room_id: RoomId = _ROOM_ID
    named: dict[str, Event] = field(default_factory=dict)
    events: dict[EventId, Event] = field(default_factory=dict)
    before: dict[EventId, State] = field(default_factory=dict)
    after: dict[EventId, State] = field(default_factory=dict)
    rejected: set[EventId] = field(default_factory=set)
    claims: dict[EventId, State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begin()
        last = "start"
        for number, told in enumerate(self.told["events"], start=1):
            self._tell({"after": [last], "at": 100 + 10 * number} | told)
            last = told["id"]

    @cached_property
    def ends(self) -> tuple[EventId, ...]:
        cited = {one for event in self.events.values() for one in event.prev_events}
        ends = self.events.keys() - cited - self.rejected
        for event_id in self.rejected:  # what comes before them is an end, if nothing else follows
            others = {
                one
                for event in self.events.values()
                if event.event_id not in self.rejected
                for one in event.prev_events
            }
            ends |= set(self.events[event_id].prev_events) - others - self.rejected
        return tuple(sorted(ends))

    @cached_property
    def final(self) -> State:
        """The state after all ends, by the rules alone."""
        return self._resolved([self.after[end] for end in self.ends])

    def closing(self, sender: str = ALICE) -> Event:
        """An event that refers to all ends."""
        user = UserId(self._filled(sender))
        keys = auth_rules.auth_keys(DUMMY, user, None, {}, self.version)
        auth = [self.final[key] for key in sorted(keys) if key in self.final]
        return self._build(Intent(user, DUMMY, {}), self.ends, auth, 9_999)

    @property
    def demanded(self) -> dict[StateKey, EventId | None]:
        wanted = self.told["demands"] | self.told.get("demands_of", {}).get(self.version.id, {})
        return {
            self._key(name): None if one is None else self.named[one].event_id
            for name, one in wanted.items()
        }

    def _key(self, name: str) -> StateKey:
        kind, _, user = name.partition(" ")
        return (kind, self._filled(user) if user else "")

    def _begin(self) -> None:
        room: dict[str, Any] = {
            "levels": {"@bob": 50},
            "members": ["@bob", "@carol"],
            "join_rule": "public",
        }
        room |= self.told.get("room", {})
        content = {"room_version": self.version.id} | room.get("create", {})
        if self.version.create_names_creator:
            content["creator"] = ALICE
        join = {"membership": "join"}
        powers = {"users": {ALICE: 100} | room["levels"]} | room.get("power", {})
        rules = {"join_rule": room["join_rule"]} | room.get("rules", {})
        told: list[dict[str, Any]] = [
            {"id": "create", "type": "m.room.create", "content": content},
            {"id": ALICE, "member": ALICE, "content": join},
            {"id": "power", "type": "m.room.power_levels", "content": powers},
            {"id": "rules", "type": "m.room.join_rules", "content": rules},
        ]
        for user in room["members"]:
            if room["join_rule"] != "public":
                invite = {"membership": "invite"}
                told.append({"id": f"invite {user}", "member": user, "content": invite})
            told.append({"id": user, "by": user, "member": user, "content": join})
        last: list[str] = []
        for number, one in enumerate(told, start=1):
            self._tell({"by": ALICE, "after": last, "at": number} | one)
            last = [one["id"]]
        self.named["start"] = self.named[last[0]]

    def _tell(self, told: dict[str, Any]) -> None:
        sender = UserId(self._filled(told["by"]))
        kind = "m.room.member" if "member" in told else told["type"]
        key = self._filled(told.get("member", told.get("state_key", "")))
        content = self._filled(told.get("content", {}))
        if kind == "m.room.power_levels" and not told.get("is_literal"):
            self._spare_creators(content)
        prev = tuple(_UNKNOWN if one == "?" else self.named[one].event_id for one in told["after"])
        before = self._state_before(told, prev)
        keys = auth_rules.auth_keys(kind, sender, key, content, self.version)
        chosen = [before[key] for key in sorted(keys) if key in before]
        auth = [self.named[one].event_id for one in told["auth"]] if "auth" in told else chosen
        event = self._build(Intent(sender, kind, content, key), prev, auth, told["at"])
        self._judge(event, before)
        self.named[told["id"]] = event

    def _state_before(self, told: dict[str, Any], prev: tuple[EventId, ...]) -> State:
        if _UNKNOWN not in prev:
            return self._resolved([self.after[one] for one in prev]) if prev else {}
        state = dict(self.after[self.named[told.get("state_from", "start")].event_id])
        for name, one in told.get("state", {}).items():
            if one is None:
                state.pop(self._key(name), None)
            else:
                state[self._key(name)] = self.named[one].event_id
        return state

    def _judge(self, event: Event, before: State) -> None:
        self.events[event.event_id] = event
        self.before[event.event_id] = before
        if any(one not in self.events for one in event.prev_events):
            self.claims[event.event_id] = before
        self.after[event.event_id] = dict(before)
        try:
            self._check(event, before)
        except NotAllowed:
            self.rejected.add(event.event_id)
            return
        if event.is_state:
            self.after[event.event_id][event.key] = event.event_id

    def _check(self, event: Event, before: State) -> None:
        """By its own auth events, then by the state before it."""
        cited = [self.events[one] for one in event.auth_events]
        auth_rules.check_auth_events(event, cited, self.rejected)
        by_key = {one.key: one for one in cited}
        if self.version.room_id_is_create_event and event.type != "m.room.create":
            by_key[CREATE] = self.named["create"]
        auth_rules.check(event, by_key)
        auth_rules.check(event, {key: self.events[one] for key, one in before.items()})

    def _resolved(self, states: list[State]) -> State:
        return state_resolution.resolve(self.version, states, self.events.__getitem__)

    def _build(
        self, said: Intent, prev: tuple[EventId, ...], auth: list[EventId], at: int
    ) -> Event:
        is_v12_create = said.type == "m.room.create" and self.version.room_id_is_create_event
        known = [self.events[one].depth for one in prev if one in self.events]
        draft = Draft(
            room_id=None if is_v12_create else self.room_id,
            sender=said.sender,
            type=said.type,
            state_key=said.state_key,
            content=said.content,
            prev_events=prev,
            auth_events=tuple(auth),
            depth=1 + max(known, default=len(self.events)),
            origin_server_ts=at * 1_000,
        )
        server = server_of(said.sender)
        event = events.build(draft, self.version, server, _key_of(server))
        if is_v12_create:
            self.room_id = event.room_id
        return event

    def _spare_creators(self, content: dict[str, Any]) -> None:
        """What a client of this room version would not send."""
        if self.version.creators_are_above_all:
            for creator in creators_of(self.named["create"]):
                content.get("users", {}).pop(creator, None)

    def _filled(self, value: Any) -> Any:
        """`@bob` as `@bob:bob.test`, everywhere."""
        if isinstance(value, dict):
            return {self._filled(key): self._filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._filled(one) for one in value]
        if isinstance(value, str) and value.startswith("@") and ":" not in value:
            return f"{value}:{value[1:]}.test"
        return value


def _key_of(server: ServerName) -> signing.SigningKey:
    return signing.generate(server.encode().ljust(32, b".")[:32], "1")


def tellings() -> list[Any]:
    """Every history in each of its versions, named for pytest."""
    return [
        pytest.param(path, version, id=f"{path.stem}-v{version}")
        for path in FILES
        for version in versions_of(read(path))
    ]


def telling(path: Path, version: str) -> Telling:
    return Telling(read(path), ROOM_VERSIONS[version])
