"""Who is typing where, in memory only; numbered apart from everything that is stored.

Spec: client-server-api#typing-notifications
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.ports import Clock, Entropy

LONGEST_MS = 60_000
_ROOMS = 1_000
_USERS_IN_ROOM = 50


@dataclass(slots=True)
class _Room:
    changed_at: int = 0
    until: dict[UserId, float] = field(default_factory=dict)


class TypingBoard:
    """Who is typing, until when, and in which rooms that changed since when.

    `run` tells one start of the server from another: the numbers begin anew with each.
    """

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self.run = entropy.token_bytes(4).hex()
        self.serial = 0
        self._clock = clock
        self._rooms: dict[RoomId, _Room] = {}
        self._listeners: list[Callable[[], None]] = []
        self._sweeping: asyncio.Task[None] | None = None

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this whenever somebody begins or stops."""
        self._listeners.append(listener)

    def typists(self, room_id: RoomId, ignored: frozenset[UserId] = frozenset()) -> list[UserId]:
        """Who is typing in a room now, without those whom nobody hears."""
        room = self._rooms.get(room_id)
        return [] if room is None else [one for one in list(room.until) if one not in ignored]

    def changed_since(self, serial: int) -> set[RoomId]:
        """The rooms where somebody began or stopped after this number."""
        if serial >= self.serial:
            return set()
        # A list first: syncs look from the thread for long reads too.
        rooms = list(self._rooms.items())
        return {room_id for room_id, room in rooms if room.changed_at > serial}

    def set(self, room_id: RoomId, user_id: UserId, timeout_ms: int | None) -> bool:
        """Somebody types for so long, or stopped (None); whether that changed anything to see."""
        room = self._room(room_id)
        was_typing = user_id in room.until
        if timeout_ms is None:
            room.until.pop(user_id, None)
        elif was_typing or len(room.until) < _USERS_IN_ROOM:
            room.until[user_id] = self._clock.monotonic() + min(timeout_ms, LONGEST_MS) / 1000
            self._sweep()
        if was_typing == (user_id in room.until):
            return False
        self._changed(room)
        return True

    def close(self) -> None:
        """Stop watching the time."""
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _room(self, room_id: RoomId) -> _Room:
        """A room's entry; where there are too many, one where nobody types is forgotten."""
        if room_id not in self._rooms and len(self._rooms) >= _ROOMS:
            quiet = (one for one, room in self._rooms.items() if not room.until)
            del self._rooms[next(quiet, next(iter(self._rooms)))]
        return self._rooms.setdefault(room_id, _Room())

    def _changed(self, room: _Room) -> None:
        self.serial += 1
        room.changed_at = self.serial
        for listener in self._listeners:
            listener()

    def _sweep(self) -> None:
        self.close()  # whoever was watching may sleep beyond this new end
        self._sweeping = asyncio.create_task(self._sweep_until_quiet())

    async def _sweep_until_quiet(self) -> None:
        while ends := [end for room in self._rooms.values() for end in room.until.values()]:
            await self._clock.sleep(max(0.0, min(ends) - self._clock.monotonic()))
            now = self._clock.monotonic()
            for room in list(self._rooms.values()):
                over = [user for user, end in room.until.items() if end <= now]
                for user in over:
                    del room.until[user]
                if over:
                    self._changed(room)
