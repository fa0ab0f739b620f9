"""Tells what is to be told and obeys what is ordered, as soon as there is something."""

import asyncio
import logging
from dataclasses import dataclass, replace

from federation.connections_room import orders, telling
from federation.connections_room.answers import Answer
from federation.connections_room.obeying import Obeying
from federation.connections_room.orders import Order
from federation.connections_room.room import OwnersRoom
from homeserver import errors, metrics
from homeserver.matrix.identifiers import RoomId
from homeserver.ports import Clock
from homeserver.storage import events, notices, peers, wake_ups
from homeserver.storage.database import Database
from homeserver.storage.events import Point
from homeserver.storage.invitations import KNOCK
from homeserver.storage.notices import Notice
from homeserver.storage.unit_of_work import UnitOfWork, View

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 60.0
_READ_AT_ONCE = 100
# What the notice itself is the reason for. Anything else may be over after a while.
_UNTELLABLE = (
    *(errors.TooLarge, errors.BadJson, errors.BadEvent),
    *(AttributeError, LookupError, TypeError, ValueError),
)


@dataclass(frozen=True, slots=True)
class _Page:
    """What was written after the last order that was passed."""

    orders: tuple[tuple[int, Order], ...]
    until: int
    has_more: bool


_NOTHING = _Page((), 0, has_more=False)
_LAST_RANK = 2**31 - 1


class ConnectionsRoom:
    """Between the notices that other parts leave and the one room where the owner reads them."""

    def __init__(
        self, database: Database, clock: Clock, room: OwnersRoom, obeying: Obeying
    ) -> None:
        self._database = database
        self._clock = clock
        self._room = room
        self._obeying = obeying
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._room_id: RoomId | None = None

    @property
    def has_something_to_do(self) -> bool:
        """Whether a notice is not told, or an order not read."""
        waiting, asked = self._database.read(
            lambda view: (notices.untold(view, 1), self._unread(view).orders)
        )
        return bool(waiting or asked)

    def start(self) -> None:
        """Begin."""
        self._database.wake_ups.listen(wake_ups.NOTICES, self._wake.set)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; what is not told or obeyed yet is, after the next start."""
        self._database.wake_ups.ignore(wake_ups.NOTICES, self._wake.set)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def hear(self, room_id: RoomId) -> None:
        """The owner wrote somewhere; it concerns us only in our room."""
        if room_id == self._room_id:
            self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._tell()
                await self._obey()
            except Exception:
                metrics.bump("unexpected_errors")
                logger.exception("the Connections room stands still for a while")
                await self._clock.sleep(_RETRY_SECONDS)
                continue
            await self._wake.wait()

    async def _tell(self) -> None:
        self._remember_room()
        while waiting := self._database.read(notices.untold):
            for notice in waiting:
                try:
                    await self._database.write(lambda work, one=notice: self._tell_one(work, one))  # type: ignore[misc]
                except _UNTELLABLE as error:
                    await self._skip(notice, error)
        self._remember_room()

    async def _skip(self, notice: Notice, error: Exception) -> None:
        """A notice that cannot be told holds up no others."""
        metrics.bump("unexpected_errors")
        logger.error("a notice cannot be told kind=%s why=%s", notice.kind, type(error).__name__)
        await self._database.write(lambda work: notices.mark_told(work, notice.number))

    def _remember_room(self) -> None:
        known = self._database.read(lambda view: notices.find_room(view, self._room.owner))
        self._room_id = None if known is None else known.room_id

    def _tell_one(self, work: UnitOfWork, notice: Notice) -> None:
        others = [peer.name for peer in peers.load_peers(work) if peer.node_id != notice.node_id]
        text = telling.text_of(notice.kind, notice.content, others)
        # Whoever has a knock link may ask, however often: that is shown, and rings at nobody's.
        is_knock = notice.kind == "request" and notice.content.get("how") == KNOCK
        event_id = self._room.say(work, text, self._clock.now_ms(), is_quiet=is_knock)
        notices.mark_told(work, notice.number, event_id)

    async def _obey(self) -> None:
        """Each order is done, then answered and passed in one unit of work: after a crash again."""
        while True:
            page = self._database.read(self._unread)
            for position, order in page.orders:
                answer = await self._obeying.obey(order)
                await self._database.write(
                    lambda work, at=position, said=answer: self._pass(work, at, said)  # type: ignore[misc]
                )
            if not page.has_more:
                break
            await self._database.write(lambda work, at=page.until: self._pass(work, at, None))  # type: ignore[misc]
        await self._tell()

    def _unread(self, view: View) -> _Page:
        known = notices.find_room(view, self._room.owner)
        if known is None:
            return _NOTHING
        after = Point(known.read_until, _LAST_RANK)
        found = events.timeline_after(view, known.room_id, after, _READ_AT_ONCE)
        read = [
            (stored.point.position, order)
            for stored in found
            for order in orders.read([stored.event], self._room.owner)
        ]
        until = found[-1].point.position if found else known.read_until
        return _Page(tuple(read), until, has_more=len(found) == _READ_AT_ONCE)

    def _pass(self, work: UnitOfWork, position: int, answer: Answer | None) -> None:
        known = notices.find_room(work, self._room.owner)
        if known is not None:
            notices.save_room(work, replace(known, read_until=max(position, known.read_until)))
        if answer is not None:
            self._room.answer(work, answer, self._clock.now_ms())
