"""Rooms that we are about to enter.

The peer that lets us in sends the room's next events at once. They may be here before we have
taken in the state that they follow, and must wait for it.
"""

from collections.abc import Callable

from homeserver.matrix.identifiers import RoomId
from homeserver.ports import Clock

_WHILE_ASKING_S = 90.0
_AFTER_ANSWER_S = 10.0
_PAUSE_S = 0.02


class Entering:
    """Remembers for a short while which rooms we asked to be let into."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[RoomId, float] = {}

    def begin(self, room_id: RoomId) -> None:
        """We ask to be let in."""
        self._until[room_id] = self._clock.monotonic() + _WHILE_ASKING_S

    def answered(self, room_id: RoomId, *, is_let_in: bool) -> None:
        """The answer is here; if it is a yes, what it holds will be stored any moment now."""
        if is_let_in:
            self._until[room_id] = self._clock.monotonic() + _AFTER_ANSWER_S
        else:
            self._until.pop(room_id, None)

    async def settle(self, room_id: RoomId, is_known: Callable[[], bool]) -> None:
        """Wait until the room is known, or it is clear that it will not be."""
        while not is_known():
            until = self._until.get(room_id)
            if until is None:
                return
            if until <= self._clock.monotonic():
                self._until.pop(room_id, None)
                return
            await self._clock.sleep(_PAUSE_S)
        self._until.pop(room_id, None)
