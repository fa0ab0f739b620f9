"""Plays a scenario: each step of its story in a `World`, until the end or the first thing wrong."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from homeserver.testing.client import Refused
from homeserver.testing.crashing import CrashAt
from homeserver.testing.person import Person
from homeserver.testing.scenario_files import ScenarioFile
from homeserver.testing.scenario_parts import Step
from homeserver.testing.simulated_server import NotRunning
from homeserver.testing.world import World

FEATURES = frozenset({"rooms of three", "pause", "revoke", "grants", "repair", "key deposits"})

_TRIES_TO_JOIN = 5
_FAULTS = {"latency": "latency_s", "jitter": "jitter_s"}


class StepFailed(Exception):
    """A step could not happen, or an expectation was not met; says where and why."""

    def __init__(self, place: str, number: int, why: str) -> None:
        super().__init__(f"{place}: {why}")
        self.number = number


class _Wrong(Exception):
    """What is wrong with a step."""


@dataclass(slots=True)
class Stage:
    """A world with the people and the rooms of a scenario in it."""

    world: World
    file: ScenarioFile
    servers: int | None = None
    people: dict[str, Person] = field(default_factory=dict)
    rooms: dict[str, str] = field(default_factory=dict)
    copies: dict[str, Path] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """The features that the scenario needs and nobody has built."""
        return sorted(set(self.file.scenario.needs) - FEATURES)

    async def play(self, last: int | None = None, tell: Callable[[int], None] = print) -> None:
        """Everything; or everything up to a step, counted from 1, and then heal and check."""
        try:
            await self._set_up()
        except (Refused, AssertionError) as error:
            raise StepFailed(self.file.place("people"), 0, str(error)) from error
        for number, step in enumerate(self.file.scenario.story[:last], 1):
            tell(number)
            try:
                await self._perform(step)
            except (Refused, AssertionError, NotRunning, _Wrong) as error:
                raise self._failed(number, step, str(error)) from error
            except aiohttp.ClientError as error:
                raise self._failed(number, step, "a server that has to act is down") from error
        if last is not None and last < len(self.file.scenario.story):
            await self._conclude(last)

    async def _conclude(self, last: int) -> None:
        """After a beginning only: heal, and check."""
        try:
            self.world.network.heal()
            await self.world.check_healed()
        except (Refused, AssertionError, NotRunning) as error:
            place = self.file.place("story", last - 1)
            raise StepFailed(place, last, f"after this step: {error}") from error

    def _failed(self, number: int, step: Step, why: str) -> StepFailed:
        return StepFailed(self.file.place("story", number - 1), number, f"{step.word}: {why}")

    async def _set_up(self) -> None:
        scenario = self.file.scenario
        special = scenario.people if isinstance(scenario.people, dict) else {}
        names = scenario.names(self.servers)
        for name in names:
            part = special.get(name)
            is_reachable = part is None or part.is_reachable
            self.people[name] = await self.world.person(name, is_reachable=is_reachable)
        for one, other in scenario.pairs(names):
            inviter, invitee = self.people[one], self.people[other]
            if not inviter.server.config.server.public_urls:
                inviter, invitee = invitee, inviter
            await self.world.connect(inviter, invitee)
        for name, room in scenario.rooms_.items():
            members = [self.people[member] for member in room.members]
            self.rooms[name] = await self.world.room(
                self.people[room.owner], *members, room_version=room.version
            )

    async def _perform(self, step: Step) -> None:
        content = step.content
        if step.word in ("invite", "kick", "ban"):
            await self._moderate(step.word, content)
        elif step.word in ("pause", "resume", "revoke"):
            await getattr(self._person(content.who), step.word)(self._person(content.peer))
        elif step.word in ("stop", "start", "restart", "move"):
            await getattr(self._person(content).server, step.word)()
        else:
            await getattr(self, f"_{step.word}")(content)

    def _person(self, name: str) -> Person:
        return self.people[name]

    async def _say(self, said: Any) -> None:
        for number in range(1, said.times + 1):
            text = said.text if said.times == 1 else f"{said.text} {number}"
            await self._person(said.who).say(self.rooms[said.room], text)

    async def _join(self, entrance: Any) -> None:
        await self._person(entrance.who).join(self.rooms[entrance.room], _TRIES_TO_JOIN)

    async def _leave(self, entrance: Any) -> None:
        await self._person(entrance.who).leave_room(self.rooms[entrance.room])

    async def _moderate(self, verb: str, about: Any) -> None:
        whom = self._person(about.whom)
        await self._person(about.who).moderate(verb, self.rooms[about.room], whom)

    async def _set(self, state: Any) -> None:
        room_id = self.rooms[state.room]
        content = self._with_user_ids(state.content)
        await self._person(state.who).set_state(room_id, state.type, state.key, content)

    def _with_user_ids(self, value: Any) -> Any:
        """`@alice` stands for Alice's user ID, also as a key."""
        if isinstance(value, dict):
            return {
                self._with_user_ids(key): self._with_user_ids(one) for key, one in value.items()
            }
        if isinstance(value, str) and value[:1] == "@" and value[1:] in self.people:
            return self.people[value[1:]].user_id
        return value

    async def _connect(self, pair: tuple[str, str]) -> None:
        inviter, invitee = (self._person(name) for name in pair)
        await invitee.open_link(await inviter.invitation())

    async def _grant(self, grant: Any) -> None:
        await self._person(grant.who).grant(self._person(grant.to), **grant.change)

    async def _crash(self, name: str) -> None:
        await self._person(name).server.crash_now()

    async def _crash_at(self, crash: Any) -> None:
        self._person(crash.who).server.crash_at = CrashAt(crash.point)

    async def _copy(self, name: str) -> None:
        self.copies[name] = self.world.directory / f"{name}-{len(self.copies)}.copy"
        self._person(name).server.copy_to(self.copies[name])

    async def _go_back(self, name: str) -> None:
        if name not in self.copies:
            raise _Wrong("there is no copy to go back to")
        person = self._person(name)
        await person.server.crash_now()
        person.server.replace_by(self.copies[name])
        await person.server.start()
        person.forget_syncs()
        person.acknowledged.clear()

    async def _disk(self, disk: Any) -> None:
        chosen = self._person(disk.who).server.disk
        chosen.is_full, chosen.seconds_per_write = disk.full, disk.seconds_per_write

    async def _clock(self, skew: Any) -> None:
        self._person(skew.who).server.clock.skew_s = -skew.by if skew.is_slow else skew.by

    async def _faults(self, faults: Any) -> None:
        given = faults.model_dump(exclude_none=True, exclude={"between", "one_way"})
        chosen = {_FAULTS.get(name, f"{name}"): value for name, value in given.items()}
        if faults.one_way:
            self.world.network.one_way(*faults.one_way, **chosen)
        elif faults.between:
            self.world.network.between(*faults.between, **chosen)
        else:
            self.world.network.everywhere(**chosen)

    async def _partition(self, groups: list[list[str]]) -> None:
        self.world.partition(*([self._person(name) for name in group] for group in groups))

    async def _wait(self, seconds: float) -> None:
        await self.world.pass_time(seconds)

    async def _settle(self, _nothing: Any) -> None:
        await self.world.settle()

    async def _heal(self, _nothing: Any) -> None:
        self.world.network.heal()

    async def _check(self, _nothing: Any) -> None:
        await self.world.check_healed()

    async def _hears(self, expected: Any) -> None:
        texts = await self._person(expected.who).texts(self.rooms[expected.room])
        if sorted(texts) != sorted(expected.texts):
            raise _Wrong(f"expected {sorted(expected.texts)}, found {sorted(texts)}")

    async def _counts(self, expected: Any) -> None:
        texts = await self._person(expected.who).texts(self.rooms[expected.room])
        if len(texts) != expected.texts:
            raise _Wrong(f"expected {expected.texts} texts, found {len(texts)}")

    async def _standing(self, expected: Any) -> None:
        found = await self._person(expected.who).standing(self._person(expected.peer))
        if found != expected.standing:
            raise _Wrong(f"expected {expected.standing}, found {found}")

    async def _member(self, expected: Any) -> None:
        found = await self._person(expected.who).membership(self.rooms[expected.room])
        if found != expected.membership:
            raise _Wrong(f"expected {expected.membership}, found {found or 'nothing'}")

    async def _same_state(self, room: str) -> None:
        states = {}
        for name, person in self.people.items():
            with contextlib.suppress(Refused):
                states[name] = await person.state(self.rooms[room])
        if any(state != next(iter(states.values())) for state in states.values()):
            raise _Wrong(f"{', '.join(states)} do not have the same state")
