"""Tell push gateways that something happened: in order, later where they cannot be reached.

A gateway gets what its pusher asks for; with the format `event_id_only` that is no more than that
there is an event. What happened while a gateway was away for long is not told any more.

Spec: push-gateway-api#post_matrixpushv1notify
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver import errors, metrics
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.push_rules import Outcome
from homeserver.outbound import Outbound
from homeserver.ports import Clock
from homeserver.push import judging
from homeserver.storage import events, pushers, wake_ups
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.pushers import Pusher
from homeserver.storage.unit_of_work import UnitOfWork, View

logger = logging.getLogger(__name__)

_TIMEOUT_S = 20.0
_LARGEST_ANSWER = 1 << 16
# Of what happened since the last time: the newest of each room.
_EVENTS_A_ROOM = 20
_MOST_AT_ONCE = 50
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 3_600.0
_OK, _SERVER_FAILED, _BUSY = 200, 500, 429


class GatewayAway(Exception):
    """The gateway has not taken it; it is told again later."""


@dataclass(slots=True)
class _Pace:
    """How a gateway that fails is tried again."""

    failures: int = 0
    due_at: float = 0.0


class PushDelivery:
    """One worker for all pushers; it does nothing at all where there are none."""

    def __init__(self, database: Database, outbound: Outbound, clock: Clock) -> None:
        self._database = database
        self._outbound = outbound
        self._clock = clock
        self._wake = asyncio.Event()
        self._has_pushers = False
        self._paces: dict[tuple[str, str], _Pace] = {}
        self._worker: asyncio.Task[None] | None = None
        self._alarm: asyncio.Task[None] | None = None
        self._rings_at = float("inf")
        outbound.permit("push", self._is_gateway)

    def start(self) -> None:
        """Begin to listen."""
        self._database.wake_ups.listen(pushers.CHANGED, self._look_again)
        self._database.wake_ups.listen(wake_ups.SYNC, self._something_happened)
        self._worker = asyncio.get_running_loop().create_task(self._work())
        self._look_again()

    async def close(self) -> None:
        """Stop; what was not told is told after the next start."""
        tasks = [task for task in (self._worker, self._alarm) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_gateway(self, url: str) -> bool:
        """Whether a device of the owner's is still to be woken there."""
        known = self._database.read(pushers.load_pushers)
        return any(one.shown["data"].get("url") == url for one in known)

    def _look_again(self) -> None:
        self._has_pushers = bool(self._database.read(pushers.load_pushers))
        self._wake.set()

    def _something_happened(self) -> None:
        if self._has_pushers:
            self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._tell_all()
            except Exception:
                metrics.bump("unexpected_errors")
                logger.exception("could not push")
                self._call_back(_FIRST_PAUSE_S)

    async def _tell_all(self) -> None:
        for pusher in self._database.read(pushers.load_pushers):
            pace = self._paces.setdefault((pusher.app_id, pusher.pushkey), _Pace())
            left = pace.due_at - self._clock.monotonic()
            if left > 0:
                self._call_back(left)
                continue
            try:
                await self._tell(pusher)
            except GatewayAway:
                pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0**pace.failures)
                pace.failures = min(pace.failures + 1, 30)
                pace.due_at = self._clock.monotonic() + pause
                self._call_back(pause)
            else:
                del self._paces[pusher.app_id, pusher.pushkey]

    def _call_back(self, pause_s: float) -> None:
        """Look again after a pause, or earlier if that was said before."""
        rings_at = self._clock.monotonic() + pause_s
        is_set = self._alarm is not None and not self._alarm.done()
        if is_set and self._rings_at <= rings_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()

        async def ring() -> None:
            await self._clock.sleep(pause_s)
            self._wake.set()

        self._rings_at = rings_at
        self._alarm = asyncio.get_running_loop().create_task(ring())

    async def _tell(self, pusher: Pusher) -> None:
        until = self._database.position
        fresh = await self._database.scan(lambda view: _fresh(view, pusher, until))
        told_until = pusher.told_until
        try:
            for stored, outcome in fresh:
                if not await self._post(pusher, _notification(pusher, stored, outcome)):
                    return
                told_until = stored.point.position
            if fresh or until - told_until > _MOST_AT_ONCE:
                told_until = until
        finally:
            if told_until != pusher.told_until:
                await self._database.write(lambda work: pushers.note_told(work, pusher, told_until))

    async def _post(self, pusher: Pusher, notification: JsonObject) -> bool:
        """Send one; False if the gateway wants nothing more for this key."""
        url = pusher.shown["data"]["url"]
        try:
            answer = await self._outbound.post(
                url,
                orjson.dumps({"notification": notification}),
                grant="push",
                party=url,
                timeout_s=_TIMEOUT_S,
                most_bytes=_LARGEST_ANSWER,
                headers={"Content-Type": "application/json"},
            )
        except errors.PeerUnreachable as error:
            raise GatewayAway from error
        if answer.status >= _SERVER_FAILED or answer.status == _BUSY:
            raise GatewayAway
        if answer.status == _OK and pusher.pushkey in _rejected(answer.body):
            await self._forget(pusher)
            return False
        return True

    async def _forget(self, pusher: Pusher) -> None:
        def forget(work: UnitOfWork) -> None:
            pushers.delete_pusher(work, pusher.user_id, pusher.app_id, pusher.pushkey)
            work.wake(pushers.CHANGED)

        await self._database.write(forget)


def _fresh(view: View, pusher: Pusher, until: int) -> list[judging.Judged]:
    """What happened since the gateway was told the last time, oldest first."""
    found: list[StoredEvent] = []
    for room_id in sorted(events.changed_rooms(view, pusher.told_until, until)):
        timeline = events.timeline_since(view, room_id, pusher.told_until, until, _EVENTS_A_ROOM)
        found += timeline.events
    judged = judging.notifying(view, pusher.user_id, found)
    judged += judging.inviting(view, pusher.user_id, pusher.told_until, until)
    return sorted(judged, key=lambda one: one[0].point)[-_MOST_AT_ONCE:]


def _notification(pusher: Pusher, stored: StoredEvent, outcome: Outcome) -> JsonObject:
    given: dict[str, Any] = pusher.shown["data"]
    device: JsonObject = {
        "app_id": pusher.app_id,
        "pushkey": pusher.pushkey,
        "pushkey_ts": pusher.created_at // 1_000,
        "data": {name: value for name, value in given.items() if name != "url"},
    }
    event = stored.event
    told: JsonObject = {"event_id": event.event_id, "room_id": event.room_id, "devices": [device]}
    if given.get("format") == "event_id_only":
        return told
    device["tweaks"] = outcome.tweaks
    told |= {
        "type": event.type,
        "sender": event.sender,
        "content": event.content,
        "prio": "high" if outcome.highlight or outcome.sound is not None else "low",
    }
    if event.state_key == pusher.user_id and event.type == "m.room.member":
        told |= {"user_is_target": True, "membership": event.content.get("membership")}
    return told


def _rejected(body: bytes) -> list[Any]:
    try:
        answer = orjson.loads(body)
    except ValueError:
        return []
    rejected = answer.get("rejected") if isinstance(answer, dict) else None
    return rejected if isinstance(rejected, list) else []
