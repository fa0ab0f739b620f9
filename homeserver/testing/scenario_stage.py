"""Plays a scenario: each step of its story in a `World`, until the end or the first thing wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from homeserver import errors
from homeserver.testing.client import Refused
from homeserver.testing.crashing import CrashAt
from homeserver.testing.scenario_deeds import Deeds
from homeserver.testing.scenario_expectations import EXPECTATIONS, Wrong
from homeserver.testing.scenario_files import ScenarioFile
from homeserver.testing.scenario_mistakes import FEATURES
from homeserver.testing.scenario_parts import Part
from homeserver.testing.scenario_steps import Step
from homeserver.testing.world import World

_FORBIDDEN, _NOT_FOUND = 403, 404
# What a step may end in beside success. Anything else is a mistake of the harness.
_FAILURES = (Refused, AssertionError, Wrong, errors.HomeserverError, aiohttp.ClientError)


class StepFailed(Exception):
    """A step could not happen, or an expectation was not met; says where and why.

    `number` is the step's, counted from 1, and 0 if it failed before the story began. Two that are
    of one `kind` failed in the same way.
    """

    def __init__(self, place: str, number: int, why: str, cause: Exception) -> None:
        super().__init__(f"{place}: {why}")
        self.number = number
        self.kind = type(cause), type(cause.__cause__)


@dataclass(slots=True)
class Stage:
    """A world with the people and the rooms of a scenario in it."""

    world: World
    file: ScenarioFile
    servers: int | None = None
    deeds: Deeds | None = None

    @property
    def missing(self) -> list[str]:
        """The features that the scenario needs and nobody has built."""
        return sorted(set(self.file.scenario.needs) - FEATURES)

    async def play(self, last: int | None = None, tell: Callable[[int], None] = print) -> None:
        """Everything; or everything up to a step, counted from 1. Then all has to be well."""
        await self.set_up()
        await self.tell_story(last, tell)

    async def set_up(self) -> None:
        """Bring about what there is before the story begins."""
        self.deeds = Deeds(self.world)
        self.world.network.is_recording = any(
            step.word == "replay" for step in self.file.scenario.story
        )
        try:
            await self._gather(self.deeds)
        except _FAILURES as error:
            why = f"before the story begins: {_words(error)}"
            raise StepFailed(self.file.place("people"), 0, why, error) from error

    async def tell_story(self, last: int | None, tell: Callable[[int], None]) -> None:
        """Let the steps happen one after the other; what must hold is checked after each.

        After the last all faults end, and everybody has to agree.
        """
        if self.deeds is None:
            raise AssertionError("there is nobody yet")
        steps = self.file.scenario.story[:last]
        for number, step in enumerate(steps, 1):
            tell(number)
            try:
                await self.deeds.perform(step)
                if self.world.checks_itself and step.word not in EXPECTATIONS:
                    await self.world.check_step()
            except _FAILURES as error:
                why = await self._why(self.deeds, step, error)
                place = self.file.place("story", number - 1)
                raise StepFailed(place, number, f"{step.word}: {why}", error) from error
        self._look_for_crashes(self.deeds, steps)
        if not self._has_concluded(steps):
            await self._conclude(len(steps))

    def _look_for_crashes(self, deeds: Deeds, steps: list[Step]) -> None:
        """A crash point that was never passed shows nothing."""
        for number, step in enumerate(steps):
            plan = deeds.plans.get(id(step))
            if isinstance(plan, CrashAt) and plan.where is None:
                why = f"crash_at: {step.content.who} never came to “{step.content.point}”"
                raise StepFailed(self.file.place("story", number), number + 1, why, Wrong(why))

    def _has_concluded(self, steps: list[Step]) -> bool:
        """Whether the story itself looks whether all agree, when nothing more happens."""
        for step in reversed(steps):
            if step.word not in EXPECTATIONS:
                return step.word == "check"
        return False

    async def _conclude(self, last: int) -> None:
        """End every fault, and check what holds when everything is whole."""
        try:
            await self.world.make_whole()
            await self.world.check_healed()
        except _FAILURES as error:
            place = self.file.place("story", last - 1)
            raise StepFailed(place, last, f"after this step: {_words(error)}", error) from error

    async def _why(self, deeds: Deeds, step: Step, error: Exception) -> str:
        """Why a step failed; a refusal among people is put in the scenario's own names."""
        content = step.content
        if isinstance(error, Refused) and isinstance(content, Part):
            return await _why_refused(deeds, content, error)
        return _words(error)

    async def _gather(self, deeds: Deeds) -> None:
        scenario = self.file.scenario
        names, callers = scenario.names(self.servers), scenario.callers()
        for name in names:
            deeds.people[name] = await self.world.person(name, is_reachable=name not in callers)
        for one, other in scenario.pairs(names):
            inviter, invitee = deeds.people[one], deeds.people[other]
            if one in callers:
                inviter, invitee = invitee, inviter
            await self.world.connect(inviter, invitee)
        for name, room in scenario.rooms_.items():
            members = [deeds.people[member] for member in room.members]
            deeds.rooms[name] = await self.world.room(
                deeds.people[room.owner], *members, room_version=room.version
            )


async def _why_refused(deeds: Deeds, content: Part, refused: Refused) -> str:
    who, *others = content.persons()
    for other in others:
        standing = await deeds.person(who).standing(deeds.person(other))
        if standing != "active" and refused.status in (_FORBIDDEN, _NOT_FOUND):
            return f"{who} is not connected to {other} (their standing is {standing}): {refused}"
    for room in content.rooms():
        membership = await deeds.person(who).membership(deeds.rooms[room])
        if membership != "join":
            return f"{who} is not in {room}: {refused}"
    return str(refused)


def _words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientError):
        return "a server that has to act is down"
    if isinstance(error, errors.StorageFull):
        return "the disk is full"
    return str(error)
