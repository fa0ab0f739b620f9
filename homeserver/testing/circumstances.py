"""For hypothesis, which has to be installed: networks and machines that suffer anything.

What owners do meanwhile is in `strategies`.
"""

import contextlib
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from homeserver.crash_points import Point
from homeserver.testing.client import Refused
from homeserver.testing.crashing import CrashAfter, CrashAt
from homeserver.testing.network import Faults
from homeserver.testing.person import Acknowledged, Person
from homeserver.testing.runs import Crashed
from homeserver.testing.schedules import faults
from homeserver.testing.world import HOUR, World

WHO = st.integers(0, 2)
_MOST_BOUNDARIES = 60
_OWN_FAULT = 500


class Circumstances(RuleBasedStateMachine):
    """Three friends in a room, a network and three machines that do what hypothesis likes.

    What must hold is checked after every step, and at the end, when everything is whole again, that
    all agree.
    """

    names = ("alice", "bob", "carol")

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory(prefix="homeserver-owners-")
        self._steps = 0
        # By whose they are: the files, and what their owners had been told is kept.
        self._copies: dict[str, tuple[Path, Acknowledged]] = {}
        self._backups: dict[str, tuple[Path, Acknowledged]] = {}

    @initialize(seed=st.integers(1, 1_000))
    def begin(self, seed: int) -> None:
        """Everybody knows everybody and is in one room."""
        self.world = World(Path(self._directory.name), seed)
        self.world.checks_itself = False
        self.people: list[Person] = self.do(self.world.befriended(*self.names))
        self.room_id: str = self.do(self.world.room(*self.people))

    # The network

    @rule(suffered=faults(), one=WHO, other=WHO)
    def disturb(self, suffered: Faults, one: int, other: int) -> None:
        """A link becomes bad, in one direction."""
        link = self.world.network.link(self.people[one].name, self.people[other].name)
        link.faults = suffered

    @rule(alone=WHO)
    def part(self, alone: int) -> None:
        """Somebody is cut off."""
        rest = [person for place, person in enumerate(self.people) if place != alone]
        self.world.partition([self.people[alone]], rest)

    @rule(who=WHO, is_behind=st.booleans())
    def go_behind_nat(self, who: int, is_behind: bool) -> None:  # noqa: FBT001 - hypothesis names it
        """Somebody can only call from now on, or can be called again."""
        self.world.network.put_behind_nat(self.people[who].name, is_behind=is_behind)

    @rule()
    def heal(self) -> None:
        """The network is whole again."""
        self.world.network.heal()

    @rule(who=WHO)
    def move(self, who: int) -> None:
        """A server moves to another address, make before break: the others can still call it."""
        server = self.people[who].server
        if server.is_running and not server.disk.is_full:
            routes = server.config.server.public_urls[:1]
            self.attempt(server.move(*routes, f"http://{server.name}-{self.number()}.test"))

    # The machines

    @rule(who=WHO)
    def crash_or_start(self, who: int) -> None:
        """A server loses power, or gets it back, where there is room to start."""
        server = self.people[who].server
        if server.is_running:
            self.do(server.crash_now())
        elif not server.disk.is_full:
            self.attempt(server.start())

    @rule(who=WHO, point=st.sampled_from(Point))
    def lose_power_at(self, who: int, point: Point) -> None:
        """Power goes when the server next comes to a named point."""
        self.people[who].server.crash_at = CrashAt(point)

    @rule(who=WHO, boundaries=st.integers(0, _MOST_BOUNDARIES))
    def lose_power_after(self, who: int, boundaries: int) -> None:
        """Power goes after so many boundaries of commits."""
        self.people[who].server.crash_at = CrashAfter(boundaries)

    @rule(who=WHO, is_full=st.booleans(), seconds=st.sampled_from([0.0, 5.0]))
    def wear_out(self, who: int, is_full: bool, seconds: float) -> None:  # noqa: FBT001
        """A disk is full, or slow, or neither."""
        disk = self.people[who].server.disk
        disk.is_full, disk.seconds_per_write = is_full, seconds

    @rule(who=WHO, hours=st.sampled_from([-30, 0, 30]))
    def set_clock(self, who: int, hours: int) -> None:
        """A clock jumps."""
        self.people[who].server.clock.skew_s = hours * HOUR

    @rule(who=WHO)
    def copy(self, who: int) -> None:
        """Somebody copies the files of a server, running or not."""
        person, file = self.people[who], self._place("copy")
        person.server.copy_to(file)
        self._copies[person.name] = file, person.what_was_acknowledged()

    @rule(who=WHO)
    def go_back(self, who: int) -> None:
        """The files of a server are those of an older copy again."""
        person = self.people[who]
        if person.name in self._copies and not person.server.disk.is_full:
            copied, acknowledged = self._copies[person.name]
            self.do(person.server.crash_now())
            person.server.replace_by(copied)
            self._come_back(person, acknowledged)

    @rule(who=WHO)
    def back_up(self, who: int) -> None:
        """Somebody makes a backup."""
        person, file = self.people[who], self._place("backup")
        person.server.back_up(file)
        self._backups[person.name] = file, person.what_was_acknowledged()

    @rule(who=WHO)
    def restore(self, who: int) -> None:
        """A server comes back from an older backup."""
        person = self.people[who]
        if person.name in self._backups and not person.server.disk.is_full:
            file, acknowledged = self._backups[person.name]
            self.do(person.server.crash_now())
            self.do(person.server.put_back(file))
            self._come_back(person, acknowledged)

    @rule(seconds=st.sampled_from([0.01, 1.0, 60.0, 6 * HOUR]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.do(self.world.pass_time(seconds))

    @invariant()
    def holds(self) -> None:
        """What must hold at any time."""
        if hasattr(self, "people"):
            self.do(self.world.check())

    def teardown(self) -> None:
        """Make everything whole, and see whether all agree."""
        if not hasattr(self, "world"):
            return
        try:
            if hasattr(self, "room_id"):
                self.do(self.world.make_whole())
                self.do(self.end_well())
        finally:
            self.world.close()
            self._directory.cleanup()

    async def end_well(self) -> None:
        """What has to hold in the end, once everything is whole."""
        await self.world.check_healed()

    def do(self, story: Coroutine[Any, Any, Any]) -> Any:
        """Let something happen that has to succeed."""
        return self.world.run(story)

    def attempt(self, story: Coroutine[Any, Any, Any]) -> None:
        """What is refused, or asked of a server that is down or goes down, has not happened."""
        try:
            with contextlib.suppress(aiohttp.ClientError, Crashed):
                self.do(story)
        except Refused as refused:
            has_room = not any(person.server.disk.is_full for person in self.people)
            if refused.status == _OWN_FAULT and has_room:
                raise

    def number(self) -> int:
        """The next of all numbers: nothing is called like anything before."""
        self._steps += 1
        return self._steps

    def _place(self, kind: str) -> Path:
        return Path(self._directory.name) / f"{kind}-{self.number()}"

    def _come_back(self, person: Person, acknowledged: Acknowledged) -> None:
        self.do(person.server.start())
        person.go_back_to(acknowledged)
