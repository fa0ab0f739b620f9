"""How much of rooms the owner has not read, as push counts it.

Spec: client-server-api#receiving-notifications
"""

from collections.abc import Collection

from homeserver.ephemeral import reading
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.storage import ephemeral
from homeserver.storage.ephemeral import Receipt
from homeserver.storage.unit_of_work import View
from homeserver.sync.asking import Counts, SyncSources, Unread

# More rooms than these have their receipts read at once.
_MANY = 3


class UnreadRooms:
    """Counts for one answer, at one position."""

    def __init__(self, view: View, sources: SyncSources, user_id: UserId, until: int) -> None:
        self._view = view
        self._sources = sources
        self._user_id = user_id
        self._until = until
        self._receipts: dict[RoomId, list[Receipt]] | None = None

    def prepare(self, room_ids: Collection[RoomId]) -> None:
        """These rooms will be asked about."""
        if len(room_ids) <= _MANY:
            return
        self._receipts = {}
        for one in ephemeral.receipts_of_user_in(self._view, self._user_id, room_ids):
            self._receipts.setdefault(one.room_id, []).append(one)

    def count(self, room_id: RoomId, newest: int, rules_at: int) -> Unread:
        """Count one room, in which nothing happened after a position."""
        if self._receipts is None:
            receipts = ephemeral.receipts_of_user(self._view, room_id, self._user_id)
        else:
            receipts = self._receipts.get(room_id, [])
        read = reading.read_up_to(receipts)
        until = min(newest, self._until)
        return self._sources.count_unread(self._view, self._user_id, room_id, read, until, rules_at)


def to_json(counts: Counts) -> JsonObject:
    """As a sync shows them."""
    return {
        "notification_count": counts.notifications,
        "highlight_count": counts.highlights,
    }
