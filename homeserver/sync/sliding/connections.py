"""The connections of the owner's devices: in memory while they are used, and stored.

Spec: MSC4186, connections
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import orjson

from homeserver.matrix.identifiers import RoomId
from homeserver.ports import Clock, Requester
from homeserver.storage import sync_connections
from homeserver.storage.database import Database
from homeserver.storage.sync_connections import Stored, ToldRoom
from homeserver.storage.unit_of_work import UnitOfWork, View
from homeserver.sync.sliding import required_state
from homeserver.sync.sliding.positions import Pos, UnknownPos
from homeserver.sync.sliding.required_state import NOTHING, RequiredState
from homeserver.sync.told_members import ToldMembers

_REMEMBERED = 100
_PER_DEVICE = 10
# A device that asks for more different things than these is told some of them again.
_CONFIGS = 50
NO_CONFIG = -1


@dataclass(slots=True)
class Connection:
    """One connection: what the device confirmed, and what its newest answer changes about it."""

    stored: Stored
    rooms: dict[RoomId, ToldRoom] = field(default_factory=dict)
    pending: dict[RoomId, ToldRoom] = field(default_factory=dict)
    configs: list[RequiredState] = field(default_factory=list)
    # With this version and these wishes, every room in sight is told.
    settled: tuple[int, object] | None = None
    told_members: ToldMembers = field(default_factory=ToldMembers)

    def find(self, version: int, room_id: RoomId) -> ToldRoom | None:
        """How far the device knows a room, if its token is of this version."""
        if version == self.stored.latest and room_id in self.pending:
            return self.pending[room_id]
        return self.rooms.get(room_id)

    def config_number(self, wanted: RequiredState) -> int:
        """The number under which a wish is kept; `NO_CONFIG` where there are too many."""
        if wanted in self.configs:
            return self.configs.index(wanted)
        if len(self.configs) >= _CONFIGS:
            return NO_CONFIG
        self.configs.append(wanted)
        return len(self.configs) - 1

    def config(self, number: int) -> RequiredState:
        """What was asked before."""
        return NOTHING if number == NO_CONFIG else self.configs[number]


class Connections:
    """Finds connections, begins them, and stores what changes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[int, Connection] = OrderedDict()

    def begin(self, requester: Requester, name: str) -> Connection:
        """A connection of which nothing is stored yet."""
        now = self._clock.now_ms()
        return Connection(Stored(0, requester.user_id, requester.device_id, name, 0, 0, now, b"[]"))

    def find(self, requester: Requester, name: str, pos: Pos) -> Connection:
        """The connection a position is of. Raises `UnknownPos` where it was given up."""
        connection = self._known.get(pos.connection_id) or self._load(pos.connection_id)
        stored = connection.stored
        if (stored.user_id, stored.device_id, stored.name) != (
            requester.user_id,
            requester.device_id,
            name,
        ):
            raise UnknownPos
        if pos.version not in (stored.confirmed, stored.latest):
            raise UnknownPos
        if pos.position > self._database.position:
            raise UnknownPos
        self._remember(connection)
        return connection

    async def begin_stored(
        self, connection: Connection, changes: Mapping[RoomId, ToldRoom]
    ) -> Connection:
        """Store a connection with its first answer, in place of the one with the same name."""

        def save(work: UnitOfWork) -> int:
            stored = connection.stored
            others = sync_connections.connections_of(work, stored.user_id, stored.device_id)
            gone = [one for one in others if one.name == stored.name]
            kept = [one for one in others if one.name != stored.name]
            gone += kept[_PER_DEVICE - 1 :]
            sync_connections.delete_connections(work, [one.connection_id for one in gone])
            number = work.next_position()
            whole = replace(stored, connection_id=number, configs=_to_json(connection))
            sync_connections.save_connection(work, whole)
            sync_connections.advance_connection(work, whole, changes, is_confirmed=False)
            return number

        number = await self._database.write(save)
        connection.stored = replace(connection.stored, connection_id=number)
        connection.pending = dict(changes)
        self._remember(connection)
        return connection

    async def advance(
        self, connection: Connection, version: int, changes: Mapping[RoomId, ToldRoom]
    ) -> None:
        """Store what a further answer changes; the device came with a token of this version."""
        before = connection.stored
        is_confirmed = version == before.latest
        after = replace(
            before,
            confirmed=version,
            latest=before.latest + 1,
            used_at=self._clock.now_ms(),
            configs=_to_json(connection),
        )

        def save(work: UnitOfWork) -> None:
            found = sync_connections.find_connection(work, before.connection_id)
            if found is None or (found.confirmed, found.latest) != (
                before.confirmed,
                before.latest,
            ):
                raise UnknownPos
            sync_connections.advance_connection(work, after, changes, is_confirmed=is_confirmed)

        await self._database.write(save)
        if is_confirmed:
            connection.rooms.update(connection.pending)
        connection.pending = dict(changes)
        connection.stored = after

    def _load(self, connection_id: int) -> Connection:
        def read(view: View) -> Connection | None:
            stored = sync_connections.find_connection(view, connection_id)
            if stored is None:
                return None
            configs = [required_state.from_json(one) for one in orjson.loads(stored.configs)]
            return Connection(stored, *sync_connections.load_rooms(view, connection_id), configs)

        connection = self._database.read(read)
        if connection is None:
            raise UnknownPos
        return connection

    def _remember(self, connection: Connection) -> None:
        number = connection.stored.connection_id
        self._known.pop(number, None)
        self._known[number] = connection
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _to_json(connection: Connection) -> bytes:
    return orjson.dumps([one.to_json() for one in connection.configs])
