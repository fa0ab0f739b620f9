"""Servers of one user each that share rooms by handing each other events, without any network."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from homeserver import errors
from homeserver.matrix import events as matrix_events
from homeserver.matrix import signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import DeviceId, EventId, RoomId, ServerName, UserId
from homeserver.matrix.room_versions import RoomVersion, room_version
from homeserver.ports import PeerFile, Requester
from homeserver.rooms import appending, drafting, outside
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.appending import Appended, Origin
from homeserver.rooms.backfilling import Backfilling
from homeserver.rooms.creating import RoomCreator, Wish
from homeserver.rooms.directory import RoomDirectory
from homeserver.rooms.joining import Asking
from homeserver.rooms.local_server import LocalServer
from homeserver.rooms.members import RoomState
from homeserver.rooms.membership import Membership
from homeserver.rooms.moments import EventsInTime
from homeserver.rooms.related import RelatedEvents
from homeserver.rooms.sending import RoomSender
from homeserver.rooms.spaces import Spaces
from homeserver.rooms.timeline import PageRequest, RoomTimeline
from homeserver.rooms.upgrading import RoomUpgrades
from homeserver.storage import events, frames, peers, room_state, rooms, sharing
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.storage.wake_ups import WakeUps
from homeserver.sync.filters import RoomEventFilter
from tests.rooms import answering


class TestClock:
    """Time that a test moves."""

    __test__ = False

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def now_ms(self) -> int:
        self.now += 1
        return self.now

    def monotonic(self) -> float:
        return self.now / 1000

    async def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


class CountingEntropy:
    """Chance without chance."""

    def __init__(self) -> None:
        self.count = 0

    def token_bytes(self, count: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(count, "big")

    def random(self) -> float:
        return 0.5


@dataclass
class Network:
    """Answers questions from the databases of the servers that are asked."""

    servers: "dict[ServerName, Server]" = field(default_factory=dict)
    asleep: set[ServerName] = field(default_factory=set)

    def is_awake(self, peer: ServerName) -> bool:
        return peer not in self.asleep

    async def ask(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        if peer in self.asleep or peer not in self.servers:
            raise errors.PeerUnreachable
        return await self.servers[peer].answer(operation, body)

    async def fetch_media(self, peer: ServerName, media_id: str) -> PeerFile:
        raise errors.PeerUnreachable

    def tell_now(self, peer: ServerName, edu: JsonObject) -> None:
        raise errors.PeerUnreachable

    async def verify(
        self, peer: ServerName, room_id: RoomId, version: RoomVersion, pdus: Sequence[Any]
    ) -> list[Event]:
        def find_key(server: ServerName, key_id: str) -> str | None:
            return self.servers[server].local.signing_key.public

        parsed = [matrix_events.parse(pdu, version) for pdu in pdus]
        return [matrix_events.authentic(event, find_key) for event in parsed]


class Server:
    """One server's rooms, on a database of its own."""

    def __init__(self, name: str, path: Path, network: Network, clock: TestClock) -> None:
        self.name = ServerName(f"{name}.test")
        self.user = UserId(f"@{name}:{self.name}")
        self.requester = Requester(self.user, DeviceId("PHONE"))
        self.network, self.clock = network, clock
        self.database = Database(f"sqlite:///{path}/{name}.db", WakeUps(), inline=True)
        key = signing.generate(name.encode().ljust(32, b"."), "1")
        self.local = local = LocalServer(self.name, key)
        self.sender = RoomSender(self.database, local, clock)
        self.creator = RoomCreator(self.database, local, clock, CountingEntropy())
        self.aliases = RoomAliases(self.database, local, network, clock)
        asking = Asking(network, network.verify, local)
        self.membership = Membership(self.database, local, clock, self.aliases, asking)
        backfilling = Backfilling(self.database, network, network.verify)
        self.timeline = RoomTimeline(self.database, clock, backfilling)
        self.state = RoomState(self.database, clock)
        self.related = RelatedEvents(self.database, clock)
        self.times = EventsInTime(self.database, network, backfilling)
        self.directory = RoomDirectory(self.database, local, network)
        self.spaces = Spaces(self.database, local, network, clock, self.aliases)
        self.upgrades = RoomUpgrades(self.database, self.creator)
        network.servers[self.name] = self
        self._txn = 0

    async def create(self, version: str = "12", **wish: Any) -> RoomId:
        return await self.creator.create(self.requester, Wish(version_id=version, **wish))

    async def say(self, room_id: RoomId, body: str, **content: Any) -> EventId:
        self._txn += 1
        said = {"msgtype": "m.text", "body": body, **content}
        return await self.sender.send_message(
            self.requester, room_id, "m.room.message", said, f"t{self._txn}"
        )

    async def set_state(
        self, room_id: RoomId, event_type: str, key: str = "", **content: Any
    ) -> EventId:
        return await self.sender.send_state(self.requester, room_id, event_type, key, content)

    async def append(self, event: Event, origin: Origin) -> Appended:
        return await self.database.write(lambda work: appending.append(work, event, origin))

    async def hear(self, other: "Server", event_id: EventId) -> Appended:
        """Take in one event that another server has."""
        event = other.stored(event_id).event
        return await self.append(event, Origin(other.name))

    async def hear_all(self, other: "Server", room_id: RoomId) -> None:
        """Take in every event of a room that another server has made, as its outbox would."""
        for stored in other.own_events(room_id, self.name):
            await self.append(stored.event, Origin(other.name))

    def own_events(self, room_id: RoomId, server: ServerName) -> list[StoredEvent]:
        return self.database.read(
            lambda view: sharing.own_events_after(view, room_id, 0, 1000, server)
        )

    def stored(self, event_id: EventId) -> StoredEvent:
        found = self.database.read(lambda view: events.find_event(view, event_id))
        assert found is not None
        return found

    def current(self, room_id: RoomId) -> dict[tuple[str, str], EventId]:
        return dict(self.database.read(lambda view: room_state.current_state(view, room_id)))

    def member(self, room_id: RoomId, user_id: UserId) -> str | None:
        found = self.database.read(lambda view: rooms.find_membership(view, room_id, user_id))
        return found.membership if found is not None else None

    def queued(self, peer: ServerName, lane: str = "control") -> list[tuple[str, JsonObject]]:
        items = self.database.read(lambda view: frames.waiting_items(view, peer, lane, 100))
        return [(item.kind, orjson.loads(item.body)) for item in items]

    def waiting_rooms(self, peer: ServerName) -> set[RoomId]:
        found = self.database.read(lambda view: frames.waiting_rooms(view, peer, 100))
        return {room.room_id for room in found}

    def bodies(self, room_id: RoomId) -> list[str]:
        """What was said in a room, in the order of its timeline."""
        found = self.database.read(
            lambda view: events.timeline_before(view, room_id, events.Point(2**60), 1000)
        )
        return [
            stored.event.content["body"]
            for stored in reversed(found)
            if stored.event.type == "m.room.message" and "body" in stored.event.content
        ]

    async def texts(self, room_id: RoomId) -> list[str]:
        """Everything the owner reads when paging back to the beginning, oldest first."""
        found: list[str] = []
        start: str | None = None
        while True:
            request = PageRequest(limit=5, wanted=RoomEventFilter(), start=start)
            page = await self.timeline.messages(self.requester, room_id, request)
            found += [one["content"]["body"] for one in page["chunk"] if "body" in one["content"]]
            if "end" not in page:
                return found[::-1]
            start = page["end"]

    async def connect(self, *others: "Server") -> None:
        """Make the servers peers of this one, and this one theirs."""
        for other in others:
            await self.database.write(partial(_befriend, other.name))
            await other.database.write(partial(_befriend, self.name))

    async def take_in_items(self, other: "Server") -> None:
        """Deliver the invitations and departures that another server has queued for this one."""
        for kind, body in other.queued(self.name):
            event = matrix_events.parse(body["event"], room_version(body["room_version"]))
            told = body.get("invite_room_state", [])
            await self.database.write(partial(self._take_in_item, kind, event, told, other.name))

    def _take_in_item(
        self, kind: str, event: Event, told: list[JsonObject], source: ServerName, work: UnitOfWork
    ) -> None:
        if kind == "invite":
            outside.take_in_invite(work, self.local, event, told)
        elif drafting.is_inside(work, event.room_id, self.local):
            appending.append(work, event, Origin(source, is_relayed=True))
        else:
            outside.take_in_departure(work, self.local, event)

    async def answer(self, operation: str, body: JsonObject) -> JsonObject:
        return await answering.answer(self.database, self.local, self.aliases, operation, body)


def _befriend(name: ServerName, work: UnitOfWork) -> None:
    peers.save_peer(work, peer_named(name))


def peer_named(name: ServerName) -> Peer:
    return Peer(
        server_name=name,
        node_id=name,
        standing="active",
        standing_before="none",
        name=name,
        proof={},
        grants={},
        granted={},
        inviter=name,
        how="link",
    )


async def shared_room(
    alice: Server, *others: Server, version: str = "12", **wish: object
) -> RoomId:
    """A room of the first server's that the others have joined."""
    room_id = await alice.create(version, invite=[other.user for other in others], **wish)
    for other in others:
        await other.take_in_items(alice)
        await other.membership.join(other.requester, room_id, [], {})
    return room_id


@asynccontextmanager
async def running(path: Path, *names: str) -> AsyncIterator[list[Server]]:
    """Servers that are connected to each other."""
    network, clock = Network(), TestClock()
    started = [Server(name, path, network, clock) for name in names]
    for index, server in enumerate(started):
        await server.connect(*started[index + 1 :])
    try:
        yield started
    finally:
        for server in started:
            server.database.close()
