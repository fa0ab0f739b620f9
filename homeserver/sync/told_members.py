"""Which members of rooms a device was told of; forgetting it costs telling them again.

Spec: client-server-api#lazy-loading-room-members
"""

from collections import OrderedDict
from collections.abc import Mapping

from homeserver.matrix.identifiers import EventId, RoomId, UserId

_ROOMS = 100
_IN_ROOM = 50

# How far a device has to have come to have the answer in which it was told.
Mark = tuple[int, int]


class ToldMembers:
    """The newest of them, in the rooms that were told of last; in memory only."""

    def __init__(self) -> None:
        self._rooms: OrderedDict[RoomId, dict[UserId, tuple[EventId, Mark]]] = OrderedDict()

    def has(self, room_id: RoomId, user_id: UserId, event_id: EventId, mark: Mark) -> bool:
        """Whether a device that has come this far has this membership.

        One that asks for an answer again, because it was lost, has not.
        """
        told = self._rooms.get(room_id, {}).get(user_id)
        return told is not None and told[0] == event_id and told[1] <= mark

    def note(self, room_id: RoomId, members: Mapping[UserId, EventId], mark: Mark) -> None:
        """These are told now, to a device that has them when it has come this far."""
        if not members:
            return
        told = self._rooms.pop(room_id, {})
        for user_id, event_id in members.items():
            told.pop(user_id, None)
            told[user_id] = (event_id, mark)
        for oldest in list(told)[:-_IN_ROOM]:
            del told[oldest]
        self._rooms[room_id] = told
        if len(self._rooms) > _ROOMS:
            self._rooms.popitem(last=False)

    def forget(self, room_id: RoomId) -> None:
        """The device begins anew with a room."""
        self._rooms.pop(room_id, None)
