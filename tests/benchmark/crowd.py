"""A room that is full of people of many servers, made without running these servers.

Their events are signed by identities of their own and go through the door that peers' events take.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from federation import own_identity
from federation.own_identity import OwnIdentity
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName, UserId
from homeserver.rooms import appending, drafting
from homeserver.rooms.appending import Origin
from homeserver.rooms.drafting import Intent
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import cards
from homeserver.storage.database import Database
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import UnitOfWork

BEGAN_MS = 1_700_000_000_000
_A_BATCH = 500


class SeededEntropy:
    """Chance from a seed, so that the same crowd comes again."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def token_bytes(self, count: int) -> bytes:
        """Bytes that only look unpredictable."""
        return self._random.randbytes(count)

    def random(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()


@dataclass(frozen=True, slots=True)
class Crowd:
    """Servers with one identity each."""

    servers: Sequence[OwnIdentity]

    @classmethod
    def of(cls, count: int) -> "Crowd":
        """So many servers."""
        entropies = [SeededEntropy(f"crowd {number}") for number in range(count)]
        return cls([own_identity.create(one, BEGAN_MS)[0] for one in entropies])

    def user(self, number: int) -> UserId:
        """The people live on the servers in turn."""
        return UserId(f"@u{number}:{self.servers[number % len(self.servers)].server_name}")

    async def enter(self, database: Database, room_id: RoomId, members: int) -> None:
        """Let so many people join a public room that this database holds."""
        join: JsonObject = {"membership": "join"}
        users = [self.user(number) for number in range(members)]
        await database.write(self._show_cards)
        await self.say(
            database, room_id, [Intent(user, "m.room.member", join, user) for user in users]
        )

    async def talk(self, database: Database, room_id: RoomId, members: int, count: int) -> None:
        """Let them say so many things in all."""
        said = [
            Intent(self.user(number % members), "m.room.message", _message(number))
            for number in range(count)
        ]
        await self.say(database, room_id, said)

    async def say(self, database: Database, room_id: RoomId, intents: Sequence[Intent]) -> None:
        """Let them say what they want to, one after the other."""
        for start in range(0, len(intents), _A_BATCH):
            some = intents[start : start + _A_BATCH]
            await database.write(partial(self._say_some, room_id, some, start))

    def _say_some(
        self, room_id: RoomId, intents: Sequence[Intent], count: int, work: UnitOfWork
    ) -> None:
        by_name = {one.server_name: one for one in self.servers}
        room: Room = drafting.load_room(work, room_id)
        for number, intent in enumerate(intents, start=count):
            own = by_name[ServerName(intent.sender.partition(":")[2])]
            placed = drafting.draft(work, room, intent, BEGAN_MS + 1_000 * number)
            local = LocalServer(own.server_name, own.event_key)
            event = drafting.build(local, placed, room.version_id)
            room = appending.append(work, event, Origin(own.server_name), room).room

    def _show_cards(self, work: UnitOfWork) -> None:
        for one in self.servers:
            cards.save_card(work, one.server_name, one.proof, BEGAN_MS)


def _message(number: int) -> JsonObject:
    return {"msgtype": "m.text", "body": f"{number} " + "word " * 40}
