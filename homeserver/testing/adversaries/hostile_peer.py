"""A connected peer whose server has turned against us: valid keys, valid seals, evil content.

He is a `Person` with a real server. What he sends goes out as frames of his own channel, so that
nothing but the victim's own checks stands in its way.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from federation.frames import Outgoing
from federation.turn_state import TurnState
from homeserver import errors
from homeserver.matrix import events
from homeserver.matrix.events import Draft, Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.matrix.room_versions import room_version
from homeserver.rooms import drafting
from homeserver.rooms.drafting import Intent
from homeserver.storage.unit_of_work import UnitOfWork, View
from homeserver.testing.person import Person

_PDUS_A_FRAME = 3  # of the largest
_LOOKS = 2_000
_LOOK_S = 0.5
_NOWHERE = EventId("$" + "A" * 43)


class HostilePeer:
    """Turns a connected person against a victim."""

    def __init__(self, person: Person, victim: Person) -> None:
        self.person = person
        self.victim = victim
        self._peer = ServerName(victim.server.server_name)
        self._invented = 0
        self.asked = 0  # how often the victim asked for what he invented

    # What he can send

    async def send(self, kind: str, body: dict[str, Any]) -> bool:
        """One frame with any content; False if the victim does not take it in time."""
        federation = self.person.server.built.peers.federation
        line = federation.lines.find(self._peer)
        if line is None:
            return False

        def seal(work: UnitOfWork) -> bool:
            state = TurnState(work, federation.party, line.peer, line.node_id)
            if state.in_flight is not None or state.channel.session is None:
                return False
            now = federation.party.clock.now_ms()
            state.seal(Outgoing(kind, now, orjson.dumps(body)))
            state.save()
            return True

        for _ in range(_LOOKS):
            if await self.person.server.built.database.write(seal):
                line.retry_at = 0.0
                line.wake.set()
                return True
            await asyncio.sleep(_LOOK_S)
        return False

    async def send_events(self, made: Sequence[Event]) -> None:
        """Room events, a few in each frame."""
        for at in range(0, len(made), _PDUS_A_FRAME):
            pdus = [event.pdu for event in made[at : at + _PDUS_A_FRAME]]
            await self.send("transaction", {"pdus": pdus})

    async def flood(self, frames: int, each: int = 200) -> None:
        """So many frames with as many things in each as one may hold."""
        edu = {"edu_type": "m.typing", "content": {"room_id": "!x", "user_id": "@x:y"}}
        for _ in range(frames):
            await self.send("transaction", {"edus": [edu] * each, "pdus": [{}] * each})
            await self.send("control", {"items": [{"kind": "nonsense", "body": {}}] * each})

    async def large_events(self, room_id: str, count: int, size: int = 60_000) -> None:
        """Valid messages of nearly 64 KiB."""
        made = []
        for number in range(count):
            content = {"msgtype": "m.text", "body": f"{number}".ljust(size, "x")}
            made.append(self.event(room_id, Intent(self._me, "m.room.message", content)))
        await self.send_events(made)

    async def deep_graph(self, room_id: str, depth: int) -> None:
        """A message that hangs from a past of which each answer invents one more generation."""
        requests = self.person.server.built.peers.federation.requests
        operations = requests._operations  # noqa: SLF001 - it is his own server that he breaks
        left = depth

        async def answer(_peer: ServerName, _body: dict[str, Any]) -> dict[str, Any]:
            nonlocal left
            self.asked += 1
            left -= 1
            return {"events": [self._hanging(room_id).pdu], "pdus": [self._hanging(room_id).pdu]}

        async def refuse(_peer: ServerName, _body: dict[str, Any]) -> dict[str, Any]:
            self.asked += 1
            raise errors.NotFound

        for operation in ("get_missing_events", "backfill"):
            operations[operation] = answer
        for operation in ("event", "state", "state_ids", "event_auth"):
            operations[operation] = refuse
        await self.send_events([self._hanging(room_id) for _ in range(depth)])

    async def leave_waiting(self, room_id: str) -> None:
        """Events whose past nobody has."""
        await self.send_events([self._hanging(room_id) for _ in range(3)])

    async def forge_auth(self, room_id: str) -> None:
        """Claims to power that nothing supports, each with auth events that do not fit."""
        power = {"users": {self._me: 100}, "users_default": 100}
        claims = [
            Intent(self._me, "m.room.power_levels", power, ""),
            Intent(self._me, "m.room.join_rules", {"join_rule": "public"}, ""),
            Intent(self._me, "m.room.member", {"membership": "ban"}, self.victim.user_id),
        ]
        for claim in claims:
            honest = self.draft(room_id, claim)
            for auth in (honest.auth_events, (), (_NOWHERE,), honest.prev_events):
                draft = replace(honest, auth_events=tuple(auth))
                await self.send_events([self.built(room_id, draft)])
            by_victim = replace(claim, sender=UserId(self.victim.user_id))
            await self.send_events([self.event(room_id, by_victim)])

    async def conflicting_state(self, room_id: str, count: int) -> None:
        """As many branches as that, each with another state under the same key."""
        first = self.draft(room_id, Intent(self._me, "m.room.topic", {"topic": "0"}, ""))
        made = [
            self.built(room_id, replace(first, content={"topic": f"{number}"}))
            for number in range(count)
        ]
        await self.send_events(made)

    async def drain_keys(self, times: int) -> list[dict[str, Any]]:
        """Claim the one-time keys of every device again and again; what came back."""
        requests = self.person.server.built.peers.federation.requests
        query: dict[str, Any] = {"device_keys": {self.victim.user_id: []}}
        devices = (await requests.ask(self._peer, "user/keys/query", query)).body
        known = devices.get("device_keys", {}).get(self.victim.user_id, {})
        claim = {self.victim.user_id: dict.fromkeys(known, "signed_curve25519")}
        answers = []
        for _ in range(times):
            try:
                asked = {"one_time_keys": claim}
                answers.append((await requests.ask(self._peer, "user/keys/claim", asked)).body)
            except errors.HomeserverError as error:
                answers.append({"error": error.errcode})
        return answers

    # What he makes it of

    def event(self, room_id: str, intent: Intent) -> Event:
        """A valid event, or one that only its rules forbid; kept nowhere."""
        return self.built(room_id, self.draft(room_id, intent))

    def draft(self, room_id: str, intent: Intent) -> Draft:
        """An event's place after everything that his server knows."""

        def place(view: View) -> Draft:
            room = drafting.load_room(view, RoomId(room_id))
            return drafting.draft(view, room, intent, self.person.server.clock.now_ms())

        return self.person.server.built.database.read(place)

    def built(self, room_id: str, draft: Draft) -> Event:
        """Whatever he puts into the draft, hashed and signed by his server."""
        server = self.person.server.built
        own = server.peers.federation.party.own
        version = server.database.read(
            lambda view: drafting.load_room(view, RoomId(room_id)).version_id
        )
        return events.build(draft, room_version(version), own.server_name, own.event_key)

    @property
    def _me(self) -> UserId:
        return UserId(self.person.user_id)

    def _hanging(self, room_id: str) -> Event:
        """A message whose past nobody has."""
        self._invented += 1
        content = {"msgtype": "m.text", "body": f"invented {self._invented}"}
        draft = self.draft(room_id, Intent(self._me, "m.room.message", content))
        past = EventId("$" + f"{self._invented:043d}")
        return self.built(room_id, replace(draft, prev_events=(past,)))
