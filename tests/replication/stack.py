"""Complete servers below the API, joined by direct calls instead of the encrypted channel."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from federation import filling, grants, own_identity, payloads
from federation.filling import Offer
from federation.own_identity import OwnIdentity
from federation.replication import media_parts
from federation.replication.answers import Answers, Outside
from federation.replication.browsing import Browsing
from federation.replication.cards import Cards
from federation.replication.entering import Entering
from federation.replication.events import EventIntake
from federation.replication.fetching import Fetching, complete_join
from federation.replication.joining import Joining
from federation.replication.people import People
from federation.replication.rendering import OwnEvents
from federation.replication.updates import Updates
from homeserver import errors
from homeserver.accounts import registration
from homeserver.config import DefaultGrants, FederationSettings
from homeserver.ephemeral import Typing, TypingBoard
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, EventId, RoomId, ServerName, UserId
from homeserver.media import Media, MediaFiles, MediaSettings, RemoteFiles
from homeserver.ports import PeerFile, Requester
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.creating import RoomCreator
from homeserver.rooms.directory import RoomDirectory
from homeserver.rooms.joining import Asking
from homeserver.rooms.local_server import LocalServer
from homeserver.rooms.membership import Membership
from homeserver.rooms.sending import RoomSender
from homeserver.rooms.spaces import Spaces
from homeserver.storage import accounts, events, frames, peers, room_state, rooms
from homeserver.storage.accounts import Device
from homeserver.storage.database import Database
from homeserver.storage.events import Point, StoredEvent
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.storage.wake_ups import WakeUps

START_MS = 1_700_000_000_000


class Clock:
    """Each look at it is a millisecond later."""

    def __init__(self) -> None:
        self.now = START_MS

    def now_ms(self) -> int:
        self.now += 1
        return self.now

    def monotonic(self) -> float:
        return self.now / 1000

    async def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1000)
        await asyncio.sleep(0)


class Entropy:
    """Chance from a seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def random(self) -> float:
        return self._random.random()


class Wire:
    """One server's way to its peers: their answers are called directly, JSON both ways."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self.asked: list[tuple[ServerName, str]] = []
        self.told: list[tuple[ServerName, JsonObject]] = []
        self.tamper: Callable[[str, JsonObject], JsonObject] = lambda _operation, answer: answer

    def is_awake(self, peer: ServerName) -> bool:
        return peer in self._server.reachable

    async def ask(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        answer = await self.ask_one(peer, operation, body, timeout_s)
        if operation == "send_join":
            room_id, join = RoomId(body["room_id"]), EventId(body["event_id"])
            return await complete_join(self.ask_one, peer, room_id, join, answer)
        return answer

    async def ask_one(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        return (await self.ask_for_bytes(peer, operation, body, timeout_s))[0]

    async def ask_for_bytes(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> tuple[JsonObject, bytes]:
        other = self._server.reachable.get(peer)
        if other is None:
            raise errors.PeerUnreachable
        self.asked.append((peer, operation))
        grant = payloads.OPERATIONS[operation]
        if not other.database.read(lambda view: peers.may(view, self._server.name, grant)):
            raise errors.PeerRefused
        try:
            asked = orjson.loads(orjson.dumps(body))
            answer, attached = await other.answers.answer(self._server.name, operation, asked)
        except errors.HomeserverError as error:
            raise errors.PeerRefused(str(error)) from error
        raw = orjson.dumps(answer)
        assert len(raw) + len(attached) < 250 * 1024
        return self.tamper(operation, orjson.loads(raw)), attached

    async def fetch_media(self, peer: ServerName, media_id: str) -> PeerFile:
        return await media_parts.fetch(self.ask_for_bytes, peer, media_id, 25 << 20)

    def tell_now(self, peer: ServerName, edu: JsonObject) -> None:
        self.told.append((peer, edu))


class Server:
    """One person's server, without its faces."""

    def __init__(
        self,
        directory: Path,
        label: str,
        dns_name: ServerName | None = None,
        *,
        inline: bool = True,
    ) -> None:
        entropy = Entropy(label)
        self.clock = Clock()
        self.own: OwnIdentity = own_identity.create(entropy, START_MS, dns_name)[0]
        self.name = self.own.server_name
        self.user = UserId(f"@{label}:{self.name}")
        self.requester = Requester(self.user, DeviceId("PHONE"))
        self.reachable: dict[ServerName, Server] = {}
        self.database = Database(f"sqlite:///{directory / label}.db", WakeUps(), inline=inline)
        self.local = LocalServer(self.name, self.own.event_key)
        self.wire = Wire(self)
        self.settings = FederationSettings()
        self.source = OwnEvents(self.settings)
        files = MediaFiles(directory / f"{label}-media", entropy)
        remote = RemoteFiles(self.database, files, self.wire, self.clock)
        limits = MediaSettings(self.name, 10**7, 10**7, 10**6)
        self.media = Media(self.database, files, remote, self.clock, limits)
        self._build_replication()
        self._build_rooms(entropy)

    def _build_replication(self) -> None:
        self.board = TypingBoard(self.clock, Entropy("typing"))
        self.typing = Typing(self.database, self.board, self.wire)
        self.cards = Cards(self.database, self.clock, self.own.identity)
        self.fetching = Fetching(self.database, self.wire.ask, self.cards)
        self.intake = EventIntake(self.database, self.fetching, Entering(self.clock), self.clock)
        self.updates = Updates(self.local, self.clock, self.cards, self.typing)
        self.aliases = RoomAliases(self.database, self.local, self.wire, self.clock)
        directory = RoomDirectory(self.database, self.local, self.wire)
        spaces = Spaces(self.database, self.local, self.wire, self.clock, self.aliases)
        self.answers = Answers(
            self.database,
            self.cards,
            Joining(
                self.database,
                self.local,
                self.clock,
                self.cards,
                self.fetching,
                self.intake.placing,
            ),
            People(self.database, self.aliases, self.clock),
            Outside(self.media, Browsing(self.database, directory, spaces)),
        )

    def _build_rooms(self, entropy: Entropy) -> None:
        asking = Asking(self.wire, self.fetching.verify, self.local)
        self.creator = RoomCreator(self.database, self.local, self.clock, entropy)
        self.sender = RoomSender(self.database, self.local, self.clock)
        self.membership = Membership(self.database, self.local, self.clock, self.aliases, asking)

    async def close(self) -> None:
        self.typing.board.close()
        await self.media.close()
        self.database.close()

    async def register(self) -> None:
        def create(work: UnitOfWork) -> None:
            registration.create_owner(work, self.user, "hash", START_MS)
            device = Device(self.requester.device_id, "Phone", START_MS)
            accounts.save_device(work, self.user, device)

        await self.database.write(create)

    def state(self, room_id: RoomId) -> dict[tuple[str, str], str]:
        return dict(self.database.read(lambda view: room_state.current_state(view, room_id)))

    def timeline(self, room_id: RoomId) -> list[StoredEvent]:
        everything = Point(2**60)
        return self.database.read(
            lambda view: events.timeline_before(view, room_id, everything, 10_000)
        )[::-1]

    def texts(self, room_id: RoomId) -> list[str]:
        return [
            stored.event.content.get("body", "(redacted)")
            for stored in self.timeline(room_id)
            if stored.event.type == "m.room.message"
        ]

    def membership_in(self, room_id: RoomId, user_id: UserId | None = None) -> str | None:
        found = self.database.read(
            lambda view: rooms.find_membership(view, room_id, user_id or self.user)
        )
        return found.membership if found else None

    async def say(self, room_id: RoomId, text: str) -> str:
        content = {"msgtype": "m.text", "body": text}
        txn = f"txn{self.clock.now_ms()}"
        return await self.sender.send_message(
            self.requester, room_id, "m.room.message", content, txn
        )

    async def set_state(self, room_id: RoomId, event_type: str, content: JsonObject) -> str:
        return await self.sender.send_state(self.requester, room_id, event_type, "", content)


async def connect(one: Server, other: Server) -> None:
    """What two yeses leave behind."""
    for server, peer in ((one, other), (other, one)):
        server.reachable[peer.name] = peer
        await _save_peer(server, peer, inviter=one)


async def _save_peer(server: Server, peer: Server, inviter: Server) -> None:
    row = Peer(
        server_name=peer.name,
        node_id=peer.own.node_id,
        standing="active",
        standing_before="none",
        name=peer.user,
        proof=peer.own.proof,
        grants=grants.by_default(DefaultGrants()).model_dump(),
        granted={},
        inviter=inviter.own.node_id,
        how="link",
    )
    await server.database.write(lambda work: peers.save_peer(work, row))


async def deliver(source: Server, target: Server) -> int:
    """Bring what waits at one server for another there; how many frames that took."""
    count = 0
    while True:
        filled = await source.database.write(
            lambda work: filling.next_frame(
                work, target.name, Offer(), source.source, source.clock.now_ms()
            )
        )
        if filled is None:
            return count
        count += 1
        await take_in(target, source.name, filled.frame.kind, orjson.loads(filled.frame.body))
        await _acknowledge(source, target.name, orjson.loads(filled.frame.settles))


async def take_in(target: Server, peer: ServerName, kind: str, body: JsonObject) -> None:
    """What the inbox does with a frame."""
    if kind == "control":
        for item in body["items"]:
            grant = payloads.REGISTRY[f"control.{item['kind']}"].grant
            take = getattr(target.updates, f"take_in_{item['kind']}")

            def apply(
                work: UnitOfWork, item: Any = item, grant: str = grant, take: Any = take
            ) -> None:
                if peers.may(work, peer, grant):
                    take(work, peer, item["body"])

            await target.database.write(apply)
        return
    transaction = payloads.read(payloads.Transaction, body)
    allowed = target.database.read(
        lambda view: payloads.permitted(transaction, lambda grant: peers.may(view, peer, grant))
    )
    await target.database.write(
        lambda work: target.updates.take_in_items(work, peer, allowed["items"])
    )
    await target.intake.take_in(
        peer,
        allowed["pdus"],
        lambda work: target.updates.take_in_edus(work, peer, allowed["edus"]),
    )


async def settle(*servers: Server) -> None:
    """Deliver until nothing waits."""
    for _ in range(20):
        moved = 0
        for server in servers:
            for other in servers:
                if other.name in server.reachable:
                    moved += await deliver(server, other)
        if not moved:
            return
    raise AssertionError("the servers never come to rest")


async def _acknowledge(source: Server, peer: ServerName, settles: JsonObject) -> None:
    def apply(work: UnitOfWork) -> None:
        frames.settle_rooms(work, peer, settles["rooms"])
        frames.settle_items(work, settles["items"])
        frames.settle_newest(work, peer, settles["newest"])

    await source.database.write(apply)
