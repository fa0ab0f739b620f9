"""For hypothesis, which has to be installed: faults, and owners who do anything at any time."""

import contextlib
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from homeserver.testing.client import Refused
from homeserver.testing.network import Faults
from homeserver.testing.person import Person
from homeserver.testing.schedules import faults
from homeserver.testing.world import HOUR, World


class Owners(RuleBasedStateMachine):
    """Three friends in a room, a network and three machines that do what hypothesis likes.

    What must hold is checked after every step, and at the end, when everything is whole again, that
    all agree.
    """

    names = ("alice", "bob", "carol")

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory(prefix="homeserver-owners-")
        self._lines = 0

    @initialize(seed=st.integers(1, 1_000))
    def begin(self, seed: int) -> None:
        """Everybody knows everybody and is in one room."""
        self.world = World(Path(self._directory.name), seed)
        self.world.checks_itself = False
        self.people: list[Person] = self._do(self.world.befriended(*self.names))
        self.room_id: str = self._do(self.world.room(*self.people))

    @rule(who=st.integers(0, 2))
    def say(self, who: int) -> None:
        """Somebody says something."""
        self._lines += 1
        self._try(self.people[who].say(self.room_id, f"line {self._lines}"))

    @rule(who=st.integers(0, 2), topic=st.integers(0, 3))
    def change_topic(self, who: int, topic: int) -> None:
        """Somebody changes the topic, if the room allows it."""
        content = {"topic": f"topic {topic}"}
        self._try(self.people[who].set_state(self.room_id, "m.room.topic", "", content))

    @rule(who=st.integers(0, 2), whom=st.integers(0, 2), verb=st.sampled_from(["pause", "resume"]))
    def change_mind(self, who: int, whom: int, verb: str) -> None:
        """Somebody pauses or resumes somebody, if there is something to pause or resume."""
        if who != whom:
            self._try(getattr(self.people[who], verb)(self.people[whom]))

    @rule(suffered=faults(), one=st.integers(0, 2), other=st.integers(0, 2))
    def disturb(self, suffered: Faults, one: int, other: int) -> None:
        """A link becomes bad, in one direction."""
        link = self.world.network.link(self.people[one].name, self.people[other].name)
        link.faults = suffered

    @rule(alone=st.integers(0, 2))
    def part(self, alone: int) -> None:
        """Somebody is cut off."""
        rest = [person for place, person in enumerate(self.people) if place != alone]
        self.world.partition([self.people[alone]], rest)

    @rule()
    def heal(self) -> None:
        """The network is whole again."""
        self.world.network.heal()

    @rule(who=st.integers(0, 2))
    def crash_or_start(self, who: int) -> None:
        """A server loses power, or gets it back, where there is room to start."""
        server = self.people[who].server
        if server.disk.is_full:
            return
        self._do(server.crash_now() if server.is_running else server.start())

    @rule(who=st.integers(0, 2), is_full=st.booleans())
    def fill_or_free(self, who: int, is_full: bool) -> None:  # noqa: FBT001 - hypothesis names it
        """A disk is full, or is freed."""
        self.people[who].server.disk.is_full = is_full

    @rule(who=st.integers(0, 2), hours=st.sampled_from([-30, 0, 30]))
    def set_clock(self, who: int, hours: int) -> None:
        """A clock jumps."""
        self.people[who].server.clock.skew_s = hours * HOUR

    @rule(who=st.integers(0, 2))
    def move(self, who: int) -> None:
        """A server moves to another address, make before break: the others can still call it."""
        server = self.people[who].server
        if server.is_running and not server.disk.is_full:
            routes = server.config.server.public_urls[:1]
            self._do(server.move(*routes, f"http://{server.name}-{self._lines}.test"))

    @rule(seconds=st.sampled_from([0.01, 1.0, 60.0, 6 * HOUR]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._do(self.world.pass_time(seconds))

    @invariant()
    def holds(self) -> None:
        """What must hold at any time."""
        if hasattr(self, "people"):
            self._do(self.world.check())

    def teardown(self) -> None:
        """Make everything whole, and see whether all agree."""
        if not hasattr(self, "world"):
            return
        try:
            if hasattr(self, "room_id"):
                self._do(self._make_whole())
        finally:
            self.world.close()
            self._directory.cleanup()

    async def _make_whole(self) -> None:
        self.world.network.heal()
        for person in self.people:
            person.server.disk.is_full, person.server.clock.skew_s = False, 0.0
        for person in self.people:
            if not person.server.is_running:
                await person.server.start()
        for person in self.people:
            for other in self.people:
                if person is not other and await person.standing(other) == "paused":
                    await person.resume(other)
        await self.world.check_healed()

    def _do(self, story: Coroutine[Any, Any, Any]) -> Any:
        return self.world.run(story)

    def _try(self, story: Coroutine[Any, Any, Any]) -> None:
        """What is refused, or asked of a server that is down, has not happened."""
        with contextlib.suppress(Refused, aiohttp.ClientError):
            self._do(story)
