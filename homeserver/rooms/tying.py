"""Join the loose ends of rooms' graphs, so that servers agree although nobody speaks.

Servers that have heard the same events may still hold different ends: what came too late at one of
them is hidden there until an event refers to it. Whoever has several ends that differ about the
state sends an event without meaning after a while; the servers of a room take turns by their
names, so mostly one of them does. See docs/decisions.
"""

import asyncio
import logging
from dataclasses import dataclass

from homeserver import errors, metrics
from homeserver.matrix.events import DUMMY
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.ports import Clock
from homeserver.rooms import drafting
from homeserver.rooms.drafting import Intent
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import events, room_state, rooms, sharing, wake_ups
from homeserver.storage.database import Database
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import UnitOfWork, View

_log = logging.getLogger(__name__)

# Nothing has to be joined before somebody could have spoken, or a neighbour has had the turn.
_QUIET_S = 30.0
_PER_TURN_S = 20.0
_MOST_TURNS = 60
# More ends than this are joined even where they agree about the state.
_MOST_ENDS = 5
_AFTER_FAILURE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Plan:
    """The ends that a room had when they were seen, and when they are joined if they stay."""

    ends: tuple[EventId, ...]
    due: float | None  # None: there is nothing to do about them


class Tying:
    """One worker for all rooms."""

    def __init__(self, database: Database, local: LocalServer, clock: Clock) -> None:
        self._database = database
        self._local = local
        self._clock = clock
        self._plans: dict[RoomId, _Plan] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_due(self) -> bool:
        """Whether some room's ends will be joined, now or after a while."""
        self._plan_all()
        return any(plan.due is not None for plan in self._plans.values())

    def start(self) -> None:
        """Begin with the rooms as they are stored."""
        self._database.wake_ups.listen(wake_ups.ENDS, self._woken.set)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; the ends are found again after the next start."""
        self._database.wake_ups.ignore(wake_ups.ENDS, self._woken.set)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def tie_due(self) -> float | None:
        """Join the ends whose time has come; returns the seconds until the next ones'."""
        self._plan_all()
        now = self._clock.monotonic()
        for room_id, plan in list(self._plans.items()):
            if plan.due is not None and plan.due <= now:
                self._plans[room_id] = _Plan(plan.ends, None)
                await self._tie(room_id, plan.ends)
        waiting = [plan.due for plan in self._plans.values() if plan.due is not None]
        return max(0.0, min(waiting) - self._clock.monotonic()) if waiting else None

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                pause = await self.tie_due()
            except Exception:  # noqa: BLE001 - logged, and tried again
                metrics.bump("unexpected_errors")
                _log.exception("ends of rooms could not be joined")
                pause = _AFTER_FAILURE_S
            if pause is None:
                await self._woken.wait()
            else:
                await self._clock.sleep(min(pause, _QUIET_S))  # others may be due earlier by then

    def _plan_all(self) -> None:
        now = self._clock.monotonic()
        self._plans = self._database.read(lambda view: self._planned(view, now))

    def _planned(self, view: View, now: float) -> dict[RoomId, _Plan]:
        plans: dict[RoomId, _Plan] = {}
        for room in rooms.rooms_with_loose_ends(view):
            plan = self._plans.get(room.room_id)
            if plan is None or plan.ends != room.extremities:
                wait = self._wait(view, room)
                plan = _Plan(room.extremities, None if wait is None else now + wait)
            plans[room.room_id] = plan
        return plans

    def _wait(self, view: View, room: Room) -> float | None:
        """How long these ends may stay as they are; None: until somebody speaks."""
        present = sorted(sharing.present_servers(view, room.room_id))
        if self._local.server_name not in present or not _differ(view, room):
            return None
        return _QUIET_S + _PER_TURN_S * min(present.index(self._local.server_name), _MOST_TURNS)

    async def _tie(self, room_id: RoomId, ends: tuple[EventId, ...]) -> None:
        try:
            await self._database.write(lambda work: self._join(work, room_id, ends))
        except errors.Forbidden:
            _log.info("ends stay apart, the room does not let us join them room=%s", room_id)

    def _join(self, work: UnitOfWork, room_id: RoomId, ends: tuple[EventId, ...]) -> None:
        room = rooms.find_room(work, room_id)
        mine = [one for one in rooms.joined_users(work, room_id) if self._local.owns(one)]
        if room is None or room.extremities != ends or not mine:
            return
        drafting.say(work, self._local, room, Intent(mine[0], DUMMY, {}), self._clock.now_ms())
        metrics.bump("ends_joined")


def _differ(view: View, room: Room) -> bool:
    """Whether the ends lead to different states, or are too many."""
    if len(room.extremities) > _MOST_ENDS:
        return True
    found = events.load_events(view, room.extremities)
    after = {one.state_after for one in found.values() if one.state_after is not None}
    states = [room_state.load_state(view, state_id) for state_id in sorted(after)]
    return any(one != states[0] for one in states[1:])
