"""One whole server in a simulation: the real wiring on virtual time, network and chance."""

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from federation.ratchets.interface import Ratchets
from homeserver.accounts.passwords import Passwords
from homeserver.app import backing_up, initialising, putting_back, wiring
from homeserver.app.surroundings import Surroundings
from homeserver.config import Config, FederationSettings, Listener, RateLimits, ServerSettings
from homeserver.crash_points import Point
from homeserver.keyring import Keyring
from homeserver.storage.wake_ups import WakeUps
from homeserver.testing import memory_http
from homeserver.testing.chance import SeededEntropy
from homeserver.testing.client import Client
from homeserver.testing.disk import Disk, SimulatedFiles
from homeserver.testing.memory_http import MemoryConnector
from homeserver.testing.network import Network, Socket
from homeserver.testing.runs import Crashed, Run
from homeserver.testing.thrift import Thrift
from homeserver.testing.virtual_time import VirtualClock
from homeserver.testing.watched_database import Boundary, WatchedDatabase

PASSWORD = "simulated"  # noqa: S105 - of people who do not exist
_ADMIN_TOKEN = "simulated-admin-token"  # noqa: S105
_SERVES = ("client", "federation", "admin")


class NotRunning(AssertionError):
    """A simulation asked something of a server that is not running."""


class PlainPasswords(Passwords):
    """Passwords that cost nothing. They stand in for argon2 in simulations only."""

    async def hash(self, password: str) -> str:
        """Keep it as it is."""
        return f"plain:{password}"

    async def is_right(self, password: str, password_hash: str | None) -> bool:
        """Compare it."""
        return password_hash == f"plain:{password}"


@dataclass(frozen=True, slots=True)
class Making:
    """How a server is made: its name, whether others can reach it, its settings."""

    name: str
    directory: Path
    seed: object
    network: Network
    is_reachable: bool = True
    settings: FederationSettings = field(default_factory=FederationSettings)
    ratchets: Ratchets | None = None
    thrift: Thrift | None = None  # what it shares with the others of a very large world


class SimulatedServer:
    """A server that can be stopped, killed, copied and started again."""

    def __init__(self, making: Making) -> None:
        self.name = making.name
        self.directory = making.directory / making.name
        self.clock = VirtualClock()
        self.entropy = SeededEntropy(making.seed, making.name)
        self.config = _config(self.directory, making, f"http://{making.name}.test")
        self._moves = 0
        self.disk = Disk()
        self.crash_at: Callable[[Boundary], bool] = never
        self.boundaries: list[Boundary] = []
        self.server_name = ""
        self.user_id = ""
        self.when_started: list[Callable[[], None]] = []
        self._making = making
        self._keyring = Keyring(hashlib.sha256(f"{making.seed}/{making.name}".encode()).digest())
        self._listener = memory_http.Listener()
        self._built: wiring.Server | None = None
        self._run: Run | None = None
        self._runner: web.AppRunner | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it answers at all."""
        return self._run is not None and not self._run.is_over

    @property
    def listener(self) -> memory_http.Listener:
        """Where its owner's clients come in."""
        return self._listener

    @property
    def built(self) -> wiring.Server:
        """The server's own objects, for the harness; a test asks the APIs instead."""
        if self._built is None or not self.is_running:
            raise NotRunning(f"{self.name} is not running")
        return self._built

    @property
    def changes(self) -> int:
        """How many rows this run has written."""
        return self._database.changes

    async def create(self) -> None:
        """Make keys and account, as `homeserver init` does."""
        self.directory.mkdir(parents=True)
        (self.directory / "admin.token").write_text(_ADMIN_TOKEN)
        if self._making.thrift is not None:
            self._making.thrift.furnish(self.directory)
        made = await initialising.found(
            self.config,
            self._keyring,
            (self.name, f"plain:{PASSWORD}"),
            self._surroundings(),
            welcomes=False,  # a story begins without rooms
        )
        self.server_name, self.user_id = made.server_name, made.user_id

    async def start(self) -> None:
        """Start it on whatever its directory holds."""
        await self.gone()
        if self.is_running:
            raise AssertionError(f"{self.name} is running already")
        self._run = run = Run(self.name)
        run.reaches = self._reach
        await run.do(self._start(run))
        for tell in self.when_started:
            tell()

    async def stop(self) -> None:
        """Stop it as a service manager does; nothing is left half done."""
        run, built = self._run, self.built
        if run is None or self._runner is None:
            raise NotRunning(self.name)
        self._making.network.deafen(self.name)
        await run.do(self._runner.cleanup())
        await run.do(built.close())
        run.cut()
        await run.clear()
        self._run = self._built = None

    def crash(self) -> None:
        """Cut the power, here and now. What is cut off ends as soon as the loop turns."""
        if self._run is None or self._run.is_over:
            return
        self._database.die()
        self._making.network.deafen(self.name)
        self._run.cut()
        ending = self._end(self._run, self._database)
        self._ending = asyncio.Task(ending, loop=asyncio.get_running_loop())

    async def crash_now(self) -> None:
        """Cut the power, and wait until everything is down."""
        self.crash()
        await self.gone()

    async def gone(self) -> None:
        """Wait until a crash has ended everything."""
        if self._ending is not None:
            await self._ending
            self._ending = None

    async def restart(self) -> None:
        """Stop it, if it runs, and start it again."""
        if self.is_running:
            await self.stop()
        await self.start()

    async def move(self, *routes: str) -> None:
        """Be found at these routes from now on and nowhere else; restarts it, if it runs.

        Without any, at one that nobody has used. Peers learn of it from the server alone.
        """
        self._moves += 1
        routes = routes or (f"http://{self.name}-{self._moves}.test",)
        was_running = self.is_running
        if was_running:
            await self.stop()
        addressed = self.config.server.model_copy(update={"public_urls": routes})
        self.config = self.config.model_copy(update={"server": addressed})
        if was_running:
            await self.start()

    def copy_to(self, directory: Path) -> None:
        """Copy its files as they are, running or not: a backup without asking the program."""
        shutil.copytree(self.directory, directory)

    def replace_by(self, directory: Path) -> None:
        """Put a copy in the place of its files. It must not be running."""
        if self.is_running:
            raise AssertionError(f"{self.name} is running")
        shutil.rmtree(self.directory)
        shutil.copytree(directory, self.directory)

    async def restore(self, directory: Path) -> None:
        """Put a copy in the place of its files as `homeserver restore` does. It must not run."""
        self.replace_by(directory)
        await putting_back.make_safe(self.config, self._keyring, self._surroundings())

    def back_up(self, file: Path) -> None:
        """Write the sealed file that `homeserver backup` writes. It may be running."""
        settings = self.directory / backing_up.SETTINGS
        settings.write_text("data_dir: .\n")
        backing_up.back_up(self.config, settings, file, PASSWORD)

    async def put_back(self, file: Path) -> None:
        """Become what a sealed file holds, as `homeserver restore` does it. It must not run."""
        staging = self.directory.with_name(f"{self.name}.restoring")
        staging.mkdir()
        putting_back.unpack(file, staging, PASSWORD)
        (staging / backing_up.DATABASE).rename(staging / "homeserver.db")
        await self.restore(staging)
        shutil.rmtree(staging)

    def client(self) -> "SimulatedClient":
        """A client of its owner, not yet logged in."""
        return SimulatedClient(self._listener)

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Ask its admin API, as the command line does."""
        async with self.client() as client:
            client.access_token = _ADMIN_TOKEN
            return await client.request(method, f"/_homeserver/admin/v1{path}", body)

    async def receive(
        self, address: bytes, box: bytes, socket: asyncio.BaseTransport | None
    ) -> bytes | None:
        """Take a box from the network."""
        if self._run is None:
            raise Crashed(self.name)
        reception = self.built.peers.federation.reception
        return await self._run.do(reception.receive(address, box, socket))

    async def _start(self, run: Run) -> None:
        self._built = built = wiring.build(self.config, self._keyring, self._surroundings())
        self._runner = web.AppRunner(
            built.application(_SERVES),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
            handler_cancellation=True,
        )
        await self._runner.setup()
        if self._runner.server is None:
            raise NotRunning(self.name)
        self._listener.open(self._runner.server, run)
        for route in self.config.server.public_urls:
            self._making.network.listen(route, self.name, self.receive)
        await built.start_workers()

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self.clock,
            self.entropy,
            self._open_database,
            PlainPasswords,
            lambda path, entropy: SimulatedFiles(path, entropy, self.disk),
            Socket(self._making.network, self.name),
            self._making.ratchets,
        )

    def _open_database(self, url: str, wake_ups: WakeUps) -> WatchedDatabase:
        open_database: Callable[..., WatchedDatabase] = WatchedDatabase
        if self._making.thrift is not None:
            open_database = self._making.thrift.open_database
        self._database = open_database(url, wake_ups, self._watch, self.disk)
        return self._database

    def _reach(self, point: Point) -> bool:
        return self._watch(Boundary(self._database.commits, "at", point.value))

    def _watch(self, boundary: Boundary) -> bool:
        if self._run is None or self._run.is_over:
            return False
        self.boundaries.append(boundary)
        if not self.crash_at(boundary):
            return False
        self.crash_at = never
        self.crash()
        return True

    async def _end(self, run: Run, database: WatchedDatabase) -> None:
        await run.clear()
        database.drop()
        self._built = None


class SimulatedClient(Client):
    """The ordinary test client, connected without sockets."""

    def __init__(self, listener: memory_http.Listener) -> None:
        super().__init__("http://simulated.test")
        self._listener = listener

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=MemoryConnector(self._listener))
        return self


def _config(directory: Path, making: Making, route: str) -> Config:
    serves = _SERVES if making.is_reachable else ("client", "admin")
    return Config(
        data_dir=directory,
        server=ServerSettings(
            user_name=making.name, public_urls=(route,) if making.is_reachable else ()
        ),
        listeners=(Listener(serves=serves),),
        federation=making.settings,
        rate_limits=RateLimits(enabled=False),
    )


def never(_boundary: Boundary) -> bool:
    """Nothing is planned: no crash at any boundary."""
    return False
