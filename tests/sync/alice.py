"""Alice's server with everything a sync looks at, and Bob as a peer whose events are made here."""

import asyncio
import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from homeserver.ephemeral import Presences, Receipts, Typing, TypingBoard
from homeserver.matrix import signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Draft, Event
from homeserver.matrix.identifiers import DeviceId, EventId, RoomId, ServerName, UserId
from homeserver.ports import PeerFile, Requester, SystemEntropy
from homeserver.push import UnreadCounts
from homeserver.rooms import appending, drafting, outside
from homeserver.rooms.appending import Origin
from homeserver.rooms.creating import RoomCreator, Wish
from homeserver.rooms.drafting import Intent
from homeserver.rooms.local_server import LocalServer
from homeserver.rooms.sending import RoomSender
from homeserver.storage import peers, rooms, wake_ups
from homeserver.storage.database import Database
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.storage.wake_ups import WakeUps
from homeserver.sync.asking import SyncSources
from homeserver.sync.classic import ClassicSync, SyncRequest
from homeserver.sync.notifier import Notifier

ALICE = UserId("@alice:alice.test")
BOB = UserId("@bob:bob.test")
CAROL = UserId("@carol:bob.test")


class FakeClock:
    """Time that moves only when told."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        self.now += 0.002  # so that no two events are of the same moment
        return int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, id(woken), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        await settle()
        until = self.now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            self.now, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self.now = until
        await settle()


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


@dataclass
class HeardPeers:
    """Peers that are told things and answer nothing."""

    told: list[tuple[ServerName, JsonObject]] = field(default_factory=list)

    def is_awake(self, peer: ServerName) -> bool:
        return True

    async def ask(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        raise AssertionError

    async def fetch_media(self, peer: ServerName, media_id: str) -> PeerFile:
        raise AssertionError

    def tell_now(self, peer: ServerName, edu: JsonObject) -> None:
        self.told.append((peer, edu))


class Alice:
    """The owner, her server, and shorthand for what happens on it."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        wakes = WakeUps()
        self.database = Database(f"sqlite:///{path}/alice.db", wakes, inline=True)
        self.local = LocalServer(ServerName("alice.test"), signing.generate(b"a" * 32, "1"))
        self.bobs = LocalServer(ServerName("bob.test"), signing.generate(b"b" * 32, "1"))
        self.requester = Requester(ALICE, DeviceId("PHONE"))
        self.sender = RoomSender(self.database, self.local, self.clock)
        self.creator = RoomCreator(self.database, self.local, self.clock, SystemEntropy())
        self.peers = HeardPeers()
        self.board = TypingBoard(self.clock, SystemEntropy())
        self.typing = Typing(self.database, self.board, self.peers)
        self.receipts = Receipts(self.database, self.clock)
        self.presences = Presences(self.database, self.clock)
        notifier = Notifier(self.clock)
        wakes.listen(wake_ups.SYNC, notifier.wake)
        self.board.listen(notifier.wake)
        self.notifier = notifier
        sources = SyncSources(self.board, self.presences, UnreadCounts().count)
        self.sources = sources
        self.classic = ClassicSync(self.database, notifier, sources, self.clock)
        self._txn = 0

    async def create(self, **wish: Any) -> RoomId:
        return await self.creator.create(self.requester, Wish(**({"preset": "public_chat"} | wish)))

    async def say(self, room_id: RoomId, body: str) -> EventId:
        self._txn += 1
        content = {"msgtype": "m.text", "body": body}
        return await self.sender.send_message(
            self.requester, room_id, "m.room.message", content, f"t{self._txn}"
        )

    async def set(self, room_id: RoomId, kind: str, key: str = "", **content: Any) -> EventId:
        return await self.sender.send_state(self.requester, room_id, kind, key, content)

    async def member(
        self, room_id: RoomId, user_id: UserId, membership: str, **content: Any
    ) -> EventId:
        """Somebody changes their own membership."""
        return await self.happen(
            room_id, drafting.membership(user_id, user_id, membership, content)
        )

    async def bob_says(self, room_id: RoomId, body: str, **content: Any) -> EventId:
        said = {"msgtype": "m.text", "body": body, **content}
        return await self.happen(room_id, Intent(BOB, "m.room.message", said))

    async def happen(self, room_id: RoomId, intent: Intent) -> EventId:
        """An event, ours or Bob's server's, enters a room."""
        local = self.local if intent.sender == ALICE else self.bobs
        origin = Origin(None if local is self.local else local.server_name)

        def append(work: UnitOfWork) -> EventId:
            room = drafting.load_room(work, room_id)
            placed = drafting.draft(work, room, intent, self.clock.now_ms())
            event = drafting.build(local, placed, room.version_id)
            appending.append(work, event, origin)
            return event.event_id

        return await self.database.write(append)

    async def be_invited(self, room_id: RoomId | None = None) -> RoomId:
        """Bob invites to a room that Alice's server is not in, and tells its name."""
        self._txn += 1
        room_id = room_id or RoomId(f"!there{self._txn}:bob.test")
        invitation = self._bobs_member(room_id, "invite", ())
        shown = {"type": "m.room.name", "state_key": "", "sender": BOB, "content": {"name": "B"}}
        await self.database.write(
            lambda work: outside.take_in_invite(work, self.local, invitation, [shown])
        )
        return room_id

    async def reject(self, room_id: RoomId) -> None:
        """Alice declines an invitation, on another device."""

        def leave(work: UnitOfWork) -> None:
            pending = rooms.find_membership(work, room_id, ALICE)
            assert pending is not None
            outside.leave(work, self.local, pending, {}, self.clock.now_ms())

        await self.database.write(leave)

    async def be_uninvited(self, room_id: RoomId) -> None:
        """Bob takes his invitation back."""
        pending = self.database.read(lambda view: rooms.find_membership(view, room_id, ALICE))
        assert pending is not None
        departure = self._bobs_member(room_id, "leave", (pending.event_id,))
        await self.database.write(
            lambda work: outside.take_in_departure(work, self.local, departure)
        )

    def _bobs_member(self, room_id: RoomId, membership: str, before: tuple[EventId, ...]) -> Event:
        placed = Draft(
            room_id=room_id,
            sender=BOB,
            type="m.room.member",
            state_key=ALICE,
            content={"membership": membership},
            prev_events=before,
            auth_events=before,
            depth=2,
            origin_server_ts=self.clock.now_ms(),
        )
        return drafting.build(self.bobs, placed, "11")

    async def befriend_bob(self, **grants: bool) -> None:
        peer = Peer(
            self.bobs.server_name, "node", "active", "active", "Bob", {}, grants, {}, "us", "link"
        )
        await self.database.write(lambda work: peers.save_peer(work, peer))

    async def sync(self, since: str | None = None, **parameters: Any) -> Any:
        wanted = parameters.pop("filter", None)
        if isinstance(wanted, dict):
            wanted = orjson.dumps(wanted).decode()
        parameters.setdefault("set_presence", "offline")
        request = SyncRequest(since, wanted, **parameters)
        requester = parameters.pop("requester", self.requester)
        return orjson.loads(await self.classic.answer(requester, request))

    def close(self) -> None:
        self.board.close()
        self.presences.close()
        self.database.close()


def bodies(room: JsonObject) -> list[str]:
    """What was said in the timeline of a room's part of an answer."""
    return [
        event["content"]["body"]
        for event in room["timeline"]["events"]
        if event["type"] == "m.room.message"
    ]


def types(section: Sequence[JsonObject]) -> list[str]:
    """The types of events, in order."""
    return [event["type"] for event in section]


def keys(section: Sequence[JsonObject]) -> set[tuple[str, str]]:
    """Which places of the state are told."""
    return {(event["type"], event["state_key"]) for event in section}
