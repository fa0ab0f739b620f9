"""One complete federation side of a server for tests: a database, keys, and a transport."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from federation import own_identity
from federation.assembly import Federation, World
from federation.desk import Terms
from federation.inbox import Finish
from federation.own_identity import OwnIdentity
from federation.ratchets.interface import Ratchets
from federation.ratchets.vodozemac import Vodozemac
from federation.transport.interface import Transport
from homeserver.config import FederationSettings
from homeserver.keyring import Keyring
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.ports import Clock, Entropy, SystemEntropy
from homeserver.storage import frames
from homeserver.storage.database import Database
from homeserver.storage.sharing import Audience
from homeserver.storage.unit_of_work import UnitOfWork, View
from homeserver.storage.wake_ups import WakeUps

ROOM = RoomId("!room")
NOBODY = Audience(b"[]", frozenset(), 0)


@dataclass
class Rooms:
    """Events of ours by position, as replication would find them."""

    events: list[tuple[int, bytes]] = field(default_factory=list)
    heard_by: Audience = NOBODY

    def pdus_for(
        self, _view: View, _peer: ServerName, _room_id: RoomId, after: int, limit: int
    ) -> Sequence[tuple[int, bytes]]:
        return [one for one in self.events if one[0] > after][:limit]

    def catch_up_from(self, _view: View, _peer: ServerName, _room_id: RoomId, after: int) -> int:
        return after

    def audience(self, _view: View, _room_id: RoomId) -> Audience:
        return self.heard_by


class Node:
    """A server that can be stopped, and started again on the same database."""

    def __init__(
        self,
        directory: Path,
        name: str,
        transport: Transport,
        *,
        routes: tuple[str, ...] = (),
        clock: Clock,
        entropy: Entropy | None = None,
        ratchets: Ratchets | None = None,
        settings: FederationSettings | None = None,
        inline: bool = True,
    ) -> None:
        self.name = name
        self.path = directory / f"{name}.db"
        self.transport = transport
        self.routes = routes
        self.clock = clock
        self.entropy = entropy or SystemEntropy()
        self.ratchets = ratchets or Vodozemac()
        self.settings = settings or FederationSettings()
        self.inline = inline
        self.keyring = Keyring(hashlib.sha256(name.encode()).digest())
        self.own: OwnIdentity = own_identity.create(self.entropy, clock.now_ms())[0]
        self.rooms = Rooms()
        self.taken: list[JsonObject] = []
        self.items: list[JsonObject] = []
        self.came = asyncio.Event()
        self.database: Database
        self.federation: Federation

    @property
    def server_name(self) -> ServerName:
        return self.own.server_name

    def start(self) -> None:
        self.database = Database(f"sqlite:///{self.path}", WakeUps(), inline=self.inline)
        world = World(self.database, self.keyring, self.clock, self.entropy, self.transport)
        terms = Terms(self.name, self.routes, self.settings)
        self.federation = Federation(world, self.own, self.ratchets, self.rooms, terms)
        self.federation.inbox.register_items(self.take_items)
        self.federation.inbox.register_transactions(self.take_in)
        self.federation.start()

    async def stop(self) -> None:
        await self.federation.stop()
        self.database.close()

    async def receive(
        self,
        address: bytes,
        box: bytes,
        socket: asyncio.BaseTransport | None,
        *,
        is_limited: bool = False,
    ) -> bytes | None:
        receive = self.federation.reception.receive
        return await receive(address, box, socket, is_limited=is_limited)

    def take_items(self, _work: UnitOfWork, _peer: ServerName, items: Sequence[JsonObject]) -> None:
        self.items += items

    async def take_in(self, _peer: ServerName, transaction: JsonObject, finish: Finish) -> None:
        await self.database.write(finish)
        self.taken.append(transaction)
        self.came.set()

    async def send(self, peer: ServerName, *texts: str) -> None:
        """Send events into the shared room, as `append` would."""

        def operation(work: UnitOfWork) -> list[tuple[int, bytes]]:
            added = []
            for text in texts:
                position = work.next_position()
                added.append((position, orjson.dumps({"text": text})))
                frames.queue_room(work, peer, ROOM)
            self.rooms.events.extend(added)
            return added

        await self.database.write(operation)

    @property
    def texts(self) -> list[str]:
        """The texts of all events that came, in order."""
        return [pdu["text"] for transaction in self.taken for pdu in transaction["pdus"]]
