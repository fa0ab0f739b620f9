"""Complete servers below the API, over the encrypted channel on a transport in memory."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from federation import own_identity
from federation.assembly import Federation, World
from federation.desk import Terms
from federation.introductions.entrance import Entrance
from federation.peer_network import ConnectedPeers, Questions
from federation.ratchets.vodozemac import Vodozemac
from federation.replication.rendering import OwnEvents
from federation.replication.service import Replication, Services
from federation.transport.memory import MemoryNetwork
from homeserver.config import FederationSettings
from homeserver.ephemeral import Typing, TypingBoard
from homeserver.keyring import Keyring
from homeserver.matrix.identifiers import DeviceId, RoomId, UserId
from homeserver.media import Media, MediaFiles, MediaSettings, RemoteFiles
from homeserver.ports import Requester, SystemClock, SystemEntropy
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.backfilling import Backfilling
from homeserver.rooms.creating import RoomCreator
from homeserver.rooms.directory import RoomDirectory
from homeserver.rooms.joining import Asking
from homeserver.rooms.local_server import LocalServer
from homeserver.rooms.membership import Membership
from homeserver.rooms.sending import RoomSender
from homeserver.rooms.spaces import Spaces
from homeserver.rooms.timeline import RoomTimeline
from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps
from tests.replication.stack import Server


class WholeServer(Server):
    """One person's server with everything but its faces."""

    def __init__(
        self, directory: Path, label: str, network: MemoryNetwork, settings: FederationSettings
    ) -> None:
        clock, entropy = SystemClock(), SystemEntropy()
        self.own = own_identity.create(entropy, clock.now_ms())[0]
        self.name = self.own.server_name
        self.user = UserId(f"@{label}:{self.name}")
        self.requester = Requester(self.user, DeviceId("PHONE"))
        self.database = Database(f"sqlite:///{directory / label}.db", WakeUps())
        self.local = LocalServer(self.name, self.own.event_key)
        keyring = Keyring(hashlib.sha256(label.encode()).digest())
        route = f"http://{label}.test:1"
        self.federation = Federation(
            World(self.database, keyring, clock, entropy, network),
            self.own,
            Vodozemac(),
            OwnEvents(settings),
            Terms(label, (route,), settings),
        )
        network.receivers[route] = self.federation.reception.receive
        questions = Questions(self.federation.requests)
        self.replication = Replication(
            self.database, self.local, clock, self.own.identity, questions.ask
        )
        self.network = ConnectedPeers(
            self.database,
            self.federation.requests,
            self.federation.outbox,
            self.replication.cards,
            self.replication.entering,
            Entrance(self.database, clock, self.name, settings.strangers_in_rooms),
        )
        self._build_services(directory / f"{label}-media")

    def _build_services(self, directory: Path) -> None:
        clock, entropy = SystemClock(), SystemEntropy()
        files = MediaFiles(directory, entropy)
        remote = RemoteFiles(self.database, files, self.network, clock)
        limits = MediaSettings(self.name, 10**7, 10**7, 10**6)
        self.media = Media(self.database, files, remote, clock, limits)
        self.board = TypingBoard(clock, entropy)
        self.typing = Typing(self.database, self.board, self.network)
        self.aliases = RoomAliases(self.database, self.local, self.network, clock)
        asking = Asking(self.network, self.replication.verify, self.local)
        self.creator = RoomCreator(self.database, self.local, clock, entropy)
        self.sender = RoomSender(self.database, self.local, clock)
        self.membership = Membership(self.database, self.local, clock, self.aliases, asking)
        backfilling = Backfilling(self.database, self.network, self.replication.verify)
        self.pages = RoomTimeline(self.database, clock, backfilling)
        published = RoomDirectory(self.database, self.local, self.network)
        spaces = Spaces(self.database, self.local, self.network, clock, self.aliases)
        self.replication.serve(
            self.federation.requests,
            self.federation.inbox,
            Services(self.typing, self.aliases, self.media, published, spaces),
        )
        self.federation.lines.when_opened.insert(0, self.replication.greet)

    async def say(self, room_id: RoomId, text: str) -> str:
        content = {"msgtype": "m.text", "body": text}
        txn = f"txn{time.monotonic_ns()}"
        return await self.sender.send_message(
            self.requester, room_id, "m.room.message", content, txn
        )

    async def close(self) -> None:
        await self.federation.stop()
        await self.replication.close()
        await super().close()


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - whatever the condition looks at says nothing
            await asyncio.sleep(0.01)
