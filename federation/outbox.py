"""One worker per open connection: exchanges boxes as long as something waits, and polls.

Something that waits starts an exchange at once; the next one starts as soon as the last is
acknowledged. A peer that cannot be reached is tried again after pauses that double, until it is
heard from.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import orjson

from federation import reach, waiting
from federation.channel import Channel
from federation.envelope import BadEnvelope
from federation.lines import Line, Lines
from federation.payloads import CONNECTION
from federation.transport.interface import Refused, Transport
from federation.turn_state import ChannelClosed
from homeserver import crash_points, errors, metrics
from homeserver.config import FederationSettings
from homeserver.crash_points import Point
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.ports import Clock, Entropy
from homeserver.storage import channels, frames
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork

logger = logging.getLogger(__name__)

# At first little enough that a box that is lost costs no answer; longer with each failure, for
# lines that are only slow.
_DELIVERY_SECONDS = 15.0
_MOST_DOUBLINGS = 3
_GRACE_SECONDS = 15.0
_SUSPICIOUS_SECONDS = 0.2
_MOST_TRIES_OF_A_SILENT_ROUTE = 5
_DAY_MS = 86_400_000


class Pace:
    """When to try again: pauses that double, with jitter, up to a bound."""

    def __init__(self, settings: FederationSettings, clock: Clock, entropy: Entropy) -> None:
        self._settings = settings
        self.clock = clock
        self._entropy = entropy

    def slow_down(self, line: Line) -> None:
        """The last exchange failed, or moved nothing."""
        first, longest = self._settings.retry_min_seconds, self._settings.retry_max_seconds
        pause = min(longest, first * 2.0 ** min(line.failures, 30))
        line.failures += 1
        line.retry_at = self.clock.monotonic() + pause * (0.5 + self._entropy.random() / 2)

    def is_due(self, line: Line) -> bool:
        """Whether the pause is over."""
        return self.clock.monotonic() >= line.retry_at

    async def wait(self, line: Line) -> None:
        """Wait until the line is woken or its pause is over."""
        left = line.retry_at - self.clock.monotonic()
        if left <= 0:
            await line.wake.wait()
            return
        await waiting.wait_for(line.wake, self.clock, left)


class Outbox:
    """Brings what waits to every peer."""

    def __init__(
        self, database: Database, channel: Channel, transport: Transport, lines: Lines, pace: Pace
    ) -> None:
        self._database = database
        self._channel = channel
        self._transport = transport
        self._lines = lines
        self._pace = pace
        self.own_routes: tuple[str, ...] = ()  # where peers can call us, if they know
        self.poll_seconds = 60
        self.most_items = frames.MOST_ITEMS
        self.lifetime_ms = 90 * _DAY_MS
        self._workers: dict[ServerName, list[asyncio.Task[None]]] = {}
        self._silent: Counter[tuple[ServerName, str]] = Counter()
        self._hanging_up: set[asyncio.Task[None]] = set()
        self._is_running = False
        lines.when_opened.append(self._open)
        lines.when_reach_moved.append(self._start_anew)
        lines.when_closed.append(self._close)

    def start(self) -> None:
        """Contact everybody: after a start each line has to be confirmed."""
        self._is_running = True
        for line in self._lines.all():
            self._open(line)

    async def close(self) -> None:
        """Stop; what waits goes out after the next start."""
        self._is_running = False
        tasks = [task for tasks in self._workers.values() for task in tasks]
        tasks += self._hanging_up
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def tell_now(self, peer: ServerName, key: str, edu: JsonObject) -> None:
        """Send what is worthless later: dropped unless the peer can be reached at once."""
        line = self._lines.find(peer)
        if line is not None and line.is_confirmed and not line.failures:
            line.tell_now(key, edu)
            line.end_poll()

    def _open(self, line: Line) -> None:
        if not self._is_running or line.peer in self._workers:
            return
        start = asyncio.get_running_loop().create_task
        workers = [start(self._serve(line))]
        can_call_us = line.knows_us and reach.towards(self.own_routes, line.routes)
        if line.routes and not can_call_us:
            workers.append(start(self._poll(line)))
        self._workers[line.peer] = workers
        line.wake.set()

    def _start_anew(self, line: Line) -> None:
        """Begin to keep a request open at the peer, or stop, as it can call us or not."""
        for task in self._workers.pop(line.peer, ()):
            task.cancel()
        self._open(line)

    def _close(self, line: Line) -> None:
        for task in self._workers.pop(line.peer, ()):
            task.cancel()
        for route in line.routes:
            self._silent.pop((line.peer, route), None)
        if self._is_running:
            task = asyncio.get_running_loop().create_task(self._transport.hang_up(line.peer))
            self._hanging_up.add(task)
            task.add_done_callback(self._hanging_up.discard)

    async def _serve(self, line: Line) -> None:
        topic = frames.outbox_topic(line.peer)
        wake_ups = self._database.wake_ups
        wake_ups.listen(topic, line.wake.set)
        try:
            while not line.is_closed:
                await self._pace.wait(line)
                line.wake.clear()
                await self._unharmed(line, self._work_off(line))
        except ChannelClosed:
            return
        finally:
            wake_ups.ignore(topic, line.wake.set)

    async def _unharmed(self, line: Line, work: Coroutine[Any, Any, None]) -> None:
        """Go on after whatever goes wrong with one exchange: the next one may succeed."""
        try:
            await work
        except ChannelClosed:
            raise
        except Exception:
            metrics.bump("unexpected_errors")
            logger.exception("an exchange failed peer=%s", line.peer)
            self._pace.slow_down(line)

    async def _work_off(self, line: Line) -> None:
        """Exchange until nothing waits or something goes wrong."""
        while self._channel.has_waiting(line):
            if line.end_poll():
                # The peer holds a poll open: its answer carries what waits. Call only if the peer
                # does not come back for more.
                line.retry_at = self._pace.clock.monotonic() + _GRACE_SECONDS
                return
            if not line.routes or not self._pace.is_due(line):
                return
            if not await self._exchange(line):
                await self._prune(line)
                self._pace.slow_down(line)  # last: a pause that a slow disk outlasts wakes nobody
                return
            line.failures = 0

    async def _exchange(self, line: Line, patience_s: int = 0) -> bool:
        """One exchange; False if it failed or moved nothing."""
        try:
            box = await self._channel.compose(line, patience_s)
            crash_points.reach(Point.BOX_READY)
            answer = await self._deliver(line, box, patience_s)
            crash_points.reach(Point.ANSWER_BROUGHT)
            progress = await self._channel.take_answer(line, answer)
            crash_points.reach(Point.ANSWER_TAKEN)
        except (
            errors.PeerUnreachable,
            BadEnvelope,
            errors.LimitExceeded,
            errors.StorageFull,
        ):
            metrics.bump("federation_failed_exchanges")
            return False
        return progress.has_moved or not self._channel.has_waiting(line)

    async def _deliver(self, line: Line, box: bytes, patience_s: int) -> bytes:
        """Try the routes in turn, the one that worked last first."""
        failure = errors.PeerUnreachable()
        for route in self._worth_trying(line):
            try:
                answer = await self._transport.deliver(
                    line.peer,
                    route,
                    line.their_address,
                    box,
                    _longest(line) + patience_s,
                    grant=CONNECTION,
                )
            except Refused as refused:
                failure = refused
            except errors.PeerUnreachable as error:
                failure = error
                self._silent[line.peer, route] += 1
            else:
                self._silent.pop((line.peer, route), None)
                line.routes = (route, *(other for other in line.routes if other != route))
                return answer
        raise failure

    def _worth_trying(self, line: Line) -> tuple[str, ...]:
        """The routes that were not silent again and again; where that is none, all of them."""
        most = _MOST_TRIES_OF_A_SILENT_ROUTE
        lively = (one for one in line.routes if self._silent[line.peer, one] < most)
        return tuple(lively) or line.routes

    async def _poll(self, line: Line) -> None:
        """Keep one request open at the peer, since the peer cannot begin one itself."""
        clock = self._pace.clock
        try:
            while not line.is_closed:
                left = line.retry_at - clock.monotonic()
                if left > 0:
                    # A server that only polls tries at least once a minute.
                    await clock.sleep(min(60.0, left))
                await self._unharmed(line, self._poll_once(line))
        except ChannelClosed:
            return

    async def _poll_once(self, line: Line) -> None:
        """One long exchange.

        Slows down after a failure, and for a peer that answers at once with nothing.
        """
        clock = self._pace.clock
        begun = clock.monotonic()
        if not await self._exchange(line, self.poll_seconds):
            self._pace.slow_down(line)
        elif clock.monotonic() - begun < _SUSPICIOUS_SECONDS and not line.owes_acknowledgement:
            await clock.sleep(_SUSPICIOUS_SECONDS)

    async def _prune(self, line: Line) -> None:
        """Keep what waits for an absent peer within its bounds."""
        now = self._pace.clock.now_ms()
        peer, most, lifetime = line.peer, self.most_items, self.lifetime_ms

        def prune(work: UnitOfWork) -> None:
            flying = channels.find_in_flight(work, peer)
            settles = {} if flying is None else orjson.loads(flying.settles)
            spared = frozenset(settles.get("items", ()))
            frames.prune_aged(work, peer, now, lifetime, spared)
            for lane in (frames.CONTROL, frames.TO_DEVICE):
                frames.prune_items(work, peer, lane, most, spared)

        await self._database.write(prune)


def _longest(line: Line) -> float:
    """How long one delivery may take, in seconds."""
    return float(_DELIVERY_SECONDS * 2 ** min(line.failures, _MOST_DOUBLINGS))
