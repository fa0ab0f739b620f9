"""Try again and again to place events that came before their past.

The peer that sent an event is asked first, then the other connected servers in its room. Nothing
that a member sent is given up while we are in the room: a peer may sleep for weeks. Peers take
turns, so that what one of them made up keeps nobody else's events waiting.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from federation import waiting
from federation.heeding import OnHold
from federation.replication import access
from federation.replication.placing import Placing
from federation.replication.verification import Room
from homeserver import errors, metrics
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.matrix.room_versions import room_version
from homeserver.ports import Clock
from homeserver.rooms import state
from homeserver.storage import meetings, room_state, rooms, sharing, waiting_events, wake_ups
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0
# Where everybody answered and nobody had it: who comes back is asked at once all the same.
_HOPELESS_PAUSE_S = 21_600.0
_AT_ONCE = 200
# Rooms that are tried at the same time, and how long one peer is asked about what waits in one.
_MOST_ROOMS_AT_ONCE = 8
_WITHIN_S = 30.0
_MOST_ASKED = 10
_MOST_DAYS_OUTSIDE = 14
_DAY_MS = 86_400_000
_AWAY = errors.PeerUnreachable.__name__


@dataclass(slots=True)
class _Turn:
    """When a room is tried next, and how long the pause after that is."""

    due: float
    pause: float


@dataclass(slots=True)
class Tried:
    """What came of trying a room: whether anything moved, and whether somebody was only away."""

    has_moved: bool = False
    is_hopeful: bool = False
    asked: set[ServerName] = field(default_factory=set)


class Holding:
    """Tries all rooms in which something waits, a few at a time: none keeps the others waiting."""

    def __init__(
        self, database: Database, placing: Placing, own_name: ServerName, clock: Clock
    ) -> None:
        self._database = database
        self._placing = placing
        self._own_name = own_name
        self._clock = clock
        self._turns: dict[RoomId, _Turn] = {}
        self._turns_taken = 0
        self._trying: dict[RoomId, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with what is stored."""
        self._database.wake_ups.listen(wake_ups.WAITING_EVENTS, self._woken.set)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; what waits goes on waiting after the next start."""
        self._database.wake_ups.ignore(wake_ups.WAITING_EVENTS, self._woken.set)
        tasks = [*self._trying.values(), *([] if self._task is None else [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

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
                pause = self._begin_due()
            except Exception:  # noqa: BLE001 - logged, and tried again
                metrics.bump("unexpected_errors")
                _log.exception("events that wait could not be tried")
                await self._clock.sleep(_LONGEST_PAUSE_S)
                continue
            if pause is None:
                await self._woken.wait()
            else:
                await waiting.wait_for(self._woken, self._clock, pause)

    def _begin_due(self) -> float | None:
        """Begin with the rooms whose turn it is; returns the seconds until the next one's.

        None where only the end of something under way can bring another turn.
        """
        now = self._clock.monotonic()
        found = self._database.read(waiting_events.rooms_with_waiting)
        self._turns = {
            room_id: self._turns.get(room_id) or _Turn(now + _FIRST_PAUSE_S, _FIRST_PAUSE_S)
            for room_id in found
        }
        idle = self._turns.keys() - self._trying.keys()
        for room_id in sorted(idle, key=lambda one: (self._turns[one].due, one)):
            if len(self._trying) >= _MOST_ROOMS_AT_ONCE:
                return None
            turn = self._turns[room_id]
            if turn.due > now:
                return turn.due - now
            trying = self._take_turn(room_id, turn)
            self._trying[room_id] = asyncio.get_running_loop().create_task(trying)
        return None

    async def _take_turn(self, room_id: RoomId, turn: _Turn) -> None:
        try:
            tried = await self.try_room(room_id)
            longest = _LONGEST_PAUSE_S if tried.is_hopeful else _HOPELESS_PAUSE_S
            turn.pause = _FIRST_PAUSE_S if tried.has_moved else min(turn.pause * 2, longest)
        except Exception:  # noqa: BLE001 - logged, and tried again
            metrics.bump("unexpected_errors")
            _log.exception("events that wait could not be tried room=%s", room_id)
            turn.pause = _LONGEST_PAUSE_S
        finally:
            turn.due = self._clock.monotonic() + turn.pause
            del self._trying[room_id]
            self._woken.set()

    async def try_room(self, room_id: RoomId) -> Tried:
        """Try what waits in a room, each peer's apart: the peer first, then other servers."""
        room = self._database.read(lambda view: self._room(view, room_id))
        if room is None:
            await self._database.write(lambda work: waiting_events.delete_room(work, room_id))
            return Tried()
        await self._database.write(lambda work: self._let_go(work, room_id))
        held = self._database.read(lambda view: _held(view, room))
        self._turns_taken += 1
        tried = Tried()
        for source, peer in _visits(held, self._sources(room_id), self._turns_taken):
            if held[peer]:
                until = self._clock.monotonic() + _WITHIN_S
                try:
                    placed = await self._placing.place(source, room, held[peer], until)
                except OnHold:
                    continue
                held[peer] = await self._settle(held[peer], placed.left, tried)
                tried.is_hopeful |= placed.reason == _AWAY
                if source == peer or peer not in tried.asked:
                    await self._note(room_id, source, held[peer], placed.reason)
                tried.asked.add(peer)
        return tried

    async def _settle(
        self, waiting_here: Sequence[Event], left: Sequence[Event], tried: Tried
    ) -> list[Event]:
        """Forget what has its place now or was refused; returns what waits on."""
        stays = {event.event_id for event in left}
        done: list[EventId] = [one.event_id for one in waiting_here if one.event_id not in stays]
        if done:
            tried.has_moved = True
            await self._database.write(lambda work: waiting_events.delete_events(work, done))
        return [event for event in waiting_here if event.event_id in stays]

    async def _note(
        self, room_id: RoomId, source: ServerName, left: Sequence[Event], reason: str
    ) -> None:
        """Keep why these still wait: what the peer that sent them said, if it could be asked."""
        if not left:
            return
        _log.info("events wait room=%s asked=%s reason=%s", room_id, source, reason)
        ids = [event.event_id for event in left]
        await self._database.write(lambda work: waiting_events.save_reason(work, ids, reason))

    def _let_go(self, work: UnitOfWork, room_id: RoomId) -> None:
        """Whom the room shuts out is not heard any more; nor, after a while, who never came in."""
        current = room_state.current_state(work, room_id)
        inside = rooms.servers_in_room(work, room_id, access.EVERYBODY)
        too_old = self._clock.now_ms() - _MOST_DAYS_OUTSIDE * _DAY_MS
        for peer in waiting_events.peers_of(work, room_id):
            if not state.lets_in(work, current, peer):
                waiting_events.delete_peer(work, peer, room_id)
            elif peer not in inside:
                waiting_events.delete_peer(work, peer, room_id, too_old)

    def _room(self, view: View, room_id: RoomId) -> Room | None:
        found = rooms.find_room(view, room_id)
        if found is None or self._own_name not in sharing.present_servers(view, room_id):
            return None
        return Room(room_id, room_version(found.version_id))

    def _sources(self, room_id: RoomId) -> list[ServerName]:
        """Whom to ask: members only, who hear nothing about the room that they could not know."""

        def find(view: View) -> list[ServerName]:
            present = sharing.present_servers(view, room_id) & meetings.carrying(view, room_id)
            return sorted(present - {self._own_name})

        return self._database.read(find)


def _held(view: View, room: Room) -> dict[ServerName, list[Event]]:
    """What waits in a room and may be placed now, by the peer that it came from."""
    found: dict[ServerName, list[Event]] = {}
    for peer, event in waiting_events.events_of(view, room.room_id, room.version, _AT_ONCE):
        found.setdefault(peer, []).append(event)
    return {
        peer: several
        for peer, several in found.items()
        if access.may_send_into(view, room.room_id, peer)
    }


def _visits(
    held: Collection[ServerName], present: Sequence[ServerName], turn: int
) -> list[tuple[ServerName, ServerName]]:
    """Whom to ask about whose events: everybody about their own, then the others; not too many.

    Each turn begins with another peer, so that all come first at some time.
    """
    peers = sorted(held)
    first = turn % len(peers) if peers else 0
    peers = [*peers[first:], *peers[:first]]
    found = [(peer, peer) for peer in peers if peer in present]
    others = [(source, peer) for peer in peers for source in _others(present, peer)]
    return [*found[: _MOST_ASKED // 2], *others][:_MOST_ASKED]


def _others(present: Sequence[ServerName], peer: ServerName) -> Sequence[ServerName]:
    return [one for one in present if one != peer]
