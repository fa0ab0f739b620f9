"""One room in which people do anything, and one of them forges: drawn deed by deed from chance."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import aiohttp

from homeserver.matrix.events import Draft
from homeserver.matrix.identifiers import UserId
from homeserver.rooms.drafting import Intent
from homeserver.testing.adversaries import HostilePeer
from homeserver.testing.client import Refused
from homeserver.testing.person import Person

_V3 = "/_matrix/client/v3"
# Forbidden; nobody here knows that room, or nobody who does can be reached; not in this state.
_NO = (400, 403, 404)
_LEVELS = (0, 40, 60, 90)
_PATIENCE_S = 20.0

Deed = Callable[[Person], Coroutine[Any, Any, object]]


class History:
    """A room of some people's. Whoever is not inside from the beginning may come later.

    `forger` behaves as everybody does, and besides hands events to the others that his own server
    would never make.
    """

    def __init__(
        self, people: Sequence[Person], club: str, version: str, chance: random.Random
    ) -> None:
        self.people = list(people)
        self.version = version
        self.room_id = ""
        self.made: list[str] = []  # the events that servers said they had taken
        self.is_honest = True  # nobody forged
        self.is_open = True  # no server was ever shut out
        self._club = club
        self._chance = chance
        self._forger = people[2]
        self._once: list[Draft] = []
        self._deeds: list[tuple[int, Deed]] = [
            (12, self._say),
            (8, self._set_topic_or_name),
            (6, self._set_power),
            (2, self._set_nonsense_power),
            (4, self._ban),
            (4, self._unban),
            (4, self._kick),
            (3, self._invite),
            (2, self._leave),
            (8, self._come),
            (3, self._knock),
            (5, self._set_join_rules),
            (1, self._set_server_acl),
            (3, self._redact),
            (3, self._set_visibility),
            (9, self._forge),
        ]

    async def begin(self) -> None:
        """Let all but the last come in, of whom all but the first have some power."""
        creator, *others = self.people[:-1]
        users = {other.user_id: level for other, level in zip(others, (90, 60), strict=True)}
        if self.version != "12":
            users[creator.user_id] = 100
        self.room_id = await creator.create_room(
            preset="public_chat",
            room_version=self.version,
            power_level_content_override={"users": users, "events": {"m.room.power_levels": 50}},
        )
        for other in others:
            await self._enter(other, creator)
        self._remember()

    async def go_on(self) -> None:
        """Somebody does something, or is refused because of what came before."""
        person = self._chance.choice(self.people)
        weights = [weight for weight, _ in self._deeds]
        deed = self._chance.choices([deed for _, deed in self._deeds], weights)[0]
        if not person.server.is_running:
            return
        try:
            await deed(person)
        except aiohttp.ClientError:
            if person.server.is_running:
                raise
        except Refused as refused:
            if refused.status not in _NO:
                raise

    def _other_than(self, person: Person) -> Person:
        return self._chance.choice([one for one in self.people if one is not person])

    async def _say(self, person: Person) -> None:
        self.made.append(await person.say(self.room_id, f"{self._chance.random()}"))

    async def _set(self, person: Person, kind: str, content: dict[str, Any]) -> None:
        event_id = await person.set_state(self.room_id, f"m.room.{kind}", "", content)
        self.made.append(event_id)

    async def _set_topic_or_name(self, person: Person) -> None:
        kind = self._chance.choice(("topic", "name"))
        await self._set(person, kind, {kind: f"{self._chance.random()}"})

    async def _set_power(self, person: Person) -> None:
        levels = await person.client.state(self.room_id, "m.room.power_levels")
        target, level = self._chance.choice(self.people[1:]), self._chance.choice(_LEVELS)
        changes: list[dict[str, Any]] = [
            {"users": levels["users"] | {target.user_id: level}},
            {"events": levels["events"] | {"m.room.topic": level}},
            {self._chance.choice(("ban", "kick", "invite", "state_default")): level},
        ]
        await self._set(person, "power_levels", levels | self._chance.choice(changes))

    async def _set_nonsense_power(self, person: Person) -> None:
        nonsense: list[dict[str, Any]] = [
            {"users": []},
            {"ban": "50"},
            {"events": {"m.room.topic": None}},
        ]
        await self._set(person, "power_levels", self._chance.choice(nonsense))
        raise AssertionError(f"{person.name} was not refused")

    async def _ban(self, person: Person) -> None:
        await person.moderate("ban", self.room_id, self._other_than(person))

    async def _unban(self, person: Person) -> None:
        await person.moderate("unban", self.room_id, self._other_than(person))

    async def _kick(self, person: Person) -> None:
        await person.moderate("kick", self.room_id, self._other_than(person))

    async def _invite(self, person: Person) -> None:
        await person.moderate("invite", self.room_id, self._other_than(person))

    async def _leave(self, person: Person) -> None:
        await person.leave_room(self.room_id)

    async def _come(self, person: Person) -> None:
        """For the first time, again, or once more without having left."""
        await self._enter(person, self._other_than(person))

    async def _enter(self, person: Person, host: Person) -> None:
        path = f"{_V3}/join/{quote(self.room_id)}?via={host.server.server_name}"
        await person.client.request("POST", path, {})

    async def _knock(self, person: Person) -> None:
        host = self._other_than(person).server.server_name
        path = f"{_V3}/knock/{quote(self.room_id)}?via={host}"
        await person.client.request("POST", path, {"reason": "may I?"})

    async def _set_join_rules(self, person: Person) -> None:
        allow = [{"type": "m.room_membership", "room_id": self._club}]
        rules: list[dict[str, Any]] = [
            {"join_rule": "public"},
            {"join_rule": "invite"},
            {"join_rule": "knock"},
            {"join_rule": "restricted", "allow": allow},
            {"join_rule": "knock_restricted", "allow": allow},
        ]
        await self._set(person, "join_rules", self._chance.choice(rules))

    async def _set_server_acl(self, person: Person) -> None:
        denied = [self._other_than(person).server.server_name] * self._chance.randrange(2)
        self.is_open = self.is_open and not denied
        await self._set(person, "server_acl", {"allow": ["*"], "deny": denied})

    async def _redact(self, person: Person) -> None:
        if self.made:
            target = quote(self._chance.choice(self.made))
            txn = f"r{self._chance.random()}"
            path = f"{_V3}/rooms/{quote(self.room_id)}/redact/{target}/{txn}"
            self.made.append((await person.client.request("PUT", path, {}))["event_id"])

    async def _set_visibility(self, person: Person) -> None:
        seen = self._chance.choice(("shared", "invited", "joined", "world_readable"))
        await self._set(person, "history_visibility", {"history_visibility": seen})

    # What no honest server makes

    async def _forge(self, _person: Person) -> None:
        if not self._forger.server.is_running:
            return
        self.is_honest = False
        victim = self._other_than(self._forger)
        hostile, name = HostilePeer(self._forger, victim), UserId(self._forger.user_id)
        number = self._chance.random()
        power = Intent(name, "m.room.power_levels", {"users": {name: 100}}, "")
        topic = Intent(name, "m.room.topic", {"topic": f"forged {number}"}, "")
        forgeries = [
            lambda: hostile.draft(self.room_id, power),
            lambda: replace(hostile.draft(self.room_id, topic), auth_events=()),
            lambda: hostile.draft(self.room_id, replace(topic, sender=UserId(victim.user_id))),
            lambda: replace(self._once[0], content=topic.content),
            lambda: replace(self._once[1], content={"body": f"forged {number}"}),
        ]
        made = hostile.built(self.room_id, self._chance.choice(forgeries)())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await hostile.send_events([made])

    def _remember(self) -> None:
        """Where the forger may speak now, to speak there again when he may no longer."""
        hostile, name = HostilePeer(self._forger, self.people[0]), UserId(self._forger.user_id)
        intents = (Intent(name, "m.room.topic", {}, ""), Intent(name, "m.room.message", {}))
        self._once = [hostile.draft(self.room_id, intent) for intent in intents]
