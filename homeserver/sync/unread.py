"""How much of a room the owner has not read, as push counts it.

Spec: client-server-api#receiving-notifications
"""

from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.storage import ephemeral
from homeserver.storage.unit_of_work import View
from homeserver.sync.asking import Counts, SyncSources


def count(view: View, sources: SyncSources, user_id: UserId, room_id: RoomId, until: int) -> Counts:
    """Count from the user's receipts on."""
    read_up_to = max(
        (
            one.point.position
            for one in ephemeral.receipts_of_user(view, room_id, user_id)
            if one.point is not None
        ),
        default=0,
    )
    return sources.count_unread(view, user_id, room_id, read_up_to, until)
