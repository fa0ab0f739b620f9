"""Any number of complete servers in one process, on virtual time and a virtual network.

One seed decides everything: what the network loses, what servers draw, when pauses end. The same
seed tells the same story again.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from federation.ratchets.interface import Ratchets
from homeserver.config import FederationSettings
from homeserver.testing import invariants, ratchet_watch, settling
from homeserver.testing.box_kinds import BoxKinds
from homeserver.testing.network import Network
from homeserver.testing.person import Person
from homeserver.testing.runs import Crashed
from homeserver.testing.settling import NeverSettled
from homeserver.testing.simulated_server import Making, SimulatedServer, never
from homeserver.testing.thrift import Thrift
from homeserver.testing.virtual_time import VirtualLoop
from homeserver.testing.wire_watch import WireWatch

T = TypeVar("T")

_QUIET_S = 2.0
_HANDSHAKE_PATIENCE_S = 1_500.0
_LONGEST_LOOK_S = 30.0
_TRIES_TO_JOIN = 10
_LONG_HISTORY = 500
HOUR = 3_600.0
DAY = 24 * HOUR


class World:
    """Servers, the people they belong to, and the network between them."""

    kind_of_time = "virtual seconds"

    def __init__(
        self,
        directory: Path,
        seed: int = 0,
        *,
        settings: FederationSettings | None = None,
        ratchets: Ratchets | None = None,
        thrift: Thrift | None = None,
        network: Network | None = None,
    ) -> None:
        self.directory = directory
        self.seed = seed
        self.network = network or Network(seed)
        self.people: dict[str, Person] = {}
        self.checks_itself = True
        self.patience_s = 2 * DAY
        self.watch = WireWatch(self._server)
        self.network.watchers.append(self.watch.see)
        if thrift is None:
            self.network.label = BoxKinds(self._server).name
        self._settings = settings or FederationSettings()
        self._ratchets = ratchets
        self._thrift = thrift
        self._loop: asyncio.AbstractEventLoop = VirtualLoop()

    @property
    def servers(self) -> list[SimulatedServer]:
        """Every server, running or not."""
        return [person.server for person in self.people.values()]

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """What its time passes on."""
        return self._loop

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return self._loop.time()

    def run(self, story: Coroutine[Any, Any, T]) -> T:
        """Let a story happen in this world; what it returns."""
        return self._loop.run_until_complete(story)

    def close(self) -> None:
        """Stop every server that runs, and end time."""
        try:
            self.run(self._close())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def person(
        self,
        name: str,
        *,
        is_reachable: bool = True,
        settings: FederationSettings | None = None,
    ) -> Person:
        """Give somebody a server, start it and log in."""
        settings = settings or self._settings
        making = Making(
            name,
            self.directory,
            self.seed,
            self.network,
            is_reachable=is_reachable,
            settings=settings,
            ratchets=self._watched(settings),
            thrift=self._thrift,
        )
        server = SimulatedServer(making)
        person = self.people[name] = Person(server)
        await server.create()
        await server.start()
        await person.log_in()
        return person

    async def persons(self, *names: str) -> list[Person]:
        """Give several people servers."""
        return [await self.person(name) for name in names]

    async def connect(self, inviter: Person, invitee: Person) -> None:
        """Let both say yes, and wait until both servers know."""
        await invitee.open_link(await inviter.invitation())
        await self.settle()
        if await inviter.standing(invitee) != "active":
            raise AssertionError(f"{inviter.name} and {invitee.name} did not get connected")

    async def befriended(self, *names: str) -> list[Person]:
        """People of whom each is connected to each."""
        people = await self.persons(*names)
        for place, one in enumerate(people):
            for other in people[place + 1 :]:
                await self.connect(one, other)
        return people

    async def room(self, owner: Person, *others: Person, **options: Any) -> str:
        """A room in which all of them are."""
        room_id = await owner.create_room(*others, **options)
        for other in others:
            await self.settle()
            await other.join(room_id, _TRIES_TO_JOIN)
        await self.settle()
        return room_id

    async def settle(self, within: float | None = None) -> None:
        """Let time pass until nobody has anything left to do; then check every invariant.

        Raises `NeverSettled` if that takes longer than `within`, or `patience_s` (two days).
        """
        end = self.now + (self.patience_s if within is None else within)
        quiet_since, before, look = self.now, self._changes(), 0.1
        while True:
            await asyncio.sleep(look)
            changes, waiting = self._changes(), settling.what_waits(self.servers, self.network)
            if changes != before or waiting:
                quiet_since = self.now
            look = 0.1 if changes != before else min(look * 1.5, _LONGEST_LOOK_S)
            before = changes
            patience = _QUIET_S
            if settling.who_shakes_hands(self.servers):
                patience = _HANDSHAKE_PATIENCE_S
            if not waiting and self.now - quiet_since >= patience:
                break
            if self.checks_itself:
                with self._telling_the_seed():
                    self._check_wire()
            if self.now > end:
                raise NeverSettled("; ".join(waiting) or "somebody writes all the time")
        if self.checks_itself:
            await self.check()

    async def pass_time(self, seconds: float) -> None:
        """Let this much time pass, whatever happens."""
        await asyncio.sleep(seconds)

    async def check(self) -> None:
        """Check what must hold at any time; raises `Broken`, naming the seed."""
        with self._telling_the_seed():
            self._check_wire()
            await invariants.check_always(list(self.people.values()))

    async def check_step(self) -> None:
        """The same after one step of a story, without reading long histories again and again."""
        with self._telling_the_seed():
            self._check_wire()
            await invariants.check_always(list(self.people.values()), _LONG_HISTORY)

    async def check_healed(self) -> None:
        """Check what must hold once the network is whole and everything has settled.

        Nobody has to speak for it: servers join the ends of a room's graph by themselves.
        """
        await self.settle()
        with self._telling_the_seed():
            await invariants.check_healed(list(self.people.values()))

    async def make_whole(self) -> None:
        """End whatever a story has done to network and machines: all can go on from here."""
        self.network.heal()
        for server in self.servers:
            self.network.put_behind_nat(server.name, is_behind=False)
            server.disk.is_full, server.disk.seconds_per_write = False, 0.0
            server.clock.skew_s = 0.0
            server.crash_at = never
            await server.gone()
        for server in self.servers:
            if not server.is_running:
                await server.start()

    def partition(self, *groups: list[Person]) -> None:
        """Let nothing pass between these groups of people."""
        for place, group in enumerate(groups):
            for other in groups[place + 1 :]:
                for one in group:
                    for another in other:
                        self.network.between(one.name, another.name, is_cut=True)

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Keep every request that passes, for replaying it."""
        self.network.is_recording = True
        yield
        self.network.is_recording = False

    @contextlib.contextmanager
    def _telling_the_seed(self) -> Iterator[None]:
        try:
            yield
        except AssertionError as broken:
            raise invariants.Broken(
                f"seed {self.seed}, second {self.now:.0f}: {broken}"
            ) from broken

    def _check_wire(self) -> None:
        self.watch.look_at_inboxes(self.servers, self.now)
        invariants.check_wire(self.watch)

    def _watched(self, settings: FederationSettings) -> Ratchets:
        uses, sealed = self.watch.uses, self.watch.letters
        if self._thrift is not None and self._ratchets is not None:
            return self._ratchets
        if self._ratchets is not None:
            return ratchet_watch.WatchedRatchets(self._ratchets, uses, sealed)
        return ratchet_watch.watched(settings.ratchets, uses, sealed)

    def _server(self, name: str) -> SimulatedServer | None:
        person = self.people.get(name)
        return None if person is None else person.server

    def _changes(self) -> int:
        return sum(server.changes for server in self.servers if server.is_running)

    async def _close(self) -> None:
        await self.network.close()
        for person in self.people.values():
            await person.leave()
            await person.server.gone()
            if person.server.is_running:
                with contextlib.suppress(Crashed):  # a crash that is still due happens here
                    await person.server.stop()
                await person.server.gone()
