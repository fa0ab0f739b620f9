"""The same world over reality: a process for each server, real time, real HTTP, real disks.

A `RealWorld` is used like a `World`. Faults of the network happen in a relay before each server
(`relays`), or for a `HostedWorld` in the kernel. What cannot be done in reality is refused by name
before the story begins.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp

from homeserver.config import FederationSettings
from homeserver.testing import memory_http, relays
from homeserver.testing.client import Client
from homeserver.testing.hosts import Namespace
from homeserver.testing.network import Network
from homeserver.testing.person import Person
from homeserver.testing.processes import OURS, Server, free_port
from homeserver.testing.relays import Relay
from homeserver.testing.scenario_files import ScenarioFile
from homeserver.testing.settling import NeverSettled
from homeserver.testing.simulated_server import PASSWORD, Making, SimulatedClient, SimulatedServer
from homeserver.testing.world import DAY, World

_LONGEST_WAIT_S = 2.0
_HANDSHAKE_S = 60.0
_QUIET_S, _HOPELESS_S, _PATIENCE_S = 1.0, 60.0, 300.0
_LOOK_S = 0.25
# The steps that cannot be done to a process, and why; all others can.
IMPOSSIBLE: Mapping[str, str] = {
    "clock": "all processes have this machine's clock",
    "disk": "all processes have this machine's disk",
    "crash_at": "a process does not stop where its code says so; `crash` ends it anywhere",
    "replay": "a process's files change by themselves, so that nobody sees what a replay changes",
}


class NotInReality(AssertionError):
    """Something was asked of real servers that cannot be done to them."""


class RealClient(SimulatedClient):
    """The ordinary test client, over a socket."""

    def __init__(self, url: str, namespace: Namespace | None = None) -> None:
        super().__init__(memory_http.Listener())
        self.url = url
        self._namespace = namespace

    async def __aenter__(self) -> Self:
        return await Client.__aenter__(self)

    def _connector(self) -> aiohttp.BaseConnector:
        if self._namespace is None:
            return super()._connector()
        return aiohttp.TCPConnector(limit=0, socket_factory=self._namespace.socket)


class RealServer(SimulatedServer):
    """A process, behind the face of a simulated server."""

    def __init__(self, making: Making, process: Server, relay: Relay | None = None) -> None:
        super().__init__(making)
        self.process = process
        self.directory = process.data_dir
        self._relay = relay

    @property
    def is_running(self) -> bool:
        """Whether its process runs."""
        return self.process.process is not None

    @property
    def changes(self) -> int:
        """Nobody counts them from outside."""
        return 0

    async def create(self) -> None:
        """Make keys and account, by the command line."""
        await asyncio.to_thread(self.process.init)

    async def start(self) -> None:
        """Start its process."""
        await asyncio.to_thread(self.process.start)
        status = await self.admin("GET", "/status")
        self.server_name, self.user_id = status["server_name"], status["user_id"]
        for tell in self.when_started:
            tell()

    async def stop(self) -> None:
        """End its process as a service manager does."""
        await asyncio.to_thread(self.process.stop)

    async def crash_now(self) -> None:
        """Kill its process."""
        await asyncio.to_thread(self.process.kill)

    async def gone(self) -> None:
        """It is gone as soon as it was killed."""

    async def move(self, *routes: str) -> None:
        """Be found at another port of loopback; restarts it, if it runs."""
        if routes or self._relay is None:
            raise NotInReality("nobody can choose the address of a relay")
        was_running = self.is_running
        if was_running:
            await self.stop()
        self.process.public_url = await self._relay.move(free_port())
        self.process.write_addresses()
        if was_running:
            await self.start()

    def copy_to(self, directory: Path) -> None:
        """Copy its files as they are; its process is held meanwhile."""
        with self.process.held():
            super().copy_to(directory)

    def replace_by(self, directory: Path) -> None:
        """Put a copy in the place of its files. Its address stays what it is."""
        super().replace_by(directory)
        self.process.write_addresses()

    def back_up(self, file: Path) -> None:
        """Write a sealed file, by the command line."""
        self.process.back_up(file)

    async def put_back(self, file: Path) -> None:
        """Become what a sealed file holds, by the command line."""
        await asyncio.to_thread(self.process.restore, file)
        self.process.write_addresses()

    def client(self) -> SimulatedClient:
        """A client of its owner, not yet logged in."""
        return RealClient(self.process.url, self.process.namespace)

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Ask its admin API with the token in its data directory."""
        async with RealClient(self.process.admin_url, self.process.namespace) as client:
            client.access_token = (self.directory / "admin.token").read_text().strip()
            return await client.request(method, f"/_homeserver/admin/v1{path}", body)


class RealWorld(World):
    """Processes, the people they belong to, and relays between them.

    `launchers` are the programs of those who have another than this one's.
    """

    kind_of_time = "seconds"

    def __init__(self, directory: Path, seed: int = 0, *, network: Network | None = None) -> None:
        super().__init__(directory, seed)
        self._loop.close()
        self._loop = asyncio.new_event_loop()
        self.network = network or Network(seed)
        self.launchers: Mapping[str, Sequence[str]] = {}
        self._begun = time.monotonic()
        self._relays: list[Relay] = []

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    async def person(
        self, name: str, *, is_reachable: bool = True, settings: FederationSettings | None = None
    ) -> Person:
        """Give somebody a server, start it and log in."""
        if settings is not None:
            raise NotInReality("settings of one server cannot be chosen in reality")
        making = Making(name, self.directory, self.seed, self.network, is_reachable=is_reachable)
        server = await self._make(making)
        person = self.people[name] = Person(server)
        await server.create()
        await server.start()
        await person.log_in()
        return person

    async def connect(self, inviter: Person, invitee: Person) -> None:
        """Let both say yes, and wait until both servers know."""
        await invitee.open_link(await inviter.invitation())
        end = self.now + _HANDSHAKE_S
        while {await inviter.standing(invitee), await invitee.standing(inviter)} != {"active"}:
            if self.now > end:
                raise AssertionError(f"{inviter.name} and {invitee.name} did not get connected")
            await asyncio.sleep(_LOOK_S)
        await self.settle()

    async def settle(self, within: float | None = None) -> None:
        """Wait until nothing is left to do, or nobody gets further for a minute; then check."""
        end = self.now + (within or _PATIENCE_S)
        before, since = await self._pending(), self.now
        while self.now - since < (_HOPELESS_S if any(before) else _QUIET_S):
            if self.now > end:
                raise NeverSettled(f"so much still waits: {before}")
            await asyncio.sleep(_LOOK_S)
            pending = await self._pending()
            if pending != before:
                before, since = pending, self.now
        if self.checks_itself:
            await self.check()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, but only a few seconds of it."""
        if seconds > DAY:
            raise NotInReality("more than a day cannot pass in reality")
        await asyncio.sleep(min(seconds, _LONGEST_WAIT_S))

    def _check_wire(self) -> None:
        """Nobody sees what processes send."""

    async def _make(self, making: Making) -> RealServer:
        """A server that nobody has started, and the relay in front of it."""
        process = self._process(making, free_port())
        relay = Relay(making.name, self.network, process.port, self._processes)
        route = await relay.open(free_port())
        self._relays.append(relay)
        process.public_url = route if making.is_reachable else None
        return RealServer(making, process, relay)

    def _process(self, making: Making, port: int) -> Server:
        return Server(
            directory=self.directory / making.name,
            user=making.name,
            password=PASSWORD,
            port=port,
            launcher=self.launchers.get(making.name, OURS),
            # Nobody wants to wait an hour for a test.
            environment={"HOMESERVER__FEDERATION__RETRY_MAX_SECONDS": "5"},
        )

    async def _pending(self) -> list[int]:
        """What waits at each server, and handshakes that are under way."""
        found = []
        for person in self.people.values():
            if person.server.is_running:
                status = await person.status()
                peers = status["peers"]
                found.append(
                    status["outbox_pending"]
                    + status["inbox_pending"]
                    + peers.get("requested", 0)
                    + peers.get("offered", 0)
                )
        return found

    def _processes(self) -> dict[str, int]:
        found = {}
        for name, person in self.people.items():
            server = person.server
            if isinstance(server, RealServer) and server.process.process is not None:
                found[name] = server.process.process.pid
        return found

    async def _close(self) -> None:
        for person in self.people.values():
            await person.leave()
            if isinstance(person.server, RealServer):
                person.server.process.kill()
        await self.network.close()
        for relay in self._relays:
            await relay.close()


def refusals(
    file: ScenarioFile,
    impossible: Mapping[str, str] = IMPOSSIBLE,
    *,
    needs_callers: bool = True,
) -> list[str]:
    """What of a scenario cannot happen in reality, each with its place.

    Relays do to boxes between two servers what they shall only if they know who calls.
    """
    is_blind = needs_callers and not relays.knows_callers()
    found = []
    for number, step in enumerate(file.scenario.story):
        why = None
        if step.word in impossible:
            why = f"cannot happen in reality: {impossible[step.word]}"
        elif step.word == "wait" and step.content > DAY:
            why = "more than a day cannot pass in reality"
        elif is_blind and _needs_callers(step.word, step.content):
            why = "needs to know who calls, which this system does not tell"
        if why is not None:
            found.append(f"{file.place('story', number)}: {step.word}: {why}")
    return found


def _needs_callers(word: str, content: Any) -> bool:
    return word == "partition" or (
        word == "faults" and (content.between is not None or content.one_way is not None)
    )
