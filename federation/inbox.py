"""Work off the frames that came, in order, peer by peer.

A frame's row goes in the same unit of work as its effect, so after a crash it is worked off again:
effects are repeatable. Messages to devices come before the events that they hold keys for, and are
cut out of the row as they are taken in.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import orjson

from federation import heeding, payloads
from federation.lines import Line, Lines
from federation.payloads import Control, Transaction
from homeserver import crash_points, errors, metrics
from homeserver.crash_points import Point
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.ports import Clock
from homeserver.storage import database, inbox
from homeserver.storage.database import Database
from homeserver.storage.inbox import StoredFrame
from homeserver.storage.unit_of_work import UnitOfWork

logger = logging.getLogger(__name__)

# To be called in the unit of work that stores a transaction's last effect: deletes its row.
Finish = Callable[[UnitOfWork], None]
# Takes in `{"pdus", "hidden_pdus", "edus"}` of a peer, already cut to its grants.
TakeIn = Callable[[ServerName, JsonObject, Finish], Awaitable[None]]
# Takes in the messages to devices of a transaction, in the unit of work that cuts them out of it.
TakeItems = Callable[[UnitOfWork, ServerName, Sequence[JsonObject]], None]
# Takes in the body of one control message, in the unit of work that deletes its row.
TakeControl = Callable[[UnitOfWork, ServerName, JsonObject], None]

_FRAMES_AT_ONCE = 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_MOST_TRIES = 5
_PASSING = (errors.LimitExceeded, errors.PeerUnreachable)


class Inbox:
    """One worker per open connection."""

    def __init__(self, database: Database, lines: Lines, clock: Clock) -> None:
        self._database = database
        self._lines = lines
        self._clock = clock
        self._take_in: TakeIn | None = None
        self._take_items: TakeItems | None = None
        self._controls: dict[str, TakeControl] = {}
        self._workers: dict[ServerName, asyncio.Task[None]] = {}
        self._is_running = False
        lines.when_opened.append(self._open)
        lines.when_closed.append(self._close)

    def register_transactions(self, take_in: TakeIn) -> None:
        """Say who takes in room events and EDUs."""
        self._take_in = take_in

    def register_items(self, take: TakeItems) -> None:
        """Say who takes in messages to devices."""
        self._take_items = take

    def register_control(self, kind: str, take: TakeControl) -> None:
        """Say who takes in one kind of control message."""
        if kind in self._controls:
            raise TypeError(f"Two take in {kind}.")
        self._controls[kind] = take

    def start(self) -> None:
        """Begin to work off what is stored."""
        self._is_running = True
        for line in self._lines.all():
            self._open(line)

    async def close(self) -> None:
        """Stop; what is stored is worked off after the next start."""
        self._is_running = False
        tasks = tuple(self._workers.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open(self, line: Line) -> None:
        if self._is_running:
            task = asyncio.get_running_loop().create_task(self._work_off(line))
            self._workers[line.peer] = task

    def _close(self, line: Line) -> None:
        task = self._workers.pop(line.peer, None)
        if task is not None:
            task.cancel()

    async def _work_off(self, line: Line) -> None:
        arrived = asyncio.Event()
        topic = inbox.inbox_topic(line.peer)
        self._database.wake_ups.listen(topic, arrived.set)
        pause, tries = _FIRST_PAUSE, 0
        try:
            while not line.is_closed:
                arrived.clear()
                try:
                    await self._take_waiting(line)
                    pause, tries = _FIRST_PAUSE, 0
                except Exception as error:  # noqa: BLE001 - counted and logged
                    tries = await self._try_later(line, error, tries)
                    await self._clock.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    continue
                await arrived.wait()
        finally:
            self._database.wake_ups.ignore(topic, arrived.set)

    async def _try_later(self, line: Line, error: Exception, tries: int) -> int:
        """What passes by itself is waited for: nothing that was acknowledged is given up for it.

        Returns how often the frame failed of itself.
        """
        if isinstance(error, _PASSING) or database.is_passing(error):
            metrics.bump("federation_frames_postponed")
            logger.info("a frame waits peer=%s reason=%s", line.peer, type(error).__name__)
            return tries
        metrics.bump("unexpected_errors")
        logger.error("a frame could not be taken in peer=%s", line.peer, exc_info=error)
        if tries + 1 < _MOST_TRIES:
            return tries + 1
        try:
            await self._set_aside(line)
        except Exception as failure:  # noqa: BLE001 - tried again with the next failure
            logger.warning(
                "a frame is not set aside peer=%s reason=%s", line.peer, type(failure).__name__
            )
            return tries
        return 0

    async def _take_waiting(self, line: Line) -> None:
        while waiting := self._database.read(
            lambda view: inbox.next_frames(view, line.peer, _FRAMES_AT_ONCE)
        ):
            for frame in waiting:
                crash_points.reach(Point.FRAME_BEGUN)
                await self._take_one(line, frame)
                crash_points.reach(Point.FRAME_DONE)
                line.note_worked_off()

    async def _take_one(self, line: Line, frame: StoredFrame) -> None:
        try:
            body = canonical_json.decode(frame.body)
            if frame.kind == "control":
                control = payloads.read(Control, body)
                await self._database.write(lambda work: self._control(work, frame, control))
                return
            transaction = payloads.read(Transaction, body)
        except errors.BadJson:
            metrics.bump("federation_bad_frames")
            await self._database.write(lambda work: inbox.delete_frame(work, frame.number))
            return
        await self._take_transaction(line, frame, transaction)

    async def _take_transaction(
        self, line: Line, frame: StoredFrame, transaction: Transaction
    ) -> None:
        peer = self._database.read(lambda view: heeding.heeded(view, line.peer))
        is_finished = False

        def finish(work: UnitOfWork) -> None:
            nonlocal is_finished
            is_finished = True
            inbox.delete_frame(work, frame.number)
            crash_points.reach(Point.FRAME_LET_GO)

        if self._take_in is not None:
            parts = payloads.permitted(transaction, peer.may)
            if parts.pop("items"):
                await self._database.write(lambda work: self._items(work, frame, transaction))
                crash_points.reach(Point.ITEMS_TAKEN)
            await self._take_in(line.peer, parts, finish)
        if not is_finished:
            await self._database.write(finish)

    def _items(self, work: UnitOfWork, frame: StoredFrame, transaction: Transaction) -> None:
        """Take in messages to devices; what is left of the frame is worked off afterwards."""
        may = heeding.heeded(work, frame.peer).may
        if self._take_items is not None:
            self._take_items(work, frame.peer, payloads.permitted_items(transaction.items, may))
        if transaction.pdus or transaction.edus:
            rest = transaction.model_copy(update={"items": []})
            inbox.keep_rest(work, frame.number, orjson.dumps(rest.model_dump()))
        else:
            inbox.delete_frame(work, frame.number)

    def _control(self, work: UnitOfWork, frame: StoredFrame, control: Control) -> None:
        peer = heeding.heeded(work, frame.peer)
        for item in control.items:
            take = self._controls.get(item.kind)
            grant = payloads.control_grant(item.kind)
            if take is None or not peer.may(grant):
                metrics.bump("federation_dropped_controls")
                continue
            try:
                take(work, frame.peer, item.body)
            except errors.HomeserverError:
                metrics.bump("federation_bad_controls")
        inbox.delete_frame(work, frame.number)

    async def _set_aside(self, line: Line) -> None:
        """Give up a frame that fails again and again, so that the ones behind it are read."""
        metrics.bump("federation_frames_given_up")
        waiting = self._database.read(lambda view: inbox.next_frames(view, line.peer, 1))
        if waiting:
            number = waiting[0].number
            await self._database.write(lambda work: inbox.delete_frame(work, number))
            line.note_worked_off()
