"""An owner in 500 rooms with 200,000 events, written into a server's database in bulk.

Rooms are created as ever; what was said in them is put into the tables directly, without hashes
and signatures that would mean anything: nobody looks at them again.
"""

import asyncio
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from homeserver.config import loading
from homeserver.matrix import signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import restore
from homeserver.matrix.identifiers import DeviceId, EventId, RoomId, ServerName, UserId
from homeserver.matrix.room_versions import ROOM_VERSIONS
from homeserver.ports import Requester, SystemClock, SystemEntropy
from homeserver.rooms.creating import RoomCreator, Wish
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import accounts, ephemeral, event_rows, events, room_state, rooms
from homeserver.storage.database import Database
from homeserver.storage.ephemeral import Receipt
from homeserver.storage.events import Point, StoredEvent
from homeserver.storage.rooms import Membership, Room
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.storage.wake_ups import WakeUps

ROOMS = 500
EVENTS_PER_ROOM = 400
FRIENDS = 4
# In one room of so many the last messages are not read yet.
UNREAD_IN_ONE_OF = 10
UNREAD = 30


def fill(config_file: Path) -> None:
    """Write it all; the server must not be running."""
    database = Database(loading.load(config_file, {}).database_url, WakeUps())
    try:
        asyncio.run(_fill(database))
    finally:
        database.close()


async def _fill(database: Database) -> None:
    owner = database.read(accounts.find_owner)
    if owner is None:
        raise AssertionError("the server has no owner")
    local = LocalServer(ServerName(owner.partition(":")[2]), signing.generate(b"b" * 32, "b"))
    creator = RoomCreator(database, local, SystemClock(), SystemEntropy())
    requester = Requester(owner, DeviceId("BENCH"))
    chance = random.Random(0)
    for number in range(ROOMS):
        room_id = await creator.create(requester, Wish(name=f"Room {number}"))
        talk = _Talk(owner, room_id, number, chance)
        await database.write(talk.write)


@dataclass(slots=True)
class _Talk:
    """What is said in one room."""

    owner: UserId
    room_id: RoomId
    number: int
    chance: random.Random

    def write(self, work: UnitOfWork) -> None:
        """Bring friends in and let everybody speak."""
        room = rooms.find_room(work, self.room_id)
        if room is None:
            raise AssertionError("the room was not created")
        friends = [UserId(f"@friend{n}:friends.example") for n in range(FRIENDS)]
        state_id = self._bring_in(work, room, friends)
        people = [self.owner, *friends]
        several = [
            self._said(work, room, self.chance.choice(people), state_id, n)
            for n in range(EVENTS_PER_ROOM)
        ]
        work.insert_many(events.events, [event_rows.to_row(one) for one in several])
        last = several[-1].event
        rooms.advance_room(work, self.room_id, state_id, [last.event_id], last.depth)
        is_unread = self.number % UNREAD_IN_ONE_OF == 0
        self._read(work, several[-UNREAD if is_unread else -1])

    def _bring_in(self, work: UnitOfWork, room: Room, friends: list[UserId]) -> int:
        state_id = room.current_state_id
        for friend in friends:
            content = {"membership": "join", "displayname": friend[1:8].title()}
            stored = self._event(work, room, friend, "m.room.member", content, friend)
            key = ("m.room.member", friend)
            after = room_state.save_change(
                work, self.room_id, state_id, {key: stored.event.event_id}
            )
            placed = replace(
                stored, state_before=state_id, state_after=after, room_state_after=after
            )
            work.insert_many(events.events, [event_rows.to_row(placed)])
            joined = Membership(
                self.room_id,
                friend,
                "join",
                stored.event.event_id,
                stored.point.position,
                content["displayname"],
            )
            rooms.save_memberships(work, [joined])
            state_id = after
        return state_id

    def _said(
        self, work: UnitOfWork, room: Room, sender: UserId, state_id: int, number: int
    ) -> StoredEvent:
        body = f"message {number} " + "blah " * self.chance.randrange(20)
        content = {"msgtype": "m.text", "body": body}
        stored = self._event(work, room, sender, "m.room.message", content, None)
        return replace(
            stored, state_before=state_id, state_after=state_id, room_state_after=state_id
        )

    def _event(
        self,
        work: UnitOfWork,
        room: Room,
        sender: UserId,
        kind: str,
        content: JsonObject,
        state_key: str | None,
    ) -> StoredEvent:
        position = work.next_position()
        event_id = EventId(f"${position:043d}")
        pdu: dict[str, Any] = {
            "auth_events": list(room.extremities),
            "content": content,
            "depth": position,
            "hashes": {"sha256": "A" * 43},
            "origin_server_ts": 1_700_000_000_000 + position,
            "prev_events": list(room.extremities),
            "room_id": self.room_id,
            "sender": sender,
            "signatures": {sender.partition(":")[2]: {"ed25519:b": "A" * 86}},
            "type": kind,
        }
        if state_key is not None:
            pdu["state_key"] = state_key
        event = restore(pdu, event_id, self.room_id, ROOM_VERSIONS[room.version_id])
        return StoredEvent(event, position, is_ours=sender == self.owner)

    def _read(self, work: UnitOfWork, last: StoredEvent) -> None:
        point = Point(last.point.position)
        event_id = last.event.event_id
        ephemeral.save_receipt(
            work, Receipt(self.room_id, self.owner, "m.read", None, event_id, 1, point)
        )
