"""Send events later, unless a client puts that off or calls it off (MSC4140).

So a call learns that somebody has gone whose client cannot say so any more.
"""

import asyncio
import logging
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from homeserver import errors, metrics
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.ports import Clock, Entropy, Requester
from homeserver.rooms import hiding
from homeserver.rooms.sending import RoomSender
from homeserver.storage import delayed_events, rooms
from homeserver.storage.database import Database
from homeserver.storage.delayed_events import CANCELLED, SENT, DelayedEvent
from homeserver.storage.unit_of_work import UnitOfWork

_log = logging.getLogger(__name__)

LONGEST_MS = 24 * 60 * 60 * 1_000
MOST_WAITING = 100
_AFTER_FAILURE_S = 60.0
_SECRET_BYTES = 18
_WAKE = "delayed_events"


class TooLong(errors.HomeserverError):
    """Events can be delayed for a day at most."""

    def __init__(self) -> None:
        """With the names that clients look for."""
        named = {"errcode": "M_MAX_DELAY_EXCEEDED", "max_delay": LONGEST_MS}
        super().__init__(None, **{f"org.matrix.msc4140.{name}": named[name] for name in named})


@dataclass(frozen=True, slots=True)
class Later:
    """What is to be sent, and after how long. `txn` is missing for state."""

    event_type: str
    content: JsonObject
    delay_ms: int
    state_key: str | None = None
    txn: str | None = None


class DelayedEvents:
    """Keeps them, and one worker sends them."""

    def __init__(
        self, database: Database, sender: RoomSender, clock: Clock, entropy: Entropy
    ) -> None:
        self._database = database
        self._sender = sender
        self._clock = clock
        self._entropy = entropy
        # What is being sent is not called off meanwhile.
        self._turn = asyncio.Lock()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with what became due while the server did not run."""
        self._database.wake_ups.listen(_WAKE, self._woken.set)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; what waits is found again after the next start."""
        self._database.wake_ups.ignore(_WAKE, self._woken.set)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def schedule(self, requester: Requester, room_id: RoomId, later: Later) -> str:
        """Keep an event to send; the answer is the ID by which it is put off or called off."""
        if later.delay_ms > LONGEST_MS:
            raise TooLong
        canonical_json.check_integers_only(later.content)
        delay_id = urlsafe_b64encode(self._entropy.token_bytes(_SECRET_BYTES)).decode()
        now_ms = self._clock.now_ms()

        def keep(work: UnitOfWork) -> str:
            _check_inside(work, requester, room_id)
            if later.event_type == hiding.ENCRYPTED:
                hiding.check_has_synced(work, requester, room_id)
            user_id, device_id = requester.user_id, requester.device_id
            if later.txn is not None:
                known = delayed_events.find_by_transaction(work, device_id, later.txn, room_id)
                if known is not None and known.event_type == later.event_type:
                    return known.delay_id
            _check_room_for_one(work, now_ms)
            what = (later.event_type, later.state_key, later.content, later.delay_ms)
            delayed_events.save(
                work,
                DelayedEvent(delay_id, user_id, device_id, later.txn, room_id, *what, now_ms),
            )
            work.wake(_WAKE)
            return delay_id

        return await self._database.write(keep)

    def waiting(self, requester: Requester) -> list[JsonObject]:
        """What is still to be sent, the next one first."""
        several = self._database.read(delayed_events.waiting)
        return [_shown(one) for one in several if one.user_id == requester.user_id]

    async def restart(self, requester: Requester, delay_id: str) -> None:
        """Put one off by its whole delay. Raises Conflict where it is over."""
        async with self._turn:
            if self._load(requester, delay_id).outcome is not None:
                raise errors.Conflict("That event is sent already, or called off.")
            now_ms = self._clock.now_ms()
            await self._database.write(lambda work: delayed_events.restart(work, delay_id, now_ms))

    async def cancel(self, requester: Requester, delay_id: str) -> None:
        """Call one off. Raises Conflict where it is sent."""
        async with self._turn:
            if self._load(requester, delay_id).outcome == SENT:
                raise errors.Conflict("That event is sent already.")
            await self._finalise(delay_id, CANCELLED)

    async def send(self, requester: Requester, delay_id: str) -> None:
        """Send one now; if that is refused it waits on. Raises Conflict where it is called off."""
        async with self._turn:
            delayed = self._load(requester, delay_id)
            if delayed.outcome == CANCELLED:
                raise errors.Conflict("That event was called off.")
            if delayed.outcome is None:
                await self._say(delayed)

    async def send_due(self) -> float | None:
        """Send those whose time has come; returns the seconds until the next one's."""
        while waiting := self._database.read(delayed_events.waiting):
            left_ms = waiting[0].due_at - self._clock.now_ms()
            if left_ms > 0:
                return left_ms / 1_000
            async with self._turn:
                await self._send_if_still_due(waiting[0].delay_id)
        return None

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                pause = await self.send_due()
            except Exception:  # noqa: BLE001 - logged, and tried again
                metrics.bump("unexpected_errors")
                _log.exception("delayed events could not be sent")
                pause = _AFTER_FAILURE_S
            await self._wait(pause)

    async def _wait(self, pause: float | None) -> None:
        """Until something is scheduled, or the next one is due."""
        if pause is None:
            await self._woken.wait()
            return
        loop = asyncio.get_running_loop()
        either = [
            loop.create_task(self._clock.sleep(pause)),
            loop.create_task(self._woken.wait()),
        ]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in either:
                task.cancel()

    async def _send_if_still_due(self, delay_id: str) -> None:
        delayed = self._database.read(lambda view: delayed_events.find(view, delay_id))
        if delayed is None or delayed.outcome or delayed.due_at > self._clock.now_ms():
            return
        try:
            await self._say(delayed)
        except errors.StorageFull:
            raise
        except errors.HomeserverError:
            # The room's rules may have changed, or the owner has left.
            await self._finalise(delay_id, CANCELLED)

    async def _say(self, delayed: DelayedEvent) -> None:
        """Send it; after a crash in between it is sent once all the same."""
        requester = Requester(delayed.user_id, delayed.device_id)
        place = (requester, delayed.room_id, delayed.event_type)
        if delayed.state_key is None:
            await self._sender.send_message(*place, delayed.content, delayed.delay_id)
        else:
            await self._sender.send_state(*place, delayed.state_key, delayed.content)
        await self._finalise(delayed.delay_id, SENT)

    async def _finalise(self, delay_id: str, outcome: str) -> None:
        now_ms = self._clock.now_ms()
        await self._database.write(
            lambda work: delayed_events.finalise(work, delay_id, outcome, now_ms)
        )

    def _load(self, requester: Requester, delay_id: str) -> DelayedEvent:
        delayed = self._database.read(lambda view: delayed_events.find(view, delay_id))
        if delayed is None or delayed.user_id != requester.user_id:
            raise errors.NotFound("There is no such delayed event.")
        return delayed


def _check_inside(work: UnitOfWork, requester: Requester, room_id: RoomId) -> None:
    member = rooms.find_membership(work, room_id, requester.user_id)
    if member is None or member.membership != "join":
        raise errors.NotInRoom


def _check_room_for_one(work: UnitOfWork, now_ms: int) -> None:
    waiting = delayed_events.waiting(work)
    if len(waiting) >= MOST_WAITING:
        raise errors.LimitExceeded(max(1, waiting[0].due_at - now_ms))


def _shown(delayed: DelayedEvent) -> JsonObject:
    shown: JsonObject = {
        "delay_id": delayed.delay_id,
        "room_id": delayed.room_id,
        "type": delayed.event_type,
        "delay": delayed.delay_ms,
        "delay_ms": delayed.delay_ms,
        "running_since": delayed.scheduled_at,
        "scheduled_at": delayed.scheduled_at,
        "content": delayed.content,
    }
    return shown if delayed.state_key is None else shown | {"state_key": delayed.state_key}
