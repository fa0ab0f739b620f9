"""Try again and again to place events that came before their past.

The peer that sent an event is asked first, then every other connected server in its room. Nothing
is given up while we are in the room: a peer may sleep for weeks.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from federation import waiting
from federation.replication.placing import Placing
from federation.replication.verification import Room
from homeserver import metrics
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.matrix.room_versions import room_version
from homeserver.ports import Clock
from homeserver.storage import meetings, rooms, sharing, waiting_events, wake_ups
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import View

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0
_AT_ONCE = 200
_MOST_ASKED = 5


@dataclass(slots=True)
class _Turn:
    """When a room is tried next, and how long the pause after that is."""

    due: float
    pause: float


class Holding:
    """One worker for all rooms in which something waits."""

    def __init__(
        self, database: Database, placing: Placing, own_name: ServerName, clock: Clock
    ) -> None:
        self._database = database
        self._placing = placing
        self._own_name = own_name
        self._clock = clock
        self._turns: dict[RoomId, _Turn] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with what is stored."""
        self._database.wake_ups.listen(wake_ups.WAITING_EVENTS, self._woken.set)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; what waits goes on waiting after the next start."""
        self._database.wake_ups.ignore(wake_ups.WAITING_EVENTS, self._woken.set)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def hurry(self) -> None:
        """A peer can be reached again: try everything soon."""
        soon = self._clock.monotonic() + _FIRST_PAUSE_S
        for turn in self._turns.values():
            turn.due, turn.pause = min(turn.due, soon), _FIRST_PAUSE_S
        self._woken.set()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                pause = await self._try_due()
            except Exception:  # noqa: BLE001 - logged, and tried again
                metrics.bump("unexpected_errors")
                _log.exception("events that wait could not be tried")
                await self._clock.sleep(_LONGEST_PAUSE_S)
                continue
            if pause is None:
                await self._woken.wait()
            else:
                await waiting.wait_for(self._woken, self._clock, pause)

    async def _try_due(self) -> float | None:
        """Try the rooms whose turn it is; returns the seconds until the next one's."""
        now = self._clock.monotonic()
        found = self._database.read(waiting_events.rooms_with_waiting)
        self._turns = {
            room_id: self._turns.get(room_id) or _Turn(now + _FIRST_PAUSE_S, _FIRST_PAUSE_S)
            for room_id in found
        }
        for room_id in [one for one in found if self._turns[one].due <= now]:
            await self.try_room(room_id)
            turn = self._turns[room_id]
            turn.pause = min(turn.pause * 2, _LONGEST_PAUSE_S)
            turn.due = self._clock.monotonic() + turn.pause
        now = self._clock.monotonic()
        return max(0.0, min(turn.due for turn in self._turns.values()) - now) if found else None

    async def try_room(self, room_id: RoomId) -> None:
        """Try everything that waits in a room, with one server after the other."""
        room = self._database.read(lambda view: self._room(view, room_id))
        if room is None:
            await self._database.write(lambda work: waiting_events.delete_room(work, room_id))
            return
        held = self._database.read(
            lambda view: waiting_events.events_of(view, room_id, room.version, _AT_ONCE)
        )
        left = [event for _, event in held]
        for source in self._sources(room_id, [peer for peer, _ in held]):
            placed = await self._placing.place(source, room, left)
            left = await self._settle(left, placed.left)
            if not left:
                return
            await self._note(room_id, source, left, placed.reason)

    async def _settle(self, tried: Sequence[Event], left: Sequence[Event]) -> list[Event]:
        """Forget what has its place now or was refused; returns what waits on."""
        stays = {event.event_id for event in left}
        done: list[EventId] = [one.event_id for one in tried if one.event_id not in stays]
        if done:
            await self._database.write(lambda work: waiting_events.delete_events(work, done))
        return [event for event in tried if event.event_id in stays]

    async def _note(
        self, room_id: RoomId, source: ServerName, left: Sequence[Event], reason: str
    ) -> None:
        """Keep why these still wait."""
        _log.info("events wait room=%s asked=%s reason=%s", room_id, source, reason)
        ids = [event.event_id for event in left]
        await self._database.write(lambda work: waiting_events.save_reason(work, ids, reason))

    def _room(self, view: View, room_id: RoomId) -> Room | None:
        found = rooms.find_room(view, room_id)
        if found is None or self._own_name not in sharing.present_servers(view, room_id):
            return None
        return Room(room_id, room_version(found.version_id))

    def _sources(self, room_id: RoomId, senders: Sequence[ServerName]) -> list[ServerName]:
        """Whom to ask: members only, who hear nothing about the room that they could not know."""

        def find(view: View) -> list[ServerName]:
            present = sharing.present_servers(view, room_id) & meetings.carrying(view, room_id)
            first = [peer for peer in dict.fromkeys(senders) if peer in present]
            return [*first, *sorted(present - set(first))][:_MOST_ASKED]

        return self._database.read(find)
