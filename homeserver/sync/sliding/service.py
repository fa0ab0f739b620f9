"""POST sliding sync: one answer, at once or as soon as there is something to say.

Spec: MSC4186
"""

from dataclasses import dataclass, replace

import orjson

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.ports import Clock, Requester
from homeserver.rooms import hiding
from homeserver.storage import encryption
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View
from homeserver.sync.asking import SyncSources
from homeserver.sync.devices import SyncingDevices
from homeserver.sync.moves import MovedMeanwhile
from homeserver.sync.notifier import Notifier, Waiter
from homeserver.sync.sliding import extensions, planning, positions, rooms
from homeserver.sync.sliding.asking import Asked
from homeserver.sync.sliding.connections import Connections
from homeserver.sync.sliding.extensions import Extended
from homeserver.sync.sliding.planning import Plan
from homeserver.sync.sliding.positions import Pos
from homeserver.sync.sliding.request import SlidingRequest
from homeserver.sync.sliding.room_index import RoomIndex

_LONGEST_WAIT_S = 300.0
# More rooms than these take long enough to be read on the thread for long reads.
_MANY_ROOMS = 25
_TRIES = 5


class SlidingSync:
    """Answers sliding sync for the owner's devices."""

    def __init__(
        self, database: Database, notifier: Notifier, sources: SyncSources, clock: Clock
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._sources = sources
        self._clock = clock
        self._connections = Connections(database, clock)
        self._indexes: dict[UserId, RoomIndex] = {}
        self._devices = SyncingDevices()

    async def answer(self, requester: Requester, request: SlidingRequest) -> bytes:
        """The answer's JSON. Raises `UnknownPos` where the client has to begin anew."""
        presences = self._sources.presences
        await presences.arrive(requester, request.set_presence)
        try:
            await self._devices.note_seen(requester, self._database, self._clock.now_ms())
            await self._forget_received(requester, request)
            await self._note_known(requester, request)
            with self._notifier.waiting() as waiter:
                return await self._answer(requester, request, waiter)
        finally:
            presences.depart(requester)

    async def _answer(self, requester: Requester, request: SlidingRequest, waiter: Waiter) -> bytes:
        is_patient = request.pos is not None
        wait_s = min(max(request.timeout_ms, 0) / 1000, _LONGEST_WAIT_S) if is_patient else 0.0
        deadline = self._clock.monotonic() + wait_s
        while True:
            found = await self._look(requester, request)
            rest = deadline - self._clock.monotonic()
            if found.has_news or rest <= 0 or waiter.is_superseded:
                return await self._keep(found)
            await waiter.wait(rest)

    async def _look(self, requester: Requester, request: SlidingRequest) -> "_Found":
        """Read up to the newest position, again where the owner moved meanwhile."""
        for _ in range(_TRIES):
            asked = self._asked(requester, request)
            try:
                plan = self._database.read(lambda view: self._plan(view, asked))  # noqa: B023
            except MovedMeanwhile:
                continue
            if len(plan.rooms) > _MANY_ROOMS:
                found = await self._database.scan(lambda view: _write(view, asked, plan))  # noqa: B023
            else:
                found = self._database.read(lambda view: _write(view, asked, plan))  # noqa: B023
            return self._judge(found)
        raise errors.LimitExceeded(500)

    def _asked(self, requester: Requester, request: SlidingRequest) -> Asked:
        pos = positions.parse(request.pos) if request.pos is not None else None
        connection = (
            self._connections.begin(requester, request.connection)
            if pos is None
            else self._connections.find(requester, request.connection, pos)
        )
        return Asked(
            requester,
            request,
            pos,
            connection,
            self._database.position,
            self._sources.typing.serial,
            self._clock.now_ms(),
            self._sources,
        )

    def _plan(self, view: View, asked: Asked) -> Plan:
        index = self._indexes.setdefault(asked.user_id, RoomIndex(asked.user_id))
        index.catch_up(view, asked.until)
        return planning.make(view, asked, index)

    def _judge(self, found: "_Found") -> "_Found":
        """Whether it is worth an answer: other counts of keys than the device was told are."""
        if found.extended.keys is not None:
            device = self._devices.of(found.asked.requester)
            is_news = device.tell_keys(found.extended.keys)
            found.has_news = found.has_news or is_news
        return found

    async def _keep(self, found: "_Found") -> bytes:
        """Store what the answer changes about the connection, and write it."""
        asked, plan, connection = found.asked, found.plan, found.asked.connection
        changes = {} if found.is_alone else plan.changes
        if asked.pos is None:
            connection = await self._connections.begin_stored(connection, changes)
            version = connection.stored.latest
        elif changes:
            await self._connections.advance(connection, asked.version, changes)
            version = connection.stored.latest
        else:
            version = asked.version
        run = self._sources.typing.run
        reached = Pos(asked.until, asked.typing_until, run, 0, version, found.extended.letters)
        if found.is_alone:
            reached = asked.pos or replace(reached, position=0, typing=0)
        else:
            connection.settled = (version, plan.settling)
            for room_id, members in plan.members.items():
                connection.told_members.note(room_id, members, (asked.until, version))
        pos = replace(reached, connection_id=connection.stored.connection_id, version=version)
        return orjson.dumps({"pos": str(pos), **found.body})

    async def _note_known(self, requester: Requester, request: SlidingRequest) -> None:
        """What a device was told of a room it has, once it comes with the position after that."""
        if request.pos is None:
            return
        pos, name = positions.parse(request.pos), request.connection

        def known_up_to(room_id: RoomId) -> int:
            connection = self._connections.find(requester, name, pos)
            told = connection.find(pos.version, room_id)
            if told is None:
                return 0
            return pos.position if told.until is None else told.until

        await hiding.note_synced(self._database, requester, known_up_to)

    async def _forget_received(self, requester: Requester, request: SlidingRequest) -> None:
        """Whoever names the last message it has needs those up to it no more."""
        wish = request.extensions.get("to_device")
        since = 0 if wish is None else extensions.parse_since(wish)
        if since == 0:
            return
        if since > self._database.position:
            raise errors.InvalidParam("That is not a token of messages to the device.")
        user_id, device_id = requester.user_id, requester.device_id

        def forget(work: UnitOfWork) -> None:
            encryption.delete_to_device_up_to(work, user_id, device_id, since)

        if self._database.read(
            lambda view: encryption.to_device_since(view, user_id, device_id, 0, since, 1)
        ):
            await self._database.write(forget)


@dataclass(slots=True)
class _Found:
    asked: Asked
    plan: Plan
    body: JsonObject
    extended: Extended
    has_news: bool
    is_alone: bool  # only messages to the device: of the rooms it knows no more than before


def _write(view: View, asked: Asked, plan: Plan) -> _Found:
    messages = extensions.read_messages(view, asked)
    is_alone = messages.has_more and bool(asked.request.lists or asked.request.subscriptions)
    told: dict[RoomId, JsonObject] = {} if is_alone else rooms.write(view, asked, plan)
    extended = (
        extensions.write_alone(view, asked, messages)
        if is_alone
        else extensions.write(view, asked, plan, told, messages)
    )
    body = {
        "lists": {name: {"count": count} for name, count in plan.scope.counts.items()},
        "rooms": told,
        "extensions": extended.sections,
    }
    has_news = bool(told) or extended.has_news or asked.pos is None
    return _Found(asked, plan, body, extended, has_news, is_alone)
