"""Brings the owner together with those he agreed to meet, and ends what its rooms were made for.

Everything is a row: after a restart, or a crash anywhere, what is lacking is done again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from federation import waiting
from federation.consent import Breach
from federation.inbox import Inbox
from federation.introductions import deciding, said
from federation.introductions.passing import Passing
from federation.introductions.wishing import Wishing
from federation.peers import Peers
from homeserver import errors, metrics
from homeserver.matrix.identifiers import ServerName
from homeserver.ports import Clock
from homeserver.storage import channels, frames, invitations, meetings, peers
from homeserver.storage.database import Database
from homeserver.storage.meetings import RoomRequest
from homeserver.storage.unit_of_work import UnitOfWork, View

logger = logging.getLogger(__name__)

# Enters a room for the owner; raises what stands in the way.
Enter = Callable[[RoomRequest], Awaitable[None]]

_HOUR = 3_600.0
_DAY_MS = 86_400_000
_KEPT_MS = 30 * _DAY_MS
_FIRST_PAUSE = 1.0


class Introductions:
    """One worker."""

    def __init__(
        self, database: Database, clock: Clock, owners: Peers, wishing: Wishing, policy: str
    ) -> None:
        self.enter: Enter | None = None
        self._database = database
        self._clock = clock
        self._peers = owners
        self._wishing = wishing
        self._policy = policy
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._over_since: dict[ServerName, int] = {}

    def register(self, inbox: Inbox, passing: Passing) -> None:
        """Enter what peers say."""
        inbox.register_control(said.WISH, passing.take_wish)
        inbox.register_control(said.INTRODUCTION, self._wishing.take_introduction)
        inbox.register_control(said.ROOM_AGREED, self._wishing.take_room_agreed)

    async def start(self) -> None:
        """Remember the setting, and begin."""
        policy = self._policy
        await self._database.write(lambda work: meetings.save_policy(work, policy))
        self._database.wake_ups.listen(meetings.TOPIC, self._wake.set)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; what is lacking is done after the next start."""
        self._database.wake_ups.ignore(meetings.TOPIC, self._wake.set)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._wake.clear()
            try:
                is_done = await self._work_off()
            except Exception:
                metrics.bump("unexpected_errors")
                logger.exception("strangers in rooms could not be seen to")
                is_done = False
            if is_done:
                pause = _FIRST_PAUSE
                await self._wake.wait()
            else:
                await waiting.wait_for(self._wake, self._clock, pause)
                pause = min(pause * 2, _HOUR)

    async def _work_off(self) -> bool:
        """Do what can be done; returns whether nothing is left to wait for."""
        now_ms, policy = self._clock.now_ms(), self._policy
        if not self._database.read(_has_anything):
            return True
        await self._database.write(lambda work: deciding.decide_all(work, policy, now_ms))
        await self._enter_rooms(now_ms)
        is_waiting = await self._database.write(self._wishing.wish_all)
        await self._end_what_is_over(now_ms)
        await self._database.write(_forget_what_is_left)
        return not is_waiting and not self._over_since and not self._database.read(_is_to_enter)

    async def _enter_rooms(self, now_ms: int) -> None:
        for request in self._database.read(meetings.load_requests):
            if request.at < now_ms - _KEPT_MS:
                await self._drop(request)
            elif request.is_agreed and self.enter is not None:
                try:
                    await self.enter(request)
                except (errors.PeerUnreachable, errors.NotConnected):
                    continue
                except errors.Forbidden:
                    continue  # somebody else is there by now: the owner is asked again
                except errors.HomeserverError as error:
                    logger.info("a room could not be entered reason=%s", type(error).__name__)
                await self._drop(request)

    async def _drop(self, request: RoomRequest) -> None:
        room_id = request.room_id
        await self._database.write(lambda work: meetings.delete_request(work, room_id))

    async def _end_what_is_over(self, now_ms: int) -> None:
        """A connection made for rooms ends with the last of them, once the goodbye has arrived."""
        over = self._database.read(_over)
        for server in self._over_since.keys() - over.keys():
            del self._over_since[server]
        for server, has_waiting in over.items():
            since = self._over_since.setdefault(server, now_ms)
            if has_waiting and now_ms < since + _DAY_MS:
                continue
            try:
                await self._peers.end_with_rooms(server)
            except (Breach, errors.HomeserverError) as error:
                logger.info("a connection did not end reason=%s", type(error).__name__)
            self._over_since.pop(server, None)


def forget_peer(work: UnitOfWork, server: ServerName) -> None:
    """A connection has ended: what was agreed about him, and what he was to pass on, is void."""
    peer = peers.find_peer(work, server)
    if peer is None:
        return  # only the rooms ended
    meetings.forget(work, server)
    meetings.delete_wishes(work, about=server)
    meetings.delete_requests_via(work, server)
    invitations.void_introductions_to(work, peer.node_id)
    invitations.void_introductions_by(work, server)
    meetings.wish_again(work)


def _has_anything(view: View) -> bool:
    return bool(meetings.load(view) or meetings.load_requests(view) or _over(view))


def _is_to_enter(view: View) -> bool:
    return any(request.is_agreed for request in meetings.load_requests(view))


def _over(view: View) -> dict[ServerName, bool]:
    """Connections made for rooms of which none is left, and whether something waits to be sent."""
    return {
        peer.server_name: frames.has_waiting(view, peer.server_name)
        or channels.has_in_flight(view, peer.server_name)
        for peer in peers.load_peers(view)
        if peer.room_id is not None
        and peer.standing in peers.CONNECTED
        and not any(
            one.state == meetings.AGREED and one.is_theirs and deciding.is_here(view, one)
            for one in meetings.of_server(view, peer.server_name)
        )
    }


def _forget_what_is_left(work: UnitOfWork) -> None:
    """What was said about somebody in a room ends when he or the owner leaves it."""
    wanted = {request.room_id for request in meetings.load_requests(work)}
    over = _over(work)
    for meeting in meetings.load(work):
        is_kept = meeting.room_id in wanted or meeting.server in over
        if not is_kept and not deciding.is_here(work, meeting):
            meetings.forget(work, meeting.server, meeting.room_id)
